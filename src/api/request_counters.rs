//! Counters of answers by route and status, for `/metrics`. The table has its full size from the start: counting takes
//! neither a lock nor memory, and no request makes it grow.

use crate::telemetry::Counter;

use super::error::{ApiError, Code};
use super::route::{ROUTES, RouteSpec};

/// Statuses of answers that are not an error of the table. The last stands for any other, of which there is none.
const OTHERS: [u16; 3] = [200, 204, 500];

/// One for each of [`OTHERS`], then one for each error; those of one status are counted together, as the first.
const COLUMNS: usize = OTHERS.len() + Code::ALL.len();

/// Why a connection is closed at once, or not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// The uid, or all uids together, have as many connections as are allowed.
    Limit,
    /// The kernel has no descriptor or no memory for the connection, which stays in the queue.
    Resources,
    /// The kernel does not state the peer's uid.
    Unnamed,
}

const REFUSAL_REASONS: [(RefusalReason, &str); 3] = [
    (RefusalReason::Limit, "limit"),
    (RefusalReason::Resources, "resources"),
    (RefusalReason::Unnamed, "unnamed"),
];

/// The counts.
#[derive(Debug, Default)]
pub struct RequestCounters {
    /// The last row is for requests without a route.
    answers: [[Counter; COLUMNS]; ROUTES.len() + 1],
    /// By code; only those of denials count.
    denials: [Counter; Code::ALL.len()],
    connections_refused: [Counter; REFUSAL_REASONS.len()],
}

impl RequestCounters {
    /// A request is answered.
    pub fn answered(&self, route: Option<&RouteSpec>, status: u16) {
        let row = route.map_or(ROUTES.len(), RouteSpec::number);
        if let Some(counter) = self.answers.get(row).and_then(|row| row.get(column(status))) {
            counter.add();
        }
    }

    /// A request is refused; counted if the cause is who asks, or how.
    pub fn refused(&self, why: &ApiError) {
        if let ApiError::Lookup(_) = why {
            // A fresh answer that the budget has no room for has the same code as a rate that is used up.
            return;
        }
        let code = why.kind();
        if code.spec().is_denial
            && let Some(counter) = self.denials.get(code as usize)
        {
            counter.add();
        }
    }

    /// A connection is not served.
    pub fn connection_refused(&self, why: RefusalReason) {
        let number = REFUSAL_REASONS.iter().position(|(known, _)| *known == why);
        if let Some(counter) = number.and_then(|number| self.connections_refused.get(number)) {
            counter.add();
        }
    }

    /// Route, status and count, of those that have occurred.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, u16, u64)> {
        let routes = ROUTES.iter().map(|spec| spec.template.as_str()).chain(["none"]);
        routes.zip(&self.answers).flat_map(|(route, row)| {
            let counted = statuses().zip(row).map(move |(status, count)| (route, status, count.get()));
            counted.filter(|(_, _, count)| *count > 0)
        })
    }

    /// Reasons and how often.
    pub fn denials(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counted = Code::ALL.iter().map(|code| code.spec()).zip(&self.denials);
        counted.filter(|(spec, _)| spec.is_denial).map(|(spec, count)| (spec.name, count.get()))
    }

    /// Reasons and how often.
    pub fn connections_refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REFUSAL_REASONS
            .iter()
            .zip(&self.connections_refused)
            .map(|((_, reason), count)| (*reason, count.get()))
    }
}

/// The statuses of the columns.
fn statuses() -> impl Iterator<Item = u16> {
    OTHERS.into_iter().chain(Code::ALL.iter().map(|code| code.spec().status.as_u16()))
}

/// The column in which answers of `status` are counted.
fn column(status: u16) -> usize {
    statuses().position(|known| known == status).unwrap_or(OTHERS.len() - 1)
}

//! Counters of answers, denials and refused connections, for `/metrics`. The table has its full size from the start:
//! counting takes no lock and allocates no memory.

use crate::telemetry::Counter;

use super::error::{ApiError, Code};
use super::route::{ROUTES, RouteSpec};

/// Statuses of answers besides those of the error table. The last one also counts statuses that are in neither.
const OTHERS: [u16; 3] = [200, 204, 500];

/// One column for each of [`OTHERS`], then one for each error. Errors of one status are counted in the first of their
/// columns.
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

/// The counters of requests and connections.
#[derive(Debug)]
pub struct RequestCounters {
    /// The last row is for requests without a route.
    answers: [[Counter; COLUMNS]; ROUTES.len() + 1],
    /// One counter for each code; only those of denials are used.
    denials: [Counter; Code::ALL.len()],
    connections_refused: [Counter; REFUSAL_REASONS.len()],
}

impl Default for RequestCounters {
    fn default() -> Self {
        Self {
            answers: std::array::from_fn(|_| std::array::from_fn(|_| Counter::default())),
            denials: std::array::from_fn(|_| Counter::default()),
            connections_refused: Default::default(),
        }
    }
}

impl RequestCounters {
    /// Counts an answer.
    pub fn answered(&self, route: Option<&RouteSpec>, status: u16) {
        let row = route.map_or(ROUTES.len(), RouteSpec::number);
        if let Some(counter) = self.answers.get(row).and_then(|row| row.get(column(status))) {
            counter.add();
        }
    }

    /// Counts a refused request, if the cause is the client or the form of its request.
    pub fn refused(&self, why: &ApiError) {
        if let ApiError::Lookup(_) = why {
            // A fresh answer beyond the budget has the same code as an exceeded rate, and is no denial.
            return;
        }
        let code = why.kind();
        if code.spec().is_denial
            && let Some(counter) = self.denials.get(code as usize)
        {
            counter.add();
        }
    }

    /// Counts a connection that is not served.
    pub fn connection_refused(&self, why: RefusalReason) {
        let number = REFUSAL_REASONS.iter().position(|(known, _)| *known == why);
        if let Some(counter) = number.and_then(|number| self.connections_refused.get(number)) {
            counter.add();
        }
    }

    /// Route, status and count of the answers that have occurred.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, u16, u64)> {
        let routes = ROUTES.iter().map(|spec| spec.template.as_str()).chain(["none"]);
        routes.zip(&self.answers).flat_map(|(route, row)| {
            let counted = statuses().zip(row).map(move |(status, count)| (route, status, count.get()));
            counted.filter(|(_, _, count)| *count > 0)
        })
    }

    /// The reasons of denials, each with its count.
    pub fn denials(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counted = Code::ALL.iter().map(|code| code.spec()).zip(&self.denials);
        counted.filter(|(spec, _)| spec.is_denial).map(|(spec, count)| (spec.name, count.get()))
    }

    /// The reasons of refused connections, each with its count.
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

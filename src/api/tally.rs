//! Answers counted by route and status, for `/metrics`. A table that is there from the start: counting takes neither a
//! lock nor memory, and nothing that a caller sends can make it grow.

use crate::telemetry::Counter;

use super::error::ApiError;
use super::route::{Route, TEMPLATES};

/// Every status that an answer of ours has. Another would be counted as the last.
const STATUSES: [u16; 18] =
    [200, 204, 400, 401, 403, 404, 405, 408, 409, 410, 413, 422, 429, 431, 502, 503, 504, 500];

/// Why callers are refused what others like them get; each is the `code` of the answer.
const DENIALS: [&str; 5] =
    ["forbidden", "request_header_required", "forwarded_request", "invalid_user_token", "rate_limited"];

/// Why a connection is closed at once, or not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// Its uid has as many as it may have, or those of all uids together.
    Limit,
    /// The kernel has no descriptor or no memory for it: it stays in the queue.
    Resources,
    /// The kernel does not say who is at its other end.
    Unnamed,
}

const TURNED_AWAY: [(TurnedAway, &str); 3] =
    [(TurnedAway::Limit, "limit"), (TurnedAway::Resources, "resources"), (TurnedAway::Unnamed, "unnamed")];

/// The counts.
#[derive(Debug, Default)]
pub struct Tally {
    /// The last row is for requests that lead nowhere.
    answers: [[Counter; STATUSES.len()]; TEMPLATES.len() + 1],
    denials: [Counter; DENIALS.len()],
    turned_away: [Counter; TURNED_AWAY.len()],
}

impl Tally {
    /// A request is answered.
    pub fn answered(&self, route: Option<Route<'_>>, status: u16) {
        let row = route.map_or(TEMPLATES.len(), |route| route.number());
        let column = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        if let Some(counter) = self.answers.get(row).and_then(|row| row.get(column)) {
            counter.add();
        }
    }

    /// A request is refused; counted if that has to do with who asks.
    pub fn refused(&self, why: &ApiError) {
        if let ApiError::Lookup(_) = why {
            // A options for a fresh answer that the budget has no room for has the code of a caller's rate.
            return;
        }
        let denial = DENIALS.iter().position(|code| *code == why.code());
        if let Some(counter) = denial.and_then(|denial| self.denials.get(denial)) {
            counter.add();
        }
    }

    /// A connection is not served.
    pub fn turned_away(&self, why: TurnedAway) {
        let number = TURNED_AWAY.iter().position(|(known, _)| *known == why);
        if let Some(counter) = number.and_then(|number| self.turned_away.get(number)) {
            counter.add();
        }
    }

    /// Route, status and how often; only what there has been.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, u16, u64)> {
        let routes = TEMPLATES.iter().copied().chain(["none"]);
        routes.zip(&self.answers).flat_map(|(route, row)| {
            let counted = STATUSES.iter().zip(row).map(move |(status, count)| (route, *status, count.get()));
            counted.filter(|(_, _, count)| *count > 0)
        })
    }

    /// Reasons and how often.
    pub fn denials(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DENIALS.iter().zip(&self.denials).map(|(code, count)| (*code, count.get()))
    }

    /// Reasons and how often.
    pub fn connections_refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TURNED_AWAY.iter().zip(&self.turned_away).map(|((_, reason), count)| (*reason, count.get()))
    }
}

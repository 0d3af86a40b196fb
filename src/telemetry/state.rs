//! Counters of refresh tokens that rotate, and of the file in which they are stored.

use std::sync::{Mutex, PoisonError};

use super::{Counter, Histogram};
use crate::domain::freshness::Moment;

/// Counters of refresh tokens, and the standing of the state file.
#[derive(Debug, Default)]
pub struct StateCounters {
    /// Refresh tokens that were redeemed and whose answer is lost.
    pub lost: Counter,
    /// Durations of writes to the state file, each until it is durable.
    pub writes: Histogram,
    standing: Mutex<Option<StateStanding>>,
}

/// The state file as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateStanding {
    /// Why it cannot be used; `None` if all is well.
    pub trouble: Option<String>,
    /// The identities in it.
    pub records: u64,
    /// The results that are in memory and not in the file.
    pub unwritten: usize,
    /// When the oldest of these came.
    pub oldest_unwritten: Option<Moment>,
}

impl StateCounters {
    /// Notes the standing of the state file.
    pub fn set(&self, standing: Option<StateStanding>) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// Why the state file cannot be used, if it cannot.
    pub fn trouble(&self) -> Option<String> {
        self.standing()?.trouble
    }

    /// The standing of the state file; `None` without `[state]`.
    pub fn standing(&self) -> Option<StateStanding> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

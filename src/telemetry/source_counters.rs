//! Counts what sources of tokens answer: a provider that redeems refresh tokens, or Token Vault.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::source::Source;

use super::histogram::Histogram;

/// Counters of requests to sources. Connections come from the configuration, so their number is bounded.
#[derive(Debug, Default)]
pub struct SourceCounters {
    requests: Mutex<BTreeMap<Counted, u64>>,
    /// How long requests to sources took.
    pub durations: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    connection: Arc<str>,
    source: &'static str,
    outcome: &'static str,
}

/// What a source answered to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceOutcome {
    /// A token.
    Issued,
    /// That only the user can do something about it.
    Over,
    /// That only an operator can.
    Misconfigured,
    /// 429.
    Throttled,
    /// Nothing that can be used.
    Failed,
}

impl SourceOutcome {
    /// The value of the metric's label `outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Over => "over",
            Self::Misconfigured => "misconfigured",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
        }
    }
}

impl SourceCounters {
    /// Counts a request that took this long.
    pub fn answered(&self, source: Source, connection: &Arc<str>, outcome: SourceOutcome, took: Duration) {
        let counted = Counted {
            connection: Arc::clone(connection),
            source: source.as_str(),
            outcome: outcome.as_str(),
        };
        *self.requests().entry(counted).or_default() += 1;
        self.durations.observe(took);
    }

    /// Source, connection, outcome, and how many requests had it.
    pub fn counts(&self) -> Vec<(&'static str, Arc<str>, &'static str, u64)> {
        let requests = self.requests();
        let counts = requests.iter();
        counts.map(|(key, count)| (key.source, Arc::clone(&key.connection), key.outcome, *count)).collect()
    }

    fn requests(&self) -> MutexGuard<'_, BTreeMap<Counted, u64>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Observability of the daemon: the log, the audit log, and the counters behind `status` and the metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::freshness::Timestamp;

pub mod audit;
mod call_counters;
mod counter;
mod histogram;
pub mod log;
pub mod outage_log;
mod process_stats;
mod source_counters;
mod state;
mod user_names;
mod writer;

pub use call_counters::{ApiCounts, ApiKey, CallCounters, CallKey};
pub use counter::Counter;
pub use histogram::Histogram;
pub use process_stats::ProcessStats;
pub use source_counters::{SourceCounters, SourceOutcome};
pub use state::{StateCounters, StateStanding};
pub use user_names::UserNames;

/// Counters of the whole daemon, shared by the parts that count and the parts that show them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Lookups answered from the cache.
    pub hits: Counter,
    /// Lookups answered by asking Auth0.
    pub misses: Counter,
    /// Lookups answered from the cache because Auth0 could not be asked.
    pub stale: Counter,
    /// Lookups answered with a cached or fetched error about the user, such as `user_not_found`.
    pub negatives: Counter,
    /// Lookups that failed.
    pub errors: Counter,
    /// Durations of lookups.
    pub lookup_durations: LookupDurations,
    /// Lookups that joined a running fetch.
    pub flights_joined: Counter,
    /// Entries that the cache has removed.
    pub evictions: Evictions,
    /// Requests to providers and to Token Vault.
    pub sources: SourceCounters,
    /// Calls that were sent on for clients.
    pub calls: CallCounters,
    /// Requests to Auth0's token endpoint for Management tokens.
    pub token_requests: Counter,
    /// Requests to Auth0's token endpoint for tokens of Token Vault.
    pub exchange_requests: Counter,
    /// Requests to Auth0's users endpoint.
    pub user_requests: Counter,
    /// Requests for the tenant's key set.
    pub key_requests: Counter,
    /// Requests to any of these endpoints that failed.
    pub upstream_failures: Counter,
    /// Management tokens obtained.
    pub grants_succeeded: Counter,
    /// Failed attempts to obtain a Management token.
    pub grants_failed: Counter,
    /// Reloads of the configuration that succeeded.
    pub reloads_succeeded: Counter,
    /// Reloads that were refused.
    pub reloads_failed: Counter,
    /// Refresh tokens that rotate, and the file with them.
    pub state: StateCounters,
    last_reload_refused: AtomicBool,
    /// Requests to Auth0 by endpoint and result: a status code, or the kind of failure.
    results: Mutex<BTreeMap<(&'static str, String), u64>>,
    /// Duration of requests to Auth0, by endpoint.
    durations: Mutex<BTreeMap<&'static str, Histogram>>,
    last_failure: Mutex<Option<(Timestamp, String)>>,
    /// Milliseconds by which Auth0's clock is ahead of this machine's; 0 until it is known.
    skew: AtomicI64,
    /// When the certificates of clients expire, by the client's table.
    certificate_expiry: Mutex<BTreeMap<&'static str, Timestamp>>,
}

/// A larger difference of the clocks is logged as a warning, because expiry times are dates.
const TOLERABLE_SKEW_MILLIS: i64 = 5_000;

impl Counters {
    /// Notes by how many milliseconds Auth0's clock is ahead of this machine's. Logs a warning when the difference
    /// becomes too large, and a line when it is no longer.
    pub fn clock_skew(&self, millis: i64) {
        let before = self.skew.swap(millis, Ordering::Relaxed);
        let bad = |millis: i64| millis.saturating_abs() > TOLERABLE_SKEW_MILLIS;
        let seconds = millis / 1000;
        match (bad(before), bad(millis)) {
            (false, true) => tracing::warn!(
                seconds,
                "This machine's clock and Auth0's differ; synchronise it, or tokens will be dropped too early"
            ),
            (true, false) => tracing::info!("This machine's clock and Auth0's agree again"),
            _ => {}
        }
    }

    /// Milliseconds by which Auth0's clock is ahead of this machine's.
    pub fn skew_millis(&self) -> i64 {
        self.skew.load(Ordering::Relaxed)
    }

    /// Notes when the certificate of the client that `table` names expires; `None` if it authenticates without one.
    pub fn certificate_expires(&self, table: &'static str, at: Option<Timestamp>) {
        let mut expiry = self.certificate_expiry.lock().unwrap_or_else(PoisonError::into_inner);
        match at {
            Some(at) => expiry.insert(table, at),
            None => expiry.remove(table),
        };
    }

    /// When the first certificate of a client expires, if one has any.
    pub fn certificate_expiry(&self) -> Option<Timestamp> {
        let expiry = self.certificate_expiry.lock().unwrap_or_else(PoisonError::into_inner);
        expiry.values().min().copied()
    }

    /// Counts a request to Auth0's `endpoint` by its `result` and duration.
    pub fn upstream_result(&self, endpoint: &'static str, result: String, took: Duration) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        *results.entry((endpoint, result)).or_default() += 1;
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.entry(endpoint).or_default().observe(took);
    }

    /// Duration of requests to Auth0, by endpoint.
    pub fn upstream_durations(&self) -> BTreeMap<&'static str, Histogram> {
        self.durations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests to Auth0 so far, by endpoint and result.
    pub fn upstream_results(&self) -> BTreeMap<(&'static str, String), u64> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a reload of the configuration.
    pub fn reloaded(&self, succeeded: bool) {
        if succeeded { &self.reloads_succeeded } else { &self.reloads_failed }.add();
        self.last_reload_refused.store(!succeeded, Ordering::Relaxed);
    }

    /// Returns whether the last reload was refused; `false` before the first.
    pub fn last_reload_refused(&self) -> bool {
        self.last_reload_refused.load(Ordering::Relaxed)
    }

    /// Counts a failed request to Auth0, and stores it as the latest failure for `status`.
    pub fn upstream_failed(&self, at: Timestamp, public_text: String) {
        self.upstream_failures.add();
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, public_text));
    }

    /// The latest failure of a request to Auth0, with its time.
    pub fn last_upstream_failure(&self) -> Option<(Timestamp, String)> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// State of the budget of requests to the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetStanding {
    /// Time until the gate opens; `None` while it is open.
    pub gate_closed_for: Option<Duration>,
    /// Requests that wait for a permit.
    pub waiting: usize,
    /// Requests under way.
    pub under_way: u32,
    /// Remaining requests of the tenant's own rate limit, as the tenant reported.
    pub remaining: Option<u64>,
    /// The tenant's own rate limit, as the tenant reported.
    pub limit: Option<u64>,
    /// Whether refreshing ahead is suspended because `remaining` is low.
    pub thrifty: bool,
}

/// Durations of lookups, by outcome.
#[derive(Debug, Default)]
pub struct LookupDurations {
    /// Answered from the cache.
    pub hit: Histogram,
    /// Answered by asking Auth0.
    pub miss: Histogram,
    /// Answered from the cache because Auth0 could not be asked.
    pub stale: Histogram,
    /// Answered with an error about the user.
    pub negative: Histogram,
    /// Failed.
    pub error: Histogram,
}

/// Entries that the cache has removed, by cause. Entries that newer ones replaced are not counted.
#[derive(Debug, Default)]
pub struct Evictions {
    /// The cache was full.
    pub size: Counter,
    /// The entry could not be served any more.
    pub expired: Counter,
    /// A client purged the entry.
    pub purged: Counter,
}

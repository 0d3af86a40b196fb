//! What the daemon tells about itself: log lines, the audit log, and the numbers behind `status`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use std::time::Duration;

use crate::domain::freshness::Timestamp;

pub mod audit;
mod histogram;
pub mod log;
pub mod outage_log;
mod process_stats;
mod user_names;
mod writer;

pub use histogram::Histogram;
pub use process_stats::ProcessStats;
pub use user_names::UserNames;

/// Numbers that only grow, shared by the parts that count and those that show.
#[derive(Debug, Default)]
pub struct Counters {
    /// Lookups answered from the cache.
    pub hits: Counter,
    /// Lookups answered by asking Auth0.
    pub misses: Counter,
    /// Lookups answered from the cache because Auth0 could not be asked.
    pub stale: Counter,
    /// Lookups answered with a fact that is no token.
    pub negatives: Counter,
    /// Lookups not answered.
    pub errors: Counter,
    /// How long lookups took.
    pub lookup_durations: LookupDurations,
    /// Lookups that joined a request under way.
    pub flights_joined: Counter,
    /// Entries that the cache has given up.
    pub evictions: Evictions,
    /// Requests to Auth0's token endpoint.
    pub token_requests: Counter,
    /// Requests to Auth0's users endpoint.
    pub user_requests: Counter,
    /// Requests for the tenant's key set.
    pub key_requests: Counter,
    /// Those of all three that failed.
    pub upstream_failures: Counter,
    /// Management tokens obtained.
    pub grants_succeeded: Counter,
    /// Management tokens not obtained.
    pub grants_failed: Counter,
    /// Times that the configuration was read again and put into force.
    pub reloads_succeeded: Counter,
    /// Times that it was refused.
    pub reloads_failed: Counter,
    last_reload_refused: AtomicBool,
    /// Requests to Auth0 by endpoint and result: a status code, or what there was instead.
    results: Mutex<BTreeMap<(&'static str, String), u64>>,
    /// How long they took, by endpoint.
    durations: Mutex<BTreeMap<&'static str, Histogram>>,
    last_failure: Mutex<Option<(Timestamp, String)>>,
    /// Milliseconds that Auth0's clock is ahead of ours; 0 until it has been seen.
    skew: AtomicI64,
}

/// A clock that is further off than this is worth a warning: expiry times are dates.
const TOLERABLE_SKEW_MILLIS: i64 = 5_000;

impl Counters {
    /// Auth0's clock is this many milliseconds ahead of ours. Warns when that becomes too much, and says so when it
    /// is no longer.
    pub fn clock_skew(&self, millis: i64) {
        let before = self.skew.swap(millis, Ordering::Relaxed);
        let bad = |millis: i64| millis.saturating_abs() > TOLERABLE_SKEW_MILLIS;
        let seconds = millis / 1000;
        match (bad(before), bad(millis)) {
            (false, true) => tracing::warn!(
                seconds,
                "This machine's clock and Auth0's differ; synchronise it, or tokens will be given up too early"
            ),
            (true, false) => tracing::info!("This machine's clock and Auth0's agree again"),
            _ => {}
        }
    }

    /// Milliseconds that Auth0's clock is ahead of ours.
    pub fn skew_millis(&self) -> i64 {
        self.skew.load(Ordering::Relaxed)
    }

    /// Counts a request to Auth0's `endpoint` by its `result`, which took this long to come.
    pub fn upstream_result(&self, endpoint: &'static str, result: String, took: Duration) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        *results.entry((endpoint, result)).or_default() += 1;
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.entry(endpoint).or_default().observe(took);
    }

    /// How long requests to Auth0 took, by endpoint.
    pub fn upstream_durations(&self) -> BTreeMap<&'static str, Histogram> {
        self.durations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests to Auth0 so far, by endpoint and result.
    pub fn upstream_results(&self) -> BTreeMap<(&'static str, String), u64> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configuration was read again; whether it is in force.
    pub fn reloaded(&self, well: bool) {
        if well { &self.reloads_succeeded } else { &self.reloads_failed }.add();
        self.last_reload_refused.store(!well, Ordering::Relaxed);
    }

    /// Whether the configuration that was read last was refused; that of the start never was.
    pub fn last_reload_refused(&self) -> bool {
        self.last_reload_refused.load(Ordering::Relaxed)
    }

    /// Remembers the latest failure of a request to Auth0, for `status`.
    pub fn upstream_failed(&self, at: Timestamp, public_text: String) {
        self.upstream_failures.add();
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, public_text));
    }

    /// The latest failure of a request to Auth0, and when it was.
    pub fn last_upstream_failure(&self) -> Option<(Timestamp, String)> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What there is to know of the budget for the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetStanding {
    /// For how long the gate is closed; `None` while it is open.
    pub gate_closed_for: Option<Duration>,
    /// Requests that wait for leave.
    pub waiting: usize,
    /// Requests under way.
    pub under_way: u32,
    /// What the tenant said is left of its own limit.
    pub remaining: Option<u64>,
    /// What the tenant said that limit is.
    pub limit: Option<u64>,
    /// Whether refreshing ahead is suspended because that is little.
    pub thrifty: bool,
}

/// How long lookups took, by outcome.
#[derive(Debug, Default)]
pub struct LookupDurations {
    /// Answered from the cache.
    pub hit: Histogram,
    /// Answered by asking Auth0.
    pub miss: Histogram,
    /// Answered from the cache because Auth0 could not be asked.
    pub stale: Histogram,
    /// Answered with a fact that is no token.
    pub negative: Histogram,
    /// Not answered.
    pub error: Histogram,
}

/// Entries that the cache has given up, by cause. Those that newer ones replaced are not among them.
#[derive(Debug, Default)]
pub struct Evictions {
    /// There was no room for them.
    pub size: Counter,
    /// They could not be served any more.
    pub expired: Counter,
    /// Somebody wanted them forgotten.
    pub purged: Counter,
}

/// One of the counters.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

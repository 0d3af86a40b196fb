//! The type of a row in the table of metrics.

use std::collections::BTreeMap;
use std::fmt;

use crate::management::ManagementSnapshot;
use crate::telemetry::{ApiCounts, ApiKey, BudgetStanding, Histogram, ProcessStats};

use crate::api::state::Services;

/// A row of `METRICS` in `table.rs`.
pub struct MetricSpec {
    /// The name, without what formats add to that of a counter.
    pub(super) name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What tells its samples apart.
    pub labels: &'static [Label],
    /// One line that says what it counts.
    pub help: &'static str,
    /// What else the reference says; may be empty.
    pub note: &'static str,
    /// Its samples now.
    pub(super) read: fn(&Scrape<'_>) -> Samples,
}

/// The types of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Durations, counted by their length.
    Histogram,
}

/// A label of a metric. Its values are few, and clients choose none of them.
#[derive(Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values, for the reference.
    pub values: &'static str,
}

/// What metrics are read from: one moment of the daemon.
pub(super) struct Scrape<'a> {
    pub(super) services: &'a Services,
    pub(super) budget: BudgetStanding,
    pub(super) management: ManagementSnapshot,
    /// `None` without `[management_api]`.
    pub(super) management_api: Option<ManagementSnapshot>,
    /// Users in the cache, and their bytes.
    pub(super) cache: (u64, u64),
    pub(super) upstream_durations: BTreeMap<&'static str, Histogram>,
    pub(super) calls: Vec<(ApiKey, ApiCounts)>,
    pub(super) process: ProcessStats,
}

/// Values of the labels, in their order, and what goes with them.
pub(super) type Samples = Vec<(Vec<String>, Value)>;

#[derive(Debug)]
pub(super) enum Value {
    Number(f64),
    Durations(Histogram),
}

impl MetricSpec {
    /// The name as queries have it.
    pub fn exposed_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge | Kind::Histogram => self.name.to_owned(),
        }
    }
}

impl fmt::Debug for MetricSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Kind {
    /// As Prometheus writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl<'a> Scrape<'a> {
    pub(super) fn now(services: &'a Services) -> Self {
        let now = services.clock.now();
        Self {
            services,
            budget: (services.budget)(now),
            management: services.management.snapshot(now),
            management_api: services.management_api.snapshot(now),
            cache: services.cache.size(),
            upstream_durations: services.counters.upstream_durations(),
            calls: services.counters.calls.counts(),
            process: ProcessStats::now(),
        }
    }
}

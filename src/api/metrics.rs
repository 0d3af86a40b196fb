//! What Prometheus reads, gathered when it asks. The metrics are in `table.rs`.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::management::Snapshot;
use crate::telemetry::{BudgetStanding, Histogram, ProcessStats};

use super::state::Services;

mod table;

pub use table::METRICS;

/// A row of [`METRICS`].
pub struct MetricSpec {
    /// The name, without what formats add to that of a counter.
    name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What tells its samples apart.
    pub labels: &'static [Label],
    /// One line that says what it counts.
    pub help: &'static str,
    /// What else the reference says; may be empty.
    pub note: &'static str,
    /// Its samples now.
    read: fn(&Scrape<'_>) -> Samples,
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
struct Scrape<'a> {
    services: &'a Services,
    budget: BudgetStanding,
    management: Snapshot,
    /// Users in the cache, and their bytes.
    cache: (u64, u64),
    upstream_durations: BTreeMap<&'static str, Histogram>,
    process: ProcessStats,
}

/// Values of the labels, in their order, and what goes with them.
type Samples = Vec<(Vec<String>, Value)>;

#[derive(Debug)]
enum Value {
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
    fn now(services: &'a Services) -> Self {
        let now = services.clock.now();
        Self {
            services,
            budget: (services.budget)(now),
            management: services.management.snapshot(now),
            cache: services.cache.size(),
            upstream_durations: services.counters.upstream_durations(),
            process: ProcessStats::now(),
        }
    }
}

/// Gathers everything once and writes it down as OpenMetrics.
pub(super) fn render(services: &Services) -> String {
    let scrape = Scrape::now(services);
    let samples = METRICS.iter().map(|metric| (metric.read)(&scrape)).collect();
    let (mut text, mut registry) = (String::new(), Registry::default());
    registry.register_collector(Box::new(Gathered(samples)));
    // Writing into a string fails only where our own encoding does, and then there is nothing to show.
    if encode(&mut text, &registry).is_err() {
        text.clear();
    }
    text
}

/// The samples of every metric, in the order of [`METRICS`].
#[derive(Debug)]
struct Gathered(Vec<Samples>);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (MetricSpec { name, help, kind, labels, .. }, samples) in METRICS.iter().zip(&self.0) {
            let of_type = match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(name, help, None, of_type)?;
            match samples.as_slice() {
                [(values, value)] if values.is_empty() => write(metric, *kind, value)?,
                samples => {
                    for (values, value) in samples {
                        let names = labels.iter().map(|label| label.name);
                        let labelled: Vec<_> = names.zip(values.iter().map(String::as_str)).collect();
                        write(metric.encode_family(&labelled)?, *kind, value)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn write(sample: MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (_, Value::Durations(took)) => took.buckets().encode(sample),
        (Kind::Counter, Value::Number(value)) => ConstCounter::new(*value).encode(sample),
        (_, Value::Number(value)) => ConstGauge::new(*value).encode(sample),
    }
}

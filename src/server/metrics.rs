//! What Prometheus reads: gathered when it asks, from the same numbers that `status` shows.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::domain::freshness::Timestamp;

use super::Services;

/// Gathers everything once and writes it down as text.
pub fn render(services: &Services) -> String {
    let mut registry = Registry::with_prefix("cloakroom");
    registry.register_collector(Box::new(Snapshot::take(services)));
    let mut text = String::new();
    // Writing into a string fails only where our own encoding does, and then there is nothing to show.
    if prometheus_client::encoding::text::encode(&mut text, &registry).is_err() {
        text.clear();
    }
    text
}

/// A metric: its name, its help, and its samples by labels.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

#[derive(Debug)]
struct Snapshot(Vec<Metric>);

impl Snapshot {
    fn take(services: &Services) -> Self {
        let now = services.clock.now();
        let (counters, budget) = (&services.counters, (services.budget)(now));
        let token = services.management.snapshot(now);
        let (entries, bytes) = services.cache.size();
        let outcome = |name: &str, value: u64| (vec![("outcome", name.to_owned())], value as f64);
        let result = |name: &str, value: u64| (vec![("result", name.to_owned())], value as f64);
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        let requests = counters.upstream_results().into_iter().map(|((endpoint, result), value)| {
            (vec![("endpoint", endpoint.to_owned()), ("result", result)], value as f64)
        });
        Self(vec![
            gauge("build_info", "The version that runs", vec![(version, 1.0)]),
            counter(
                "lookups",
                "Lookups by outcome",
                vec![
                    outcome("hit", counters.hits.get()),
                    outcome("miss", counters.misses.get()),
                    outcome("stale", counters.stale.get()),
                    outcome("negative", counters.negatives.get()),
                    outcome("error", counters.errors.get()),
                ],
            ),
            counter(
                "flights_joined",
                "Lookups that joined a request under way",
                one(counters.flights_joined.get()),
            ),
            counter("upstream_requests", "Requests to Auth0 by endpoint and result", requests.collect()),
            gauge(
                "upstream_gate_closed",
                "1 while a 429 keeps every request back",
                flag(budget.gate_closed_for.is_some()),
            ),
            gauge(
                "upstream_ratelimit_remaining",
                "What the tenant said is left of its limit",
                some(budget.remaining),
            ),
            gauge(
                "management_token_valid",
                "1 while a Management token is held that may be used",
                flag(token.valid),
            ),
            gauge("management_token_expiry_timestamp_seconds", "When it expires", instant(token.expires_at)),
            gauge(
                "management_token_next_refresh_timestamp_seconds",
                "When the next is asked for",
                instant(token.next_attempt_at),
            ),
            gauge(
                "management_token_last_success_timestamp_seconds",
                "When one was obtained",
                instant(token.last_success),
            ),
            counter(
                "management_token_refreshes",
                "Attempts to obtain one, by result",
                vec![
                    result("success", counters.grants_succeeded.get()),
                    result("failure", counters.grants_failed.get()),
                ],
            ),
            gauge("cache_entries", "Users remembered", one(entries)),
            gauge("cache_bytes", "Bytes that they take", one(bytes)),
            counter("audit_lines_dropped", "Audit lines that were not written", one(services.audit.lost())),
            gauge(
                "clock_skew_seconds",
                "How far Auth0's clock is ahead of this machine's",
                vec![(Vec::new(), counters.skew_millis() as f64 / 1e3)],
            ),
        ])
    }
}

type Samples = Vec<(Vec<(&'static str, String)>, f64)>;

fn counter(name: &'static str, help: &'static str, samples: Samples) -> Metric {
    Metric { name, help, kind: MetricType::Counter, samples }
}

fn gauge(name: &'static str, help: &'static str, samples: Samples) -> Metric {
    Metric { name, help, kind: MetricType::Gauge, samples }
}

fn one(value: u64) -> Samples {
    vec![(Vec::new(), value as f64)]
}

/// Nothing is known yet: then there is no sample, rather than a zero that means something else.
fn some(value: Option<u64>) -> Samples {
    value.map(one).unwrap_or_default()
}

fn flag(is: bool) -> Samples {
    one(u64::from(is))
}

fn instant(at: Option<Timestamp>) -> Samples {
    at.map(|at| vec![(Vec::new(), at.as_millis() as f64 / 1e3)]).unwrap_or_default()
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Metric { name, help, kind, samples } in &self.0 {
            let mut metric = encoder.encode_descriptor(name, help, None, *kind)?;
            match samples.as_slice() {
                [(labels, value)] if labels.is_empty() => write(metric, *kind, *value)?,
                samples => {
                    for (labels, value) in samples {
                        write(metric.encode_family(labels)?, *kind, *value)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn write(sample: MetricEncoder<'_>, kind: MetricType, value: f64) -> fmt::Result {
    match kind {
        MetricType::Counter => ConstCounter::new(value).encode(sample),
        _ => ConstGauge::new(value).encode(sample),
    }
}

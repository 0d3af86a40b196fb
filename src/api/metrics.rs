//! What Prometheus reads: gathered when it asks, from the same numbers that `status` shows.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::domain::freshness::Timestamp;
use crate::telemetry::{Histogram, ProcessStats, log};

use super::state::Services;

/// Gathers everything once and writes it down as OpenMetrics.
pub(super) fn render(services: &Services) -> String {
    let mut text = String::new();
    // Writing into a string fails only where our own encoding does, and then there is nothing to show.
    if write_all(&mut text, services).is_err() {
        text.clear();
    }
    text
}

fn write_all(text: &mut String, services: &Services) -> fmt::Result {
    let parts = [("cloakroom", Snapshot::take(services)), ("process", Snapshot::of_the_process(services))];
    for (prefix, snapshot) in parts {
        let mut registry = Registry::with_prefix(prefix);
        registry.register_collector(Box::new(snapshot));
        encode_registry(text, &registry)?;
    }
    encode_eof(text)
}

/// The older format calls a counter by the name of its sample, `…_total`, and has no end mark.
pub(super) fn plain(text: &str) -> String {
    let of_counters: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut plain = String::with_capacity(text.len() + 1024);
    for line in text.lines().filter(|line| *line != "# EOF") {
        let head = line.strip_prefix("# ").and_then(|rest| {
            let (keyword, rest) = rest.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            of_counters.contains(&name).then_some((keyword, name, rest))
        });
        match head {
            Some((keyword, name, rest)) => plain.extend(["# ", keyword, " ", name, "_total ", rest, "\n"]),
            None => plain.extend([line, "\n"]),
        }
    }
    plain
}

/// A metric: its name, its help, and its samples by labels.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Samples,
}

type Labels = Vec<(&'static str, String)>;
type Samples = Vec<(Labels, Value)>;

#[derive(Debug)]
enum Value {
    Number(f64),
    Durations(Histogram),
}

#[derive(Debug)]
struct Snapshot(Vec<Metric>);

impl Snapshot {
    fn take(services: &Services) -> Self {
        let now = services.clock.now();
        let (counters, budget) = (&services.counters, (services.budget)(now));
        let token = services.management.snapshot(now);
        let (entries, bytes) = services.cache.size();
        let took = &counters.lookup_durations;
        let requests = counters.upstream_results().into_iter().map(|((endpoint, result), value)| {
            (vec![("endpoint", endpoint.to_owned()), ("result", result)], Value::Number(value as f64))
        });
        let answers = services.tally.answers().map(|(route, status, value)| {
            let labels = vec![("route", route.to_owned()), ("status", status.to_string())];
            (labels, Value::Number(value as f64))
        });
        let upstream_took = counters.upstream_durations();
        let upstream_took = upstream_took.iter().map(|(endpoint, took)| (*endpoint, took));
        let open =
            services.listeners.iter().map(|listener| listener.connections.load(Ordering::Relaxed)).sum();
        Self(vec![
            gauge("build_info", "The version that runs", by("version", [(env!("CARGO_PKG_VERSION"), 1)])),
            counter(
                "lookups",
                "Lookups by outcome",
                by(
                    "outcome",
                    [
                        ("hit", counters.hits.get()),
                        ("miss", counters.misses.get()),
                        ("stale", counters.stale.get()),
                        ("negative", counters.negatives.get()),
                        ("error", counters.errors.get()),
                    ],
                ),
            ),
            histogram(
                "lookup_duration_seconds",
                "How long lookups took, by outcome",
                "outcome",
                [
                    ("hit", &took.hit),
                    ("miss", &took.miss),
                    ("stale", &took.stale),
                    ("negative", &took.negative),
                    ("error", &took.error),
                ],
            ),
            counter("responses", "Answers by route and status", answers.collect()),
            counter(
                "denied",
                "Requests refused because of who asked, or how",
                by("reason", services.tally.denials()),
            ),
            gauge("connections", "Open connections", one(open)),
            counter(
                "connections_refused",
                "Connections refused (limit, unnamed), and attempts to accept one that failed (resources)",
                by("reason", services.tally.connections_refused()),
            ),
            counter(
                "flights_joined",
                "Lookups that joined a request under way",
                one(counters.flights_joined.get()),
            ),
            counter("upstream_requests", "Requests to Auth0 by endpoint and result", requests.collect()),
            histogram(
                "upstream_request_duration_seconds",
                "How long requests to Auth0 took, from leave to send to the last byte or the failure",
                "endpoint",
                upstream_took,
            ),
            gauge(
                "upstream_waiting",
                "Requests that wait for their turn in the budget",
                one(budget.waiting as u64),
            ),
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
                by(
                    "result",
                    [("success", counters.grants_succeeded.get()), ("failure", counters.grants_failed.get())],
                ),
            ),
            gauge("cache_entries", "Users remembered", one(entries)),
            gauge("cache_bytes", "Bytes that they take", one(bytes)),
            gauge("cache_max_bytes", "Bytes that they may take", one(services.cache.max_bytes())),
            counter(
                "cache_evictions",
                "Users forgotten for want of room (size), because nothing of them could be served (expired), on \
                 request (purged)",
                by(
                    "cause",
                    [
                        ("size", counters.evictions.size.get()),
                        ("expired", counters.evictions.expired.get()),
                        ("purged", counters.evictions.purged.get()),
                    ],
                ),
            ),
            counter("audit_lines_dropped", "Audit lines that were not written", one(services.audit.lost())),
            counter("log_lines_dropped", "Lines of the log that were not written", one(log::lost())),
            counter(
                "config_reloads",
                "Times that the configuration was read again, by result",
                by(
                    "result",
                    [
                        ("success", counters.reloads_succeeded.get()),
                        ("failure", counters.reloads_failed.get()),
                    ],
                ),
            ),
            gauge(
                "config_last_reload_successful",
                "1 if the configuration on disk is in force, 0 if it was refused when it was read last",
                flag(!counters.last_reload_refused()),
            ),
            gauge(
                "clock_skew_seconds",
                "How far Auth0's clock is ahead of this machine's",
                number(counters.skew_millis() as f64 / 1e3),
            ),
        ])
    }

    /// What every Prometheus client library tells of its process, under the same names.
    fn of_the_process(services: &Services) -> Self {
        let usage = ProcessStats::now();
        Self(vec![
            counter(
                "cpu_seconds",
                "Processor time in seconds",
                usage.cpu_seconds.map(number).unwrap_or_default(),
            ),
            gauge("resident_memory_bytes", "Memory in use", some(usage.resident_bytes)),
            gauge("virtual_memory_bytes", "Addresses in use", some(usage.virtual_bytes)),
            gauge("open_fds", "Open file descriptors", some(usage.open_fds)),
            gauge("max_fds", "How many there may be", some(usage.max_fds)),
            gauge("start_time_seconds", "When the daemon started", instant(Some(services.started.wall))),
        ])
    }
}

fn counter(name: &'static str, help: &'static str, samples: Samples) -> Metric {
    Metric { name, help, kind: MetricType::Counter, samples }
}

fn gauge(name: &'static str, help: &'static str, samples: Samples) -> Metric {
    Metric { name, help, kind: MetricType::Gauge, samples }
}

fn histogram<'a>(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    samples: impl IntoIterator<Item = (&'static str, &'a Histogram)>,
) -> Metric {
    let sample =
        |(value, took): (&str, &Histogram)| (vec![(label, value.to_owned())], Value::Durations(took.clone()));
    Metric { name, help, kind: MetricType::Histogram, samples: samples.into_iter().map(sample).collect() }
}

fn by(label: &'static str, samples: impl IntoIterator<Item = (&'static str, u64)>) -> Samples {
    let sample = |(value, count)| (vec![(label, String::from(value))], Value::Number(count as f64));
    samples.into_iter().map(sample).collect()
}

fn number(value: f64) -> Samples {
    vec![(Vec::new(), Value::Number(value))]
}

fn one(value: u64) -> Samples {
    number(value as f64)
}

/// Nothing is known yet: then there is no sample, rather than a zero that means something else.
fn some(value: Option<u64>) -> Samples {
    value.map(one).unwrap_or_default()
}

fn flag(is: bool) -> Samples {
    one(u64::from(is))
}

fn instant(at: Option<Timestamp>) -> Samples {
    at.map(|at| number(at.as_millis() as f64 / 1e3)).unwrap_or_default()
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Metric { name, help, kind, samples } in &self.0 {
            let mut metric = encoder.encode_descriptor(name, help, None, *kind)?;
            match samples.as_slice() {
                [(labels, value)] if labels.is_empty() => write(metric, *kind, value)?,
                samples => {
                    for (labels, value) in samples {
                        write(metric.encode_family(labels)?, *kind, value)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn write(sample: MetricEncoder<'_>, kind: MetricType, value: &Value) -> fmt::Result {
    match (kind, value) {
        (_, Value::Durations(took)) => took.buckets().encode(sample),
        (MetricType::Counter, Value::Number(value)) => ConstCounter::new(*value).encode(sample),
        (_, Value::Number(value)) => ConstGauge::new(*value).encode(sample),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_counters_by_their_samples() {
        let open = "# HELP a_b Help: a_b b.\n# TYPE a_b counter\na_b_total 1\n# HELP c C.\n# TYPE c gauge\nc 2\n# EOF\n";
        let old = "# HELP a_b_total Help: a_b b.\n# TYPE a_b_total counter\na_b_total 1\n# HELP c C.\n# TYPE c gauge\nc 2\n";
        assert_eq!(plain(open), old);
    }
}

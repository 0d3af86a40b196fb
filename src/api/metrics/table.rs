//! Every metric: its name, type, labels and help, and where its samples are read.
//!
//! `/metrics`, `docs/reference/metrics.md` and `tests/prometheus/contract.txt` are made from this table.

use std::sync::atomic::Ordering;

use crate::telemetry::log;

use super::samples::{by, durations, flag, instant, known, number, one};
use super::spec::{Kind, Label, MetricSpec, Value};
use super::{call_rows, management_api_rows, source_rows, state_rows};

/// Every metric. Those that begin with `process` have the names that Prometheus' client libraries give them.
/// Counters are named here without `_total`, which the output adds.
pub const METRICS: &[MetricSpec] = &[
    MetricSpec {
        name: "cloakroom_build_info",
        kind: Kind::Gauge,
        labels: &[Label { name: "version", values: "the version" }],
        help: "Version of the daemon, in a label; always 1",
        note: "",
        read: |_| by([(env!("CARGO_PKG_VERSION"), 1)]),
    },
    MetricSpec {
        name: "cloakroom_lookups",
        kind: Kind::Counter,
        labels: &[Label {
            name: "outcome",
            values: "`hit` (from the cache), `miss` (Auth0 was asked), `stale` (from the cache, because Auth0 could not be asked), `negative` (a fact such as that there is no such user), `error` (no answer)",
        }],
        help: "Lookups by outcome",
        note: "",
        read: |scrape| {
            let counters = &scrape.services.counters;
            by([
                ("hit", counters.hits.get()),
                ("miss", counters.misses.get()),
                ("stale", counters.stale.get()),
                ("negative", counters.negatives.get()),
                ("error", counters.errors.get()),
            ])
        },
    },
    MetricSpec {
        name: "cloakroom_lookup_duration_seconds",
        kind: Kind::Histogram,
        labels: &[Label { name: "outcome", values: "as of `cloakroom_lookups_total`" }],
        help: "Duration of lookups by outcome",
        note: "",
        read: |scrape| {
            let took = &scrape.services.counters.lookup_durations;
            durations([
                ("hit", &took.hit),
                ("miss", &took.miss),
                ("stale", &took.stale),
                ("negative", &took.negative),
                ("error", &took.error),
            ])
        },
    },
    MetricSpec {
        name: "cloakroom_responses",
        kind: Kind::Counter,
        labels: &[
            Label { name: "route", values: "the path of the [HTTP reference](http.md), or `none`" },
            Label { name: "status", values: "the status" },
        ],
        help: "Responses by route and status",
        note: "Of calls that are sent on, only the daemon's own answers count here; the others count in \
               `cloakroom_calls_total`.",
        read: |scrape| {
            let answers = scrape.services.request_counters.answers();
            let sample = |(route, status, count): (&str, u16, u64)| {
                (vec![route.to_owned(), status.to_string()], number(count))
            };
            answers.map(sample).collect()
        },
    },
    MetricSpec {
        name: "cloakroom_denied",
        kind: Kind::Counter,
        labels: &[Label { name: "reason", values: "the `code` of the [error](errors.md)" }],
        help: "Requests denied because of the client or the way it asks, by code",
        note: "",
        read: |scrape| by(scrape.services.request_counters.denials()),
    },
    MetricSpec {
        name: "cloakroom_connections",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open connections",
        note: "",
        read: |scrape| {
            let listeners = scrape.services.listeners.iter();
            one(listeners.map(|listener| listener.connections.load(Ordering::Relaxed)).sum())
        },
    },
    MetricSpec {
        name: "cloakroom_streams",
        kind: Kind::Gauge,
        labels: &[],
        help: "Calls of providers' APIs under way",
        note: "At `listener.max_streams`, or half of that by one uid other than root and the daemon's own, further ones are \
               answered 503 `overloaded`.",
        read: |scrape| {
            let listeners = scrape.services.listeners.iter();
            one(listeners.map(|listener| listener.streams.load(Ordering::Relaxed)).sum())
        },
    },
    call_rows::MAX_STREAMS,
    MetricSpec {
        name: "cloakroom_connections_refused",
        kind: Kind::Counter,
        labels: &[Label {
            name: "reason",
            values: "`limit` (the limit of the uid, or of all uids together), `resources` (the kernel had no descriptor or no memory: the connection stays in the queue), `unnamed` (the kernel did not state the uid)",
        }],
        help: "Connections refused, and failed attempts to accept one, by reason",
        note: "",
        read: |scrape| by(scrape.services.request_counters.connections_refused()),
    },
    MetricSpec {
        name: "cloakroom_flights_joined",
        kind: Kind::Counter,
        labels: &[],
        help: "Lookups that joined a request to Auth0 under way",
        note: "",
        read: |scrape| one(scrape.services.counters.flights_joined.get()),
    },
    MetricSpec {
        name: "cloakroom_upstream_requests",
        kind: Kind::Counter,
        labels: &[
            Label {
                name: "endpoint",
                values: "`token` (grants), `exchange` (Token Vault), `user`, `keys`, `management_api` (clients' own calls)",
            },
            Label {
                name: "result",
                values: "the status, or `timeout`, `connect`, `tls`, `malformed`, `abandoned` (the client disconnected)",
            },
        ],
        help: "Requests to Auth0 by endpoint and result",
        note: "",
        read: |scrape| {
            let results = scrape.services.counters.upstream_results().into_iter();
            results
                .map(|((endpoint, result), count)| (vec![endpoint.to_owned(), result], number(count)))
                .collect()
        },
    },
    MetricSpec {
        name: "cloakroom_upstream_request_duration_seconds",
        kind: Kind::Histogram,
        labels: &[Label { name: "endpoint", values: "as of `cloakroom_upstream_requests_total`" }],
        help: "Duration of requests to Auth0, from the budget's permit to the last byte or the failure",
        note: "",
        read: |scrape| durations(scrape.upstream_durations.iter().map(|(endpoint, took)| (*endpoint, took))),
    },
    MetricSpec {
        name: "cloakroom_upstream_waiting",
        kind: Kind::Gauge,
        labels: &[],
        help: "Requests to Auth0 that wait in the budget",
        note: "",
        read: |scrape| one(scrape.budget.waiting as u64),
    },
    MetricSpec {
        name: "cloakroom_upstream_gate_closed",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while a 429 of Auth0 holds every request back",
        note: "",
        read: |scrape| flag(scrape.budget.gate_closed_for.is_some()),
    },
    MetricSpec {
        name: "cloakroom_upstream_ratelimit_remaining",
        kind: Kind::Gauge,
        labels: &[],
        help: "Requests left of the tenant's rate limit, as Auth0 stated last",
        note: "Absent until Auth0 has stated it.",
        read: |scrape| known(scrape.budget.remaining),
    },
    MetricSpec {
        name: "cloakroom_management_token_valid",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while the daemon has a valid Management token",
        note: "",
        read: |scrape| flag(scrape.management.valid),
    },
    MetricSpec {
        name: "cloakroom_management_token_expiry_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the Management token expires",
        note: "Absent while there is none.",
        read: |scrape| instant(scrape.management.expires_at),
    },
    MetricSpec {
        name: "cloakroom_management_token_next_refresh_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the daemon asks for the next Management token",
        note: "Absent while it is asking.",
        read: |scrape| instant(scrape.management.next_attempt_at),
    },
    MetricSpec {
        name: "cloakroom_management_token_last_success_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the daemon last obtained a Management token",
        note: "Absent until it has.",
        read: |scrape| instant(scrape.management.last_success),
    },
    MetricSpec {
        name: "cloakroom_management_token_refreshes",
        kind: Kind::Counter,
        labels: &[Label { name: "result", values: "`success`, `failure`" }],
        help: "Attempts to obtain a Management token by result",
        note: "",
        read: |scrape| {
            let counters = &scrape.services.counters;
            by([("success", counters.grants_succeeded.get()), ("failure", counters.grants_failed.get())])
        },
    },
    management_api_rows::TOKEN_VALID,
    management_api_rows::SCOPE_REFUSED,
    call_rows::CALLS,
    call_rows::HEAD_DURATIONS,
    call_rows::SENT,
    call_rows::RECEIVED,
    call_rows::REPETITIONS,
    call_rows::REFLECTIONS,
    source_rows::REQUESTS,
    source_rows::DURATIONS,
    source_rows::LOST,
    state_rows::USABLE,
    state_rows::RECORDS,
    state_rows::UNWRITTEN,
    state_rows::OLDEST,
    state_rows::WRITES,
    MetricSpec {
        name: "cloakroom_cache_entries",
        kind: Kind::Gauge,
        labels: &[],
        help: "Users in the cache",
        note: "",
        read: |scrape| one(scrape.cache.0),
    },
    MetricSpec {
        name: "cloakroom_cache_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Bytes of keys and values in the cache",
        note: "",
        read: |scrape| one(scrape.cache.1),
    },
    MetricSpec {
        name: "cloakroom_cache_max_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Limit of cloakroom_cache_bytes (cache.max_bytes)",
        note: "",
        read: |scrape| one(scrape.services.cache.max_bytes()),
    },
    MetricSpec {
        name: "cloakroom_cache_evictions",
        kind: Kind::Counter,
        labels: &[Label {
            name: "cause",
            values: "`size` (no room), `expired` (nothing of the entry can be served), `purged` (on request)",
        }],
        help: "Users removed from the cache by cause",
        note: "",
        read: |scrape| {
            let evictions = &scrape.services.counters.evictions;
            by([
                ("size", evictions.size.get()),
                ("expired", evictions.expired.get()),
                ("purged", evictions.purged.get()),
            ])
        },
    },
    MetricSpec {
        name: "cloakroom_client_certificate_expiry_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the certificate of the client expires",
        note: "Absent unless the client authenticates with one. Of several certificates in its file, the first to \
               expire counts.",
        read: |scrape| instant(scrape.services.counters.certificate_expiry()),
    },
    MetricSpec {
        name: "cloakroom_clock_skew_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Seconds by which Auth0's clock is ahead of this machine's",
        note: "Negative where it is behind.",
        read: |scrape| vec![(Vec::new(), Value::Number(scrape.services.counters.skew_millis() as f64 / 1e3))],
    },
    MetricSpec {
        name: "cloakroom_config_reloads",
        kind: Kind::Counter,
        labels: &[Label { name: "result", values: "`success`, `failure`" }],
        help: "Reloads of the configuration by result",
        note: "",
        read: |scrape| {
            let counters = &scrape.services.counters;
            by([("success", counters.reloads_succeeded.get()), ("failure", counters.reloads_failed.get())])
        },
    },
    MetricSpec {
        name: "cloakroom_config_last_reload_successful",
        kind: Kind::Gauge,
        labels: &[],
        help: "0 if the last reload refused the configuration, otherwise 1",
        note: "",
        read: |scrape| flag(!scrape.services.counters.last_reload_refused()),
    },
    MetricSpec {
        name: "cloakroom_audit_lines_dropped",
        kind: Kind::Counter,
        labels: &[],
        help: "Requests whose audit line was not written",
        note: "",
        read: |scrape| one(scrape.services.audit.lost()),
    },
    MetricSpec {
        name: "cloakroom_log_lines_dropped",
        kind: Kind::Counter,
        labels: &[],
        help: "Log lines that were not written",
        note: "",
        read: |_| one(log::lost()),
    },
    MetricSpec {
        name: "process_cpu_seconds",
        kind: Kind::Counter,
        labels: &[],
        help: "User and system CPU time in seconds",
        note: "",
        read: |scrape| {
            let seconds = scrape.process.cpu_seconds;
            seconds.map(|seconds| (Vec::new(), Value::Number(seconds))).into_iter().collect()
        },
    },
    MetricSpec {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Resident memory in bytes",
        note: "",
        read: |scrape| known(scrape.process.resident_bytes),
    },
    MetricSpec {
        name: "process_virtual_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Virtual memory in bytes",
        note: "",
        read: |scrape| known(scrape.process.virtual_bytes),
    },
    MetricSpec {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open file descriptors",
        note: "",
        read: |scrape| known(scrape.process.open_fds),
    },
    MetricSpec {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Limit of open file descriptors",
        note: "",
        read: |scrape| known(scrape.process.max_fds),
    },
    MetricSpec {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Start of the process, in seconds since the Unix epoch",
        note: "",
        read: |scrape| instant(Some(scrape.services.started.wall)),
    },
];

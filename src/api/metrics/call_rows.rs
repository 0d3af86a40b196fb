//! Rows of `table.rs` about calls that are sent on to providers and to the Management API.

use std::sync::atomic::Ordering;

use crate::telemetry::{ApiCounts, ApiKey};

use super::samples::{number, one};
use super::spec::{Kind, Label, MetricSpec, Samples, Scrape, Value};

const CONNECTION: Label =
    Label { name: "connection", values: "the connection of the `[[proxy]]`; empty for the Management API" };
const API: Label = Label { name: "api", values: "the name of the `[[proxy]]`, or `management_api`" };

pub(super) const CALLS: MetricSpec = MetricSpec {
    name: "cloakroom_calls",
    kind: Kind::Counter,
    labels: &[
        CONNECTION,
        API,
        Label {
            name: "status",
            values: "the class of the answer's status, such as `2xx`; `none` without an answer",
        },
        Label {
            name: "verdict",
            values: "what a refusal means, as in `Cloakroom-Verdict`: `token_dead`, `missing_scope`, `claims_challenge`, `rate_limited`; otherwise `none`",
        },
        Label {
            name: "end",
            values: "`whole` (the whole answer was handed on), `left` (the client left), `cut_short` (the answer broke off), `silent` (it stalled), `too_large` (more than `response_bytes`); without an answer the `code` of the [error](errors.md), or `left`",
        },
    ],
    help: "Calls that a rule permits, by API and by how they ended",
    note: "A call counts when its answer has ended. Calls that no rule permits count in `cloakroom_denied_total` alone.",
    read: |scrape| {
        let mut samples = Vec::new();
        for (api, counts) in &scrape.calls {
            samples.extend(counts.ended.iter().map(|(key, count)| {
                let labels = [&*api.connection, &*api.api, key.status, key.verdict, key.end];
                (labels.map(str::to_owned).to_vec(), number(*count))
            }));
        }
        samples
    },
};

pub(super) const HEAD_DURATIONS: MetricSpec = MetricSpec {
    name: "cloakroom_call_head_duration_seconds",
    kind: Kind::Histogram,
    labels: &[CONNECTION, API],
    help: "Time from the head of a call to the head of its answer",
    note: "The lookup of the token is part of it, and so is the request's body.",
    read: |scrape| by_api(scrape, |counts| Value::Durations(counts.head_durations.clone())),
};

pub(super) const SENT: MetricSpec = MetricSpec {
    name: "cloakroom_call_sent_bytes",
    kind: Kind::Counter,
    labels: &[CONNECTION, API],
    help: "Bytes of requests' bodies that were sent on",
    note: "",
    read: |scrape| by_api(scrape, |counts| number(counts.sent)),
};

pub(super) const RECEIVED: MetricSpec = MetricSpec {
    name: "cloakroom_call_received_bytes",
    kind: Kind::Counter,
    labels: &[CONNECTION, API],
    help: "Bytes of answers' bodies that were handed on",
    note: "",
    read: |scrape| by_api(scrape, |counts| number(counts.received)),
};

pub(super) const REPETITIONS: MetricSpec = MetricSpec {
    name: "cloakroom_call_repetitions",
    kind: Kind::Counter,
    labels: &[CONNECTION, API],
    help: "Calls that were made once more with another token, because the first one was refused",
    note: "In `cloakroom_calls_total` such a call counts once, by its second answer.",
    read: |scrape| by_api(scrape, |counts| number(counts.repeated)),
};

pub(super) const REFLECTIONS: MetricSpec = MetricSpec {
    name: "cloakroom_call_reflections",
    kind: Kind::Counter,
    labels: &[],
    help: "Headers of answers that were blanked or dropped because they held the token",
    note: "",
    read: |scrape| one(scrape.services.counters.calls.reflections()),
};

pub(super) const MAX_STREAMS: MetricSpec = MetricSpec {
    name: "cloakroom_max_streams",
    kind: Kind::Gauge,
    labels: &[],
    help: "Limit of cloakroom_streams, all sockets together (listener.max_streams)",
    note: "",
    read: |scrape| {
        let listeners = scrape.services.listeners.iter();
        one(listeners.map(|listener| listener.max_streams.load(Ordering::Relaxed)).sum())
    },
};

/// A sample for each API that had a call.
fn by_api(scrape: &Scrape<'_>, value: impl Fn(&ApiCounts) -> Value) -> Samples {
    let sample = |(api, counts): &(ApiKey, ApiCounts)| {
        (vec![api.connection.to_string(), api.api.to_string()], value(counts))
    };
    scrape.calls.iter().map(sample).collect()
}

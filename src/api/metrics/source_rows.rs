//! Rows of `table.rs` about sources of tokens.

use super::samples::{number, one};
use super::spec::{Kind, Label, MetricSpec, Value};

pub(super) const REQUESTS: MetricSpec = MetricSpec {
    name: "cloakroom_source_requests",
    kind: Kind::Counter,
    labels: &[
        Label { name: "source", values: "`refresh`, `vault`" },
        Label { name: "connection", values: "the connection, as the configuration names it" },
        Label {
            name: "outcome",
            values: "`issued` (a token), `over` (only the user can do something about it), `misconfigured` (only an operator can), `throttled` (429), `failed` (no usable answer)",
        },
    ],
    help: "Requests to identity providers and to Token Vault by source, connection and outcome",
    note: "Requests that are not sent, because a source has just failed or refused the client, do not count.",
    read: |scrape| {
        let counts = scrape.services.counters.sources.counts().into_iter();
        let sample = |(source, connection, outcome, count): (&str, std::sync::Arc<str>, &str, u64)| {
            (vec![source.to_owned(), connection.to_string(), outcome.to_owned()], number(count))
        };
        counts.map(sample).collect()
    },
};

pub(super) const DURATIONS: MetricSpec = MetricSpec {
    name: "cloakroom_source_request_duration_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "Duration of requests to identity providers and to Token Vault",
    note: "",
    read: |scrape| vec![(Vec::new(), Value::Durations(scrape.services.counters.sources.durations.clone()))],
};

pub(super) const LOST: MetricSpec = MetricSpec {
    name: "cloakroom_refresh_lost",
    kind: Kind::Counter,
    labels: &[],
    help: "Refresh tokens that were redeemed and whose successor was lost",
    note: "Their users have to log in.",
    read: |scrape| one(scrape.services.counters.state.lost.get()),
};

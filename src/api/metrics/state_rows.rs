//! Rows of `table.rs` about the state file.

use super::samples::{flag, one};
use super::spec::{Kind, MetricSpec, Samples, Scrape, Value};
use crate::telemetry::StateStanding;

pub(super) const USABLE: MetricSpec = MetricSpec {
    name: "cloakroom_state_usable",
    kind: Kind::Gauge,
    labels: &[],
    help: "1 while the state file can be read and written, otherwise 0",
    note: "Absent without `[state]`.",
    read: |scrape| of_file(scrape, |standing| flag(standing.trouble.is_none())),
};

pub(super) const RECORDS: MetricSpec = MetricSpec {
    name: "cloakroom_state_records",
    kind: Kind::Gauge,
    labels: &[],
    help: "Identities whose refresh tokens are in the state file",
    note: "Absent without `[state]`.",
    read: |scrape| of_file(scrape, |standing| one(standing.records)),
};

pub(super) const UNWRITTEN: MetricSpec = MetricSpec {
    name: "cloakroom_state_unwritten",
    kind: Kind::Gauge,
    labels: &[],
    help: "Refresh tokens that are in memory because the state file cannot be written",
    note: "Absent without `[state]`. The end of the process loses them.",
    read: |scrape| of_file(scrape, |standing| one(standing.unwritten as u64)),
};

pub(super) const OLDEST: MetricSpec = MetricSpec {
    name: "cloakroom_state_oldest_unwritten_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "Age of the oldest redemption whose result is not in the state file; 0 if all are",
    note: "Absent without `[state]`.",
    read: |scrape| {
        of_file(scrape, |standing| {
            let since = |oldest| scrape.services.clock.since(oldest).as_secs_f64();
            vec![(Vec::new(), Value::Number(standing.oldest_unwritten.map_or(0.0, since)))]
        })
    },
};

pub(super) const WRITES: MetricSpec = MetricSpec {
    name: "cloakroom_state_write_duration_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "Duration of writes to the state file, until they are durable",
    note: "",
    read: |scrape| vec![(Vec::new(), Value::Durations(scrape.services.counters.state.writes.clone()))],
};

/// No sample without a state file.
fn of_file(scrape: &Scrape<'_>, sample: impl FnOnce(StateStanding) -> Samples) -> Samples {
    scrape.services.counters.state.standing().map(sample).unwrap_or_default()
}

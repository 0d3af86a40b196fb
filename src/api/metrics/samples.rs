//! Samples of metrics, in the shapes that rows need.

use crate::domain::freshness::Timestamp;
use crate::telemetry::Histogram;

use super::spec::{Samples, Value};

/// A sample for each value of the only label.
pub(super) fn by(samples: impl IntoIterator<Item = (&'static str, u64)>) -> Samples {
    samples.into_iter().map(|(value, count)| (vec![value.to_owned()], number(count))).collect()
}

/// A histogram for each value of the only label.
pub(super) fn durations<'a>(samples: impl IntoIterator<Item = (&'static str, &'a Histogram)>) -> Samples {
    let sample = |(value, took): (&str, &Histogram)| (vec![value.to_owned()], Value::Durations(took.clone()));
    samples.into_iter().map(sample).collect()
}

/// A sample's value.
pub(super) fn number(value: u64) -> Value {
    Value::Number(value as f64)
}

/// The only sample of a metric without labels.
pub(super) fn one(value: u64) -> Samples {
    vec![(Vec::new(), number(value))]
}

/// No sample while nothing is known, because a zero would mean something else.
pub(super) fn known(value: Option<u64>) -> Samples {
    value.map(one).unwrap_or_default()
}

/// 1 or 0.
pub(super) fn flag(is: bool) -> Samples {
    one(u64::from(is))
}

/// A date, in seconds since the Unix epoch; no sample if there is none.
pub(super) fn instant(at: Option<Timestamp>) -> Samples {
    at.map(|at| (Vec::new(), Value::Number(at.as_millis() as f64 / 1e3))).into_iter().collect()
}

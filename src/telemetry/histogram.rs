//! A histogram of durations.

use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram as Buckets;

/// Upper bounds in seconds. The first are for cache hits, which take microseconds. A request to Auth0 takes a
/// millisecond or more, up to `tenant.request_timeout` for each attempt.
const BOUNDS: [f64; 14] =
    [0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Durations of one kind of event, in buckets.
#[derive(Clone, Debug)]
pub struct Histogram(Buckets);

impl Default for Histogram {
    fn default() -> Self {
        Self(Buckets::new(BOUNDS))
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }

    /// The buckets, for the metrics page.
    pub fn buckets(&self) -> &Buckets {
        &self.0
    }
}

//! How long things take, in buckets.

use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram as Buckets;

/// Upper bounds in seconds. The first are for hits, which take microseconds; from a millisecond on it is Auth0 that is
/// waited for, up to `tenant.request_timeout` and more.
const BOUNDS: [f64; 14] =
    [0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Durations of one sort.
#[derive(Clone, Debug)]
pub struct Histogram(Buckets);

impl Default for Histogram {
    fn default() -> Self {
        Self(Buckets::new(BOUNDS))
    }
}

impl Histogram {
    /// Something took this long.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }

    /// For whoever writes it down.
    pub fn buckets(&self) -> &Buckets {
        &self.0
    }
}

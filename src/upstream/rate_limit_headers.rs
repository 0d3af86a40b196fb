//! What the headers of Auth0's answers say about the tenant's limits. No I/O and no clock.

use std::time::Duration;

use crate::domain::freshness::Timestamp;
use crate::transport::response::{Answer, Timing};

/// Below this remaining fraction of a limit, the daemon sends no optional requests.
const LITTLE: f64 = 0.2;

/// A limit that the tenant reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many requests remain.
    pub left: u64,
    /// The limit.
    pub of: u64,
    /// The time until it resets.
    pub reset: Duration,
}

impl Limit {
    /// Whether less than a fifth of it remains.
    pub fn is_little(&self) -> bool {
        self.of > 0 && (self.left as f64) < LITTLE * self.of as f64
    }
}

impl Answer {
    /// How long a 429 asks to wait: `Retry-After`, else until the time of the reset header; `None` where it has
    /// neither. Dates are compared with the answer's own date, since the same clock wrote both. `pace` bounds the
    /// result.
    pub fn asks_to_wait(&self, timing: Timing) -> Option<Duration> {
        let now = self.date().unwrap_or(timing.received.wall);
        self.retry_after(timing).or_else(|| self.reset(now))
    }

    /// The time until the tenant's rate limit resets.
    fn reset(&self, now: Timestamp) -> Option<Duration> {
        let at = i64::try_from(self.number("x-ratelimit-reset")?).ok()?;
        Some(Timestamp::from_secs(at).since(now))
    }

    /// The rate limit that the tenant reports for the requested endpoint.
    pub fn rate_limit(&self, timing: Timing) -> Option<Limit> {
        let now = self.date().unwrap_or(timing.received.wall);
        let (left, of) = self.number("x-ratelimit-remaining").zip(self.number("x-ratelimit-limit"))?;
        Some(Limit { left, of, reset: self.reset(now).unwrap_or_default() })
    }

    /// The quotas for tokens that the answer reports for the application: one per hour and one per day, if it has any.
    pub fn quotas(&self) -> Vec<Limit> {
        self.text("auth0-client-quota-limit").map(quotas).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }
}

/// Parses `b=per_hour;q=10;r=7;t=3540,b=per_day;…`: bucket, quota, remainder, seconds until the reset. Buckets that
/// cannot be parsed are left out.
fn quotas(header: &str) -> Vec<Limit> {
    let bucket = |bucket: &str| {
        let value = |name: &str| {
            let mut parts = bucket.split(';').filter_map(|part| part.trim().split_once('='));
            parts.find(|(key, _)| *key == name).and_then(|(_, value)| value.trim().parse::<u64>().ok())
        };
        Some(Limit { left: value("r")?, of: value("q")?, reset: Duration::from_secs(value("t")?) })
    };
    header.split(',').filter_map(bucket).collect()
}

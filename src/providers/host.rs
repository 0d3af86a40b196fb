//! When requests may be sent to one host: its rate, its 429s, and its failures. No I/O and no clock.

use std::time::Duration;

use crate::domain::freshness::Moment;
use crate::domain::retry::{Backoff, LONGEST_ASKED_FOR};
use crate::domain::source::SourceFailure;
use crate::domain::token_bucket::TokenBucket;

/// Failures in a row after which only single requests find out whether the host has recovered. A request that fails may
/// have invalidated a refresh token, so an outage must not reach every user.
const TOLERATED: usize = 3;

/// The waits between those single requests.
const BETWEEN_PROBES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// The wait after a 429 that states none.
const UNSTATED_WAIT: Duration = Duration::from_secs(5);

/// The state of one host.
#[derive(Debug)]
pub(super) struct Host {
    bucket: TokenBucket,
    /// Failures in a row.
    failures: usize,
    /// Why the latest request failed, and until when no other is sent.
    closed: Option<(SourceFailure, Moment)>,
}

/// Whether a request may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// At once.
    Now,
    /// After this wait, and then by another question.
    Later(Duration),
    /// Not before `retry_after`, because the host has failed.
    Closed { failure: SourceFailure, retry_after: Duration },
}

impl Host {
    /// A host that nothing is known of.
    pub fn new(per_second: f64, burst: u32, now: Moment) -> Self {
        Self { bucket: TokenBucket::new(per_second, burst.into(), now), failures: 0, closed: None }
    }

    /// Replaces the rate.
    pub fn resize(&mut self, per_second: f64, burst: u32, now: Moment) {
        self.bucket.resize(per_second, burst.into(), now);
    }

    /// Whether a request may be sent at `now`. If the host has failed before, the request that may be sent is the only
    /// one until its outcome is known or its own wait is over.
    pub fn admits(&mut self, seed: u64, now: Moment) -> Admission {
        if let Some((failure, until)) = &self.closed {
            let retry_after = now.age(*until);
            if !retry_after.is_zero() {
                return Admission::Closed { failure: failure.clone(), retry_after };
            }
        }
        if let Err(wait) = self.bucket.take(0.0, now) {
            return Admission::Later(wait);
        }
        if self.failures >= TOLERATED
            && let Some((_, until)) = &mut self.closed
        {
            *until = now.after(wait(self.failures, seed));
        }
        Admission::Now
    }

    /// Notes an answer that shows that the host works.
    pub fn works(&mut self) {
        (self.failures, self.closed) = (0, None);
    }

    /// Notes a request that failed. Returns the time after which a retry can help.
    pub fn fails(&mut self, failure: &SourceFailure, seed: u64, now: Moment) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = wait(self.failures, seed);
        if self.failures >= TOLERATED {
            self.closed = Some((failure.clone(), now.after(wait)));
        }
        wait
    }

    /// Notes a 429, which asks for this wait. Returns the wait.
    pub fn throttles(&mut self, failure: &SourceFailure, asks: Option<Duration>, now: Moment) -> Duration {
        let wait = asks.unwrap_or(UNSTATED_WAIT).min(LONGEST_ASKED_FOR);
        self.closed = Some((failure.clone(), now.after(wait)));
        wait
    }
}

/// The wait after this many failures in a row.
fn wait(failures: usize, seed: u64) -> Duration {
    BETWEEN_PROBES.waits(seed).nth(failures.min(16).saturating_sub(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::Timestamp;

    const S: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Moment {
        let elapsed = Duration::from_millis(millis);
        Moment { wall: Timestamp::from_millis(millis as i64), elapsed }
    }

    fn failure() -> SourceFailure {
        SourceFailure::Status { host: "h".into(), status: 503 }
    }

    #[test]
    fn an_outage_costs_a_few_requests_and_one_for_each_wait() {
        let mut host = Host::new(1_000.0, 1_000, at(0));
        let mut sent = Vec::new();
        for second in 0..600 {
            for _ in 0..20 {
                if host.admits(7, at(second * 1_000)) == Admission::Now {
                    sent.push(second);
                    host.fails(&failure(), 7, at(second * 1_000));
                }
            }
        }
        assert_eq!(sent.iter().filter(|second| **second == 0).count(), TOLERATED);
        assert!((20..80).contains(&sent.len()), "{} requests in ten minutes", sent.len());
        host.works();
        assert!((0..20).all(|_| host.admits(7, at(601_000)) == Admission::Now));
    }

    #[test]
    fn one_request_at_a_time_finds_out_whether_the_host_has_recovered() {
        let mut host = Host::new(1_000.0, 1_000, at(0));
        for _ in 0..TOLERATED {
            host.fails(&failure(), 7, at(0));
        }
        assert_eq!(host.admits(7, at(60_000)), Admission::Now);
        assert!(
            matches!(host.admits(7, at(60_000)), Admission::Closed { .. }),
            "the first has no outcome yet"
        );
    }

    #[test]
    fn a_429_closes_the_host_for_as_long_as_it_asks() {
        let mut host = Host::new(1_000.0, 1_000, at(0));
        let failure = SourceFailure::Throttled { host: "h".into() };
        assert_eq!(host.throttles(&failure, Some(9 * S), at(0)), 9 * S);
        let closed = Admission::Closed { failure: failure.clone(), retry_after: S };
        assert_eq!(host.admits(7, at(8_000)), closed);
        assert_eq!(host.admits(7, at(9_000)), Admission::Now);
        assert_eq!(host.throttles(&failure, Some(999 * S), at(0)), LONGEST_ASKED_FOR);
    }

    #[test]
    fn requests_beyond_the_rate_wait() {
        let mut host = Host::new(10.0, 2, at(0));
        assert_eq!([host.admits(7, at(0)), host.admits(7, at(0))], [Admission::Now, Admission::Now]);
        assert_eq!(host.admits(7, at(0)), Admission::Later(Duration::from_millis(100)));
        assert_eq!(host.admits(7, at(100)), Admission::Now);
    }
}

//! When requests may be sent to one host: its rate, its 429s, and its failures. No I/O and no clock.

use std::time::Duration;

use crate::domain::fair_queue::{FairQueue, Ticket};
use crate::domain::freshness::Moment;
use crate::domain::priority::{Flow, Priority};
use crate::domain::retry::{Backoff, LONGEST_ASKED_FOR};
use crate::domain::source::SourceFailure;
use crate::domain::token_bucket::TokenBucket;

/// Failures in a row after which only single requests find out whether the host has recovered. A request that fails may
/// have invalidated a refresh token, so an outage must not reach every user.
const TOLERATED: usize = 3;

/// The waits between those single requests.
const BETWEEN_PROBES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// The wait after an answer that asks to wait and does not say for how long, or that is about a single request.
pub(super) const UNSTATED_WAIT: Duration = Duration::from_secs(5);

/// No redemption goes before others: a client waits for each.
const PRIORITY: Priority = Priority::Caller;

/// The state of one host.
#[derive(Debug)]
pub(super) struct Host {
    bucket: TokenBucket,
    queue: FairQueue,
    /// Failures in a row.
    failures: usize,
    /// When it answered last, on the elapsed clock; `None` if it has failed since.
    last_answer: Option<Duration>,
    /// Why the latest request failed, and until when no other is sent.
    closed: Option<(SourceFailure, Moment)>,
    /// The latest 429, and until when it asks for a pause. A request that was under way may succeed meanwhile.
    paused: Option<(SourceFailure, Moment)>,
}

/// Why no request may be sent: the host has failed, or asks for a pause.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed {
    /// How it failed.
    pub failure: SourceFailure,
    /// After how long a request may be sent.
    pub retry_after: Duration,
}

impl Host {
    /// A host that nothing is known of.
    pub fn new(per_second: f64, burst: u32, now: Moment) -> Self {
        let bucket = TokenBucket::new(per_second, burst.into(), now);
        let queue = FairQueue::default();
        Self { bucket, queue, failures: 0, last_answer: None, closed: None, paused: None }
    }

    /// Replaces the rate.
    pub fn resize(&mut self, per_second: f64, burst: u32, now: Moment) {
        self.bucket.resize(per_second, burst.into(), now);
    }

    /// Whether a request of one of `flows` can be sent within `longest`, if no other flow has one.
    ///
    /// # Errors
    /// After how long its flow has fewer requests that wait.
    pub fn has_room(&mut self, flows: &[Flow], longest: Duration, now: Moment) -> Result<(), Duration> {
        let waiting = flows.iter().map(|flow| self.queue.waiting(PRIORITY, *flow)).min().unwrap_or(0);
        let room = self.bucket.within(longest, now).max(1.0);
        if (waiting as f64) < room { Ok(()) } else { Err(longest.max(UNSTATED_WAIT)) }
    }

    /// Joins the queues of `flows`.
    pub fn join(&mut self, flows: &[Flow], ticket: Ticket) {
        flows.iter().for_each(|flow| self.queue.join(PRIORITY, *flow, ticket));
    }

    /// Leaves the queues of `flows`.
    pub fn leave(&mut self, flows: &[Flow], ticket: Ticket) {
        self.queue.leave(PRIORITY, flows, ticket);
    }

    /// The request whose turn is next.
    pub fn next(&self) -> Option<Ticket> {
        self.queue.next()
    }

    /// Takes the turn of `ticket`, which then leaves its queues.
    ///
    /// # Errors
    /// It is another one's turn, or the rate allows none; after how long to look again at the latest.
    pub fn take_turn(&mut self, ticket: Ticket, now: Moment) -> Result<(), Duration> {
        if self.queue.next() != Some(ticket) {
            // The one before it wakes it.
            return Err(UNSTATED_WAIT);
        }
        self.bucket.take(0.0, now)?;
        self.queue.end_turn();
        Ok(())
    }

    /// Whether no request may be sent at `now`.
    pub fn closed(&self, now: Moment) -> Option<Closed> {
        let reasons = self.closed.iter().chain(&self.paused);
        let (failure, until) = reasons.max_by_key(|(_, until)| until.elapsed)?;
        let retry_after = Some(now.age(*until)).filter(|wait| !wait.is_zero())?;
        Some(Closed { failure: failure.clone(), retry_after })
    }

    /// Admits a request that is sent at `now`. If the host is out, it is the only one until its outcome is known or its
    /// own wait is over.
    ///
    /// # Errors
    /// No request may be sent.
    pub fn admit(&mut self, seed: u64, now: Moment) -> Result<(), Closed> {
        if let Some(closed) = self.closed(now) {
            return Err(closed);
        }
        let is_out = self.is_out();
        if let Some((_, until)) = self.closed.as_mut().filter(|_| is_out) {
            *until = now.after(wait(self.failures, seed));
        }
        Ok(())
    }

    /// When the host answered last, on the elapsed clock; `None` if it has failed since.
    pub fn last_answer(&self) -> Option<Duration> {
        self.last_answer
    }

    /// Notes an answer that shows that the host works. Returns whether it had failed for so long that requests were held
    /// back.
    pub fn works(&mut self, now: Moment) -> bool {
        let was_out = self.is_out();
        self.last_answer = Some(now.elapsed);
        (self.failures, self.closed) = (0, None);
        was_out
    }

    /// Whether so many requests have failed in a row that single ones find out whether the host has recovered.
    pub fn is_out(&self) -> bool {
        self.failures >= TOLERATED
    }

    /// Notes a request that failed. Returns the time after which a retry can help.
    pub fn fails(&mut self, failure: &SourceFailure, seed: u64, now: Moment) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.last_answer = None;
        let wait = wait(self.failures, seed);
        if self.is_out() {
            self.closed = Some((failure.clone(), now.after(wait)));
        }
        wait
    }

    /// Notes a 429, which asks for this wait. Returns the wait.
    pub fn throttles(&mut self, failure: &SourceFailure, asks: Option<Duration>, now: Moment) -> Duration {
        let wait = asks.unwrap_or(UNSTATED_WAIT).min(LONGEST_ASKED_FOR);
        self.paused = Some((failure.clone(), now.after(wait)));
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
                if host.admit(7, at(second * 1_000)).is_ok() {
                    sent.push(second);
                    host.fails(&failure(), 7, at(second * 1_000));
                }
            }
        }
        assert_eq!(sent.iter().filter(|second| **second == 0).count(), TOLERATED);
        assert!((20..80).contains(&sent.len()), "{} requests in ten minutes", sent.len());
        assert!(host.works(at(600_500)) && !host.works(at(600_500)));
        assert!((0..20).all(|_| host.admit(7, at(601_000)).is_ok()));
    }

    #[test]
    fn one_request_at_a_time_finds_out_whether_the_host_has_recovered() {
        let mut host = Host::new(1_000.0, 1_000, at(0));
        for _ in 0..TOLERATED {
            host.fails(&failure(), 7, at(0));
        }
        assert_eq!(host.closed(at(60_000)), None);
        assert_eq!(host.admit(7, at(60_000)), Ok(()));
        let closed = host.admit(7, at(60_000)).unwrap_err();
        assert_eq!(closed.failure, failure(), "the first has no outcome yet");
    }

    #[test]
    fn a_429_closes_the_host_for_as_long_as_it_asks() {
        let mut host = Host::new(1_000.0, 1_000, at(0));
        let failure = SourceFailure::Throttled { host: "h".into() };
        assert_eq!(host.throttles(&failure, Some(9 * S), at(0)), 9 * S);
        let closed = Closed { failure: failure.clone(), retry_after: S };
        assert_eq!(host.admit(7, at(8_000)), Err(closed));
        assert_eq!((host.admit(7, at(9_000)), host.admit(7, at(9_000))), (Ok(()), Ok(())));
        assert_eq!(host.throttles(&failure, Some(999 * S), at(0)), LONGEST_ASKED_FOR);
    }

    #[test]
    fn a_success_of_a_request_that_was_under_way_does_not_end_the_pause() {
        let mut host = Host::new(1_000.0, 1_000, at(0));
        for _ in 0..TOLERATED {
            host.fails(&failure(), 7, at(0));
        }
        let throttled = SourceFailure::Throttled { host: "h".into() };
        host.throttles(&throttled, Some(9 * S), at(1_000));
        assert!(host.works(at(1_100)));
        assert_eq!(host.admit(7, at(2_000)).unwrap_err(), Closed { failure: throttled, retry_after: 8 * S });
        assert_eq!(host.admit(7, at(10_000)), Ok(()));
    }
}

//! The rate at which requests may go to the tenant: the configured rate, the gate that a 429 closes, and the limits
//! that the tenant reports. No I/O and no clock.

use std::time::Duration;

use crate::domain::freshness::Moment;
use crate::domain::retry::{LONGEST_ASKED_FOR, SHORTEST_ASKED_FOR};
use crate::domain::token_bucket::TokenBucket;

use super::rate_limit_headers::Limit;

/// A wait that an answer asks for is extended by up to this fraction.
const JITTER: f64 = 0.1;

/// The longest wait where the tenant names none. Below [`LONGEST_ASKED_FOR`], which leaves room for the jitter.
const LONGEST_UNASKED: Duration = Duration::from_secs(54);

/// Why a request may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetError {
    /// The gate is closed for this long, which is longer than the request can wait.
    Gate(Duration),
    /// No permit is free: too many requests are ahead, or the bucket is empty. One may be free after this long.
    Busy(Duration),
}

/// A token bucket, and a gate in front of it.
#[derive(Debug)]
pub struct Pace {
    bucket: TokenBucket,
    gate_closed: Option<(Moment, Duration)>,
    refusals_in_a_row: u32,
    thrifty: Option<(Moment, Duration)>,
    /// The rate limit that the tenant reported last: what remains, and the limit.
    reported: Option<(u64, u64)>,
}

impl Pace {
    /// A full bucket that gains `per_second` up to `burst`, and an open gate.
    pub fn new(per_second: f64, burst: u32, now: Moment) -> Self {
        Self {
            bucket: TokenBucket::new(per_second, f64::from(burst), now),
            gate_closed: None,
            refusals_in_a_row: 0,
            thrifty: None,
            reported: None,
        }
    }

    /// Replaces rate and burst. The bucket keeps its level.
    pub fn reconfigure(&mut self, per_second: f64, burst: u32, now: Moment) {
        self.bucket.resize(per_second, f64::from(burst), now);
    }

    /// Takes one from the bucket if that leaves `reserve`; otherwise returns after how long it would.
    pub fn take(&mut self, reserve: u32, now: Moment) -> Result<(), BudgetError> {
        if let Some(wait) = self.gate_closed_for(now) {
            return Err(BudgetError::Gate(wait));
        }
        self.bucket.take(f64::from(reserve), now).map_err(BudgetError::Busy)
    }

    /// How many requests the rate allows within `span`.
    pub fn within(&mut self, span: Duration, now: Moment) -> f64 {
        self.bucket.within(span, now)
    }

    /// Closes the gate after a 429 for `asked`, or, where the tenant names no time, for twice as long each time.
    /// `chance`, between 0 and 1, adds jitter, so that the hosts of a fleet do not all return at once.
    pub fn refused(&mut self, asked: Option<Duration>, chance: f64, now: Moment) -> Duration {
        let doubled =
            SHORTEST_ASKED_FOR.saturating_mul(1 << self.refusals_in_a_row.min(6)).min(LONGEST_UNASKED);
        self.refusals_in_a_row = self.refusals_in_a_row.saturating_add(1);
        let wait = asked.unwrap_or(doubled).clamp(SHORTEST_ASKED_FOR, LONGEST_ASKED_FOR);
        let wait = jittered(wait, chance);
        if self.gate_closed_for(now).is_none_or(|left| left < wait) {
            self.gate_closed = Some((now, wait));
        }
        wait
    }

    /// Notes an answer other than 429.
    pub fn admitted(&mut self) {
        self.refusals_in_a_row = 0;
    }

    /// Notes what the tenant reports of its rate limit.
    pub fn note_rate_limit(&mut self, limit: Limit, now: Moment) {
        self.reported = Some((limit.left, limit.of));
        self.note(limit, now);
    }

    /// Notes a limit that the tenant reports. If little of it remains, refreshing ahead is suspended until it resets.
    pub fn note(&mut self, limit: Limit, now: Moment) {
        let reset = limit.reset.clamp(SHORTEST_ASKED_FOR, LONGEST_ASKED_FOR);
        if limit.is_little() && remaining(self.thrifty, now).is_none_or(|left| left < reset) {
            self.thrifty = Some((now, reset));
        }
    }

    /// For how long the gate is closed; `None` while it is open.
    pub fn gate_closed_for(&self, now: Moment) -> Option<Duration> {
        remaining(self.gate_closed, now)
    }

    /// Whether refreshing ahead is suspended.
    pub fn is_thrifty(&self, now: Moment) -> bool {
        remaining(self.thrifty, now).is_some()
    }

    /// The rate limit that the tenant reported last: what remains, and the limit.
    pub fn reported(&self) -> Option<(u64, u64)> {
        self.reported
    }
}

/// `wait` with jitter, which only extends it, up to [`LONGEST_ASKED_FOR`]: never shorter than asked, and different for
/// each host of a fleet.
pub fn jittered(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(1.0 + JITTER * chance).min(LONGEST_ASKED_FOR)
}

fn remaining(since_and_for: Option<(Moment, Duration)>, now: Moment) -> Option<Duration> {
    let (since, span) = since_and_for?;
    Some(span.saturating_sub(since.age(now))).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::Timestamp;

    fn at(millis: u64) -> Moment {
        Moment { wall: Timestamp::from_millis(millis as i64), elapsed: Duration::from_millis(millis) }
    }

    #[test]
    fn no_window_holds_more_than_burst_and_rate_allow() {
        let mut pace = Pace::new(10.0, 20, at(0));
        let sent: Vec<u64> = (0..10_000).filter(|millis| pace.take(0, at(*millis)).is_ok()).collect();
        for (first, from) in sent.iter().enumerate() {
            for (last, to) in sent.iter().enumerate().skip(first) {
                let allowed = 20.0 + (to - from) as f64 / 100.0;
                assert!((last - first + 1) as f64 <= allowed + 1e-6, "{from}..{to}");
            }
        }
        assert_eq!(sent.len(), 20 + 99);
    }

    #[test]
    fn the_gate_opens_when_asked_to_and_never_sooner_than_a_second_nor_later_than_a_minute() {
        let closed = |asked| {
            let mut pace = Pace::new(10.0, 20, at(0));
            pace.refused(asked, 0.0, at(0));
            assert!(matches!(pace.take(0, at(999)), Err(BudgetError::Gate(_))));
            (1..100_000).find(|millis| pace.take(0, at(*millis)).is_ok()).unwrap()
        };
        assert_eq!(closed(Some(Duration::from_secs(7))), 7_000);
        assert_eq!(closed(Some(Duration::ZERO)), 1_000);
        assert_eq!(closed(Some(Duration::from_secs(3600))), 60_000);
        assert_eq!(closed(None), 1_000);
    }

    #[test]
    fn without_a_word_each_refusal_closes_it_for_twice_as_long_and_none_shortens_it() {
        let mut pace = Pace::new(10.0, 20, at(0));
        let waits: Vec<_> = (0..8).map(|_| pace.refused(None, 0.0, at(0)).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 54, 54]);
        pace.refused(Some(Duration::from_secs(2)), 0.0, at(0));
        assert_eq!(pace.gate_closed_for(at(0)), Some(Duration::from_secs(54)));
        assert!(pace.refused(None, 1.0, at(0)) <= LONGEST_ASKED_FOR);
        pace.admitted();
        assert_eq!(pace.refused(None, 1.0, at(100_000)), Duration::from_millis(1_100));
    }

    #[test]
    fn little_left_suspends_refreshing_ahead_until_there_is_more() {
        let mut pace = Pace::new(10.0, 20, at(0));
        let limit = |left, of, secs| Limit { left, of, reset: Duration::from_secs(secs) };
        pace.note_rate_limit(limit(10, 50, 1), at(0));
        assert!(!pace.is_thrifty(at(0)));
        pace.note_rate_limit(limit(9, 50, 3), at(0));
        assert!(pace.is_thrifty(at(2_999)) && !pace.is_thrifty(at(3_000)));
        assert_eq!(pace.reported(), Some((9, 50)));
        pace.note(limit(1, 10, 3_000), at(4_000));
        pace.note_rate_limit(limit(9, 50, 1), at(5_000));
        assert!(pace.is_thrifty(at(63_999)), "none shortens another");
        assert!(!pace.is_thrifty(at(64_000)), "and a minute is the most that is believed");
    }
}

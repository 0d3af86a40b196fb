//! Backoff and `Retry-After`: how long to wait before a retry.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use super::freshness::Timestamp;

/// The upper bound of a wait that an answer asks for. A reset header can be wrong by an hour.
pub const LONGEST_ASKED_FOR: Duration = Duration::from_secs(60);

/// The lower bound of such a wait. The reset time may be within the current second, and an immediate retry would fail
/// again.
pub const SHORTEST_ASKED_FOR: Duration = Duration::from_secs(1);

/// Exponential backoff: waits double from `floor` to `cap`, and each is drawn between its nominal value and twice that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    floor: Duration,
    cap: Duration,
}

impl Backoff {
    /// Backoff with waits between `floor` and `cap`. A cap below twice the floor would leave no room for jitter, so it
    /// counts as twice the floor.
    pub const fn new(floor: Duration, cap: Duration) -> Self {
        let least = floor.saturating_mul(2);
        let cap = if cap.as_nanos() < least.as_nanos() { least } else { cap };
        Self { floor, cap }
    }

    /// The waits before the first, second, … further attempt, an endless sequence. Equal seeds draw equal waits.
    pub fn waits(self, seed: u64) -> Waits {
        let nominal = ExponentialBuilder::new()
            .with_min_delay(self.floor)
            // Jitter adds up to 100 % of a nominal value, so nominal values may grow to half the cap.
            .with_max_delay(self.cap.mul_f32(0.5))
            .without_max_times()
            .with_jitter()
            .with_jitter_seed(seed)
            .build();
        Waits { nominal, cap: self.cap }
    }
}

/// The waits of a [`Backoff`].
#[derive(Debug)]
pub struct Waits {
    nominal: <ExponentialBuilder as BackoffBuilder>::Backoff,
    cap: Duration,
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.nominal.next().map(|wait| wait.min(self.cap))
    }
}

/// Parses a `Retry-After` header, seconds or a date, into a wait between [`SHORTEST_ASKED_FOR`] and
/// [`LONGEST_ASKED_FOR`].
///
/// `None` if it is neither.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let asked = match value.parse::<u64>() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
            Timestamp::from_secs(0).after(since_epoch).since(now)
        }
    };
    Some(asked.clamp(SHORTEST_ASKED_FOR, LONGEST_ASKED_FOR))
}

/// `wait` in whole seconds for the daemon's own `Retry-After`: rounded up, at least 1.
pub fn whole_seconds(wait: Duration) -> u64 {
    let partial = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(partial).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_wait_lies_between_floor_and_cap(seed: u64, floor in 1_u64..5_000, cap in 1_u64..600_000) {
            let (floor, cap) = (Duration::from_millis(floor), Duration::from_millis(cap));
            for wait in Backoff::new(floor, cap).waits(seed).take(40) {
                // Nominal values pass through f32, hence the millisecond.
                prop_assert!(wait + Duration::from_millis(1) >= floor, "{wait:?} < {floor:?}");
                prop_assert!(wait <= cap.max(floor * 2), "{wait:?} > {cap:?}");
            }
        }

        #[test]
        fn no_header_text_panics_or_asks_for_nothing(value: String) {
            if let Some(wait) = retry_after(&value, Timestamp::from_secs(1_700_000_000)) {
                prop_assert!(wait >= Duration::from_secs(1) && wait <= LONGEST_ASKED_FOR);
            }
        }
    }

    #[test]
    fn waits_grow_and_equal_seeds_repeat_them() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let waits: Vec<_> = backoff.waits(7).take(8).collect();
        assert_eq!(waits, backoff.waits(7).take(8).collect::<Vec<_>>());
        assert_ne!(waits, backoff.waits(8).take(8).collect::<Vec<_>>());
        assert!(waits[7] >= Duration::from_secs(30), "{waits:?}");
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
        let secs = |value| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(secs("7"), Some(7));
        assert_eq!(secs(" 0 "), Some(1));
        assert_eq!(secs("3600"), Some(60));
        assert_eq!(secs("Sun, 22 Nov 2026 10:00:30 GMT"), Some(30));
        assert_eq!(secs("Sun, 22 Nov 2026 09:00:00 GMT"), Some(1));
        assert_eq!(secs("soon"), None);
        assert_eq!(secs("-5"), None);
    }

    #[test]
    fn our_own_header_rounds_up_and_is_never_zero() {
        assert_eq!([0, 1, 1000, 1001].map(|ms| whole_seconds(Duration::from_millis(ms))), [1, 1, 1, 2]);
    }
}

//! A token bucket: a burst, and a rate per second. No I/O and no clock.

use std::time::Duration;

use super::freshness::Moment;

/// A token bucket, which counts on the elapsed clock.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: f64,
    burst: f64,
    /// The level as of `counted`.
    level: f64,
    counted: Moment,
}

impl TokenBucket {
    /// A full bucket that fills at `per_second` up to `burst`.
    pub fn new(per_second: f64, burst: f64, now: Moment) -> Self {
        Self { per_second, burst, level: burst, counted: now }
    }

    /// Replaces rate and burst. The level stays, up to the new burst, so that repeated changes give no client more than
    /// the rate.
    pub fn resize(&mut self, per_second: f64, burst: f64, now: Moment) {
        self.fill(now);
        (self.per_second, self.burst) = (per_second, burst);
        self.level = self.level.min(burst);
    }

    /// Takes one if that leaves `reserve`.
    ///
    /// # Errors
    /// The time after which it would; at least a millisecond, the resolution of the clocks here.
    pub fn take(&mut self, reserve: f64, now: Moment) -> Result<(), Duration> {
        self.fill(now);
        let needed = 1.0 + reserve;
        if self.level >= needed {
            self.level -= 1.0;
            return Ok(());
        }
        // At least the clock's resolution, so that a retry does not come too early again and again.
        let wait = Duration::from_secs_f64((needed - self.level) / self.per_second);
        Err(wait.max(Duration::from_millis(1)))
    }

    /// Takes one that may be there only later, in the order of the calls. Returns after how long it is there.
    ///
    /// # Errors
    /// That is longer than `longest`, and nothing is taken.
    pub fn reserve(&mut self, longest: Duration, now: Moment) -> Result<Duration, Duration> {
        self.fill(now);
        let lacking = (1.0 - self.level).max(0.0);
        let wait = Duration::try_from_secs_f64(lacking / self.per_second).unwrap_or(Duration::MAX);
        if wait > longest {
            return Err(wait);
        }
        self.level -= 1.0;
        Ok(wait)
    }

    /// How many could be taken between now and the end of `span`.
    pub fn within(&mut self, span: Duration, now: Moment) -> f64 {
        self.fill(now);
        self.level + span.as_secs_f64() * self.per_second
    }

    /// Whether the bucket is full, and so equal to a new one.
    pub fn is_full(&mut self, now: Moment) -> bool {
        self.fill(now);
        self.level >= self.burst
    }

    fn fill(&mut self, now: Moment) {
        let gained = self.counted.age(now).as_secs_f64() * self.per_second;
        self.level = (self.level + gained).min(self.burst);
        self.counted = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::Timestamp;

    fn at(millis: u64) -> Moment {
        Moment { wall: Timestamp::from_millis(millis as i64), elapsed: Duration::from_millis(millis) }
    }

    #[test]
    fn what_is_reserved_comes_at_the_rate_and_in_order() {
        let mut bucket = TokenBucket::new(10.0, 2.0, at(0));
        let longest = Duration::from_millis(350);
        let waits: Vec<_> =
            (0..7).map(|_| bucket.reserve(longest, at(0)).map(|wait| wait.as_millis())).collect();
        assert_eq!(waits[..5], [Ok(0), Ok(0), Ok(100), Ok(200), Ok(300)]);
        let too_long = Err(Duration::from_millis(400));
        assert_eq!(waits[5..], [too_long, too_long], "what is refused is not taken");
        assert!(bucket.take(0.0, at(399)).is_err(), "those that wait come first");
        assert!(bucket.take(0.0, at(400)).is_ok());
        assert_eq!(bucket.reserve(longest, at(10_000)), Ok(Duration::ZERO));
    }
}

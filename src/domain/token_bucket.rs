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

//! A token bucket: so much at once, and so much per second. Pure.

use std::time::Duration;

use super::freshness::Moment;

/// What may be spent, and when there is more. Counts on the elapsed clock.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: f64,
    burst: f64,
    /// What may be spent, as of `counted`.
    level: f64,
    counted: Moment,
}

impl TokenBucket {
    /// A full bucket that gains `per_second` up to `burst`.
    pub fn new(per_second: f64, burst: f64, now: Moment) -> Self {
        Self { per_second, burst, level: burst, counted: now }
    }

    /// Gains `per_second` up to `burst` from now on. What there is stays, as far as there is room for it: changing the
    /// bounds over and over gives nobody more than the rate.
    pub fn resize(&mut self, per_second: f64, burst: f64, now: Moment) {
        self.fill(now);
        (self.per_second, self.burst) = (per_second, burst);
        self.level = self.level.min(burst);
    }

    /// Spends one, if that leaves `reserve`.
    ///
    /// # Errors
    /// After how long it would; at least a millisecond, which is what clocks here tell apart.
    pub fn take(&mut self, reserve: f64, now: Moment) -> Result<(), Duration> {
        self.fill(now);
        let needed = 1.0 + reserve;
        if self.level >= needed {
            self.level -= 1.0;
            return Ok(());
        }
        // Rounded up to the clock's millisecond, lest somebody come back an instant too early, for ever.
        let wait = Duration::from_secs_f64((needed - self.level) / self.per_second);
        Err(wait.max(Duration::from_millis(1)))
    }

    /// How many could be spent between now and the end of `span`.
    pub fn within(&mut self, span: Duration, now: Moment) -> f64 {
        self.fill(now);
        self.level + span.as_secs_f64() * self.per_second
    }

    /// Whether nothing is missing from it: then it is as good as a new one.
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

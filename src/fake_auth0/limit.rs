//! A tenant's limits: the Management API's token bucket, and an application's quota of tokens. The bucket is exact to
//! the nanosecond, so that tests can check its edges.

use std::time::Duration;

use crate::domain::freshness::Moment;

const WHOLE: u128 = 1_000_000_000;

/// A limit as Auth0 documents it, such as 50 / 16 per second for Enterprise and 2 / 2 for Free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Sustained requests per second: the refill.
    pub per_second: u32,
    /// The bucket's size.
    pub burst: u32,
}

pub(super) struct Bucket {
    limit: RateLimit,
    /// In billionths of a request.
    level: u128,
    filled_at: Moment,
}

/// The values of an answer's `x-ratelimit-*` headers.
#[derive(Clone, Copy)]
pub(super) struct LimitHeaders {
    pub limit: u32,
    pub remaining: u32,
    /// UNIX time in seconds at which the bucket has another request.
    pub reset: i64,
}

impl Bucket {
    pub fn new(limit: RateLimit, now: Moment) -> Self {
        Self { limit, level: WHOLE * u128::from(limit.burst), filled_at: now }
    }

    /// Takes one request; `Err` if the bucket is empty.
    pub fn take(&mut self, now: Moment) -> Result<LimitHeaders, LimitHeaders> {
        let gained = self.filled_at.age(now).as_nanos() * u128::from(self.limit.per_second);
        self.level = (self.level + gained).min(WHOLE * u128::from(self.limit.burst));
        self.filled_at = now;
        match self.level.checked_sub(WHOLE) {
            Some(left) => {
                self.level = left;
                Ok(self.headers(now))
            }
            None => Err(self.headers(now)),
        }
    }

    fn headers(&self, now: Moment) -> LimitHeaders {
        let missing = WHOLE - self.level % WHOLE;
        let wait = missing.div_ceil(u128::from(self.limit.per_second.max(1)));
        let at = now.wall.after(Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)));
        LimitHeaders {
            limit: self.limit.burst,
            remaining: u32::try_from(self.level / WHOLE).unwrap_or(u32::MAX),
            // Rounded up: at that time the bucket has a request.
            reset: at.after(Duration::from_millis(999)).as_secs(),
        }
    }
}

impl LimitHeaders {
    /// The values of a tenant without a limit, as recorded.
    pub fn unlimited(now: Moment) -> Self {
        Self { limit: 50, remaining: 49, reset: now.wall.as_secs() + 1 }
    }
}

/// An application's quota of machine-to-machine tokens per hour of UTC.
pub(super) struct Quota {
    per_hour: u64,
    spent: u64,
    hour: i64,
}

const HOUR: i64 = 3_600;

impl Quota {
    pub fn new(per_hour: u64) -> Self {
        Self { per_hour, spent: 0, hour: 0 }
    }

    /// Takes one token; `Err` is the number of seconds until there is another.
    pub fn take(&mut self, now: Moment) -> Result<(), u64> {
        self.turn(now);
        if self.spent >= self.per_hour {
            return Err(until_next_hour(now));
        }
        self.spent += 1;
        Ok(())
    }

    /// The header of every answer of the token endpoint, in Auth0's format.
    pub fn header(&mut self, now: Moment) -> String {
        self.turn(now);
        let left = self.per_hour.saturating_sub(self.spent);
        format!("b=per_hour;q={};r={left};t={}", self.per_hour, until_next_hour(now))
    }

    fn turn(&mut self, now: Moment) {
        let hour = now.wall.as_secs().div_euclid(HOUR);
        if hour != self.hour {
            (self.hour, self.spent) = (hour, 0);
        }
    }
}

fn until_next_hour(now: Moment) -> u64 {
    u64::try_from(HOUR - now.wall.as_secs().rem_euclid(HOUR)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::Timestamp;

    fn at(millis: u64) -> Moment {
        Moment {
            wall: Timestamp::from_secs(1_000).after(Duration::from_millis(millis)),
            elapsed: Duration::from_millis(millis),
        }
    }

    #[test]
    fn a_burst_then_the_sustained_rate() {
        let mut bucket = Bucket::new(RateLimit { per_second: 2, burst: 3 }, at(0));
        let burst: Vec<_> = (0..3).map(|_| bucket.take(at(0)).map(|s| s.remaining).ok()).collect();
        assert_eq!(burst, [Some(2), Some(1), Some(0)]);
        let refused = bucket.take(at(499)).err().unwrap();
        assert_eq!((refused.limit, refused.remaining, refused.reset), (3, 0, 1_001));
        assert!(bucket.take(at(500)).is_ok(), "half a second is one request at two per second");
        assert!(bucket.take(at(999)).is_err());
        assert!(bucket.take(at(1_000)).is_ok());
    }

    #[test]
    fn a_request_at_the_reset_is_allowed() {
        for millis in [0, 1, 333, 999] {
            let mut bucket = Bucket::new(RateLimit { per_second: 3, burst: 1 }, at(millis));
            assert!(bucket.take(at(millis)).is_ok());
            let reset = bucket.take(at(millis)).err().unwrap().reset;
            let later = u64::try_from(reset - 1_000).unwrap() * 1_000;
            assert!(bucket.take(at(later)).is_ok(), "{millis}");
        }
    }
}

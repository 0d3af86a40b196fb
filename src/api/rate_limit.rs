//! Rate limits of rules: how many lookups per second each uid may make.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::freshness::Moment;
use crate::domain::token_bucket::TokenBucket;

/// With more buckets than this, full ones are dropped, because they equal new ones.
const TIDY_BEYOND: usize = 256;

/// One listener's buckets, by rule and by uid that has made lookups recently.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<(usize, u32), TokenBucket>>);

impl Rates {
    /// Counts a lookup of `uid` under `rule`, which allows `rate` of them per second, and as many at once.
    ///
    /// # Errors
    /// The time until the rate permits one more lookup.
    pub fn take(&self, rule: usize, uid: u32, rate: f64, now: Moment) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > TIDY_BEYOND {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = buckets.entry((rule, uid)).or_insert_with(|| TokenBucket::new(rate, rate.max(1.0), now));
        bucket.take(0.0, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::Timestamp;

    fn at(millis: u64) -> Moment {
        Moment { wall: Timestamp::from_millis(0), elapsed: Duration::from_millis(millis) }
    }

    #[test]
    fn each_uid_has_its_own_bucket_and_learns_when_there_is_room() {
        let rates = Rates::default();
        let taken = |uid, millis| rates.take(0, uid, 2.0, at(millis));
        assert_eq!([taken(1, 0), taken(1, 0)], [Ok(()), Ok(())]);
        assert_eq!(taken(1, 0), Err(Duration::from_millis(500)));
        assert_eq!([taken(2, 0), taken(1, 500)], [Ok(()), Ok(())]);
        assert_eq!(rates.take(1, 1, 0.5, at(500)), Ok(()), "a slower rule has a bucket of its own");
        assert_eq!(rates.take(1, 1, 0.5, at(500)), Err(Duration::from_secs(2)));
    }

    #[test]
    fn uids_that_have_not_called_lately_are_forgotten() {
        let rates = Rates::default();
        for uid in 0..10_000_u32 {
            rates.take(0, uid, 1.0, at(u64::from(uid) * 100)).unwrap();
        }
        assert!(rates.0.lock().unwrap().len() <= TIDY_BEYOND + 1);
    }
}

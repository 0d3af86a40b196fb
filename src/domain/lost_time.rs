//! Time that this machine's clocks did not count, detected by the dates of Auth0's answers.
//!
//! `CLOCK_BOOTTIME` continues while a machine sleeps, but not while a virtual machine is paused. Both clocks stop then,
//! and nothing on the machine shows it. The date of Auth0's next answer does.

use std::time::Duration;

use super::freshness::Timestamp;

/// The difference, in milliseconds, that does not count as lost time: dates have whole seconds, answers take time on
/// the way, and clocks drift.
const TOLERANCE: i64 = 10_000;

/// The part of a date that is cut off, at most, in milliseconds: dates have whole seconds.
const HIDDEN: i64 = 1_000;

/// Compares Auth0's clock with the local elapsed clock.
#[derive(Debug, Default)]
pub struct Lost {
    /// By how much Auth0's clock was at least ahead of the elapsed clock with the first answer, in milliseconds.
    base: Option<i64>,
    /// By how much it was at least ahead with the latest answer, with the lost time added to the elapsed clock.
    latest: Option<i64>,
    /// The time that the elapsed clock is known to have missed, in milliseconds. This only grows, so that a server with
    /// a wrong date causes one jump and not one per answer. A jump makes cached entries older than they are, never
    /// younger.
    lost: i64,
}

impl Lost {
    /// Notes an answer with the date `date`, and when its request was `sent` and the answer `received` by the
    /// uncorrected elapsed clock. Returns the lost time that this answer is the first to show.
    pub fn learn(&mut self, date: Timestamp, sent: Duration, received: Duration) -> Option<Duration> {
        let at_least = date.as_millis().saturating_sub(millis(received));
        let base = *self.base.get_or_insert(at_least);
        let is_news = at_least.saturating_sub(base) > self.lost.saturating_add(TOLERANCE);
        let before = self.lost;
        if is_news {
            // The upper bound is used: an entry that seems too old is fetched again, but an expired token is never
            // served.
            let at_most = date.as_millis().saturating_add(HIDDEN).saturating_sub(millis(sent));
            self.lost = at_most.saturating_sub(base);
        }
        self.latest = Some(at_least.saturating_sub(self.lost));
        is_news.then(|| span(self.lost.saturating_sub(before)))
    }

    /// The total of lost time.
    pub fn so_far(&self) -> Duration {
        span(self.lost)
    }

    /// Auth0's clock at `elapsed`, which includes lost time, by the latest answer; `None` if no answer had a date.
    pub fn their_wall(&self, elapsed: Duration) -> Option<Timestamp> {
        self.latest.map(|ahead| Timestamp::from_millis(millis(elapsed).saturating_add(ahead)))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn span(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);
    const BEGIN: Timestamp = Timestamp::from_millis(1_800_000_000_400);

    /// Notes an answer that was sent and dated at the true time `at`, took `took`, and arrived when the elapsed clock
    /// had missed `missed`.
    fn learn(lost: &mut Lost, at: Duration, took: Duration, missed: Duration) -> Option<Duration> {
        let date = Timestamp::from_secs(BEGIN.after(at).as_secs());
        lost.learn(date, at - missed, at + took - missed)
    }

    #[test]
    fn a_pause_is_noticed_once_and_a_second_one_as_well() {
        let (mut lost, hours) = (Lost::default(), 3_600 * S);
        assert_eq!(learn(&mut lost, 10 * S, S, Duration::ZERO), None);
        assert_eq!(learn(&mut lost, 500 * S, S / 2, Duration::ZERO), None);
        let noticed = learn(&mut lost, 600 * S + 8 * hours, S / 5, 8 * hours).unwrap();
        assert!(noticed >= 8 * hours && noticed <= 8 * hours + 3 * S, "{noticed:?}");
        assert_eq!(learn(&mut lost, 700 * S + 8 * hours, S / 5, 8 * hours), None);
        let again = learn(&mut lost, 800 * S + 9 * hours, S / 5, 9 * hours).unwrap();
        assert_eq!(lost.so_far(), noticed + again);
        let (now, elapsed) = (BEGIN.after(900 * S + 9 * hours), 900 * S + lost.so_far());
        let theirs = lost.their_wall(elapsed).unwrap();
        assert!(theirs.since(now) < 3 * S && now.since(theirs) < 3 * S, "{theirs} for {now}");
    }

    #[test]
    fn a_wrong_date_costs_one_jump_and_a_date_in_the_past_none() {
        let mut lost = Lost::default();
        let mut at = |offset: i64, at: u64| {
            let date = Timestamp::from_secs(BEGIN.as_secs() + offset + at as i64);
            lost.learn(date, at as u32 * S, at as u32 * S).is_some()
        };
        let jumps = [(0, 1), (-3_600, 2), (0, 3), (3_600, 4), (0, 5), (3_600, 6), (0, 7)];
        assert_eq!(
            jumps.map(|(offset, second)| at(offset, second)),
            [false, false, false, true, false, false, false]
        );
    }

    proptest! {
        /// However long answers take, a pause is never underestimated, and no pause is reported that was not there.
        #[test]
        fn what_is_lost_is_never_less_than_what_was_missed(
            answers in proptest::collection::vec((0_u64..100_000, 0_u64..5_000, 0_u64..60_000), 1..40),
        ) {
            let (mut lost, mut at, mut missed) = (Lost::default(), S, Duration::ZERO);
            let millis = Duration::from_millis;
            for (number, (passes, took, pause)) in answers.into_iter().enumerate() {
                let pause = if number == 0 { Duration::ZERO } else { millis(pause) };
                (at, missed) = (at + millis(passes) + pause, missed + pause);
                let known = lost.so_far();
                match learn(&mut lost, at, millis(took), missed) {
                    Some(news) => prop_assert!(lost.so_far() >= missed && lost.so_far() == known + news),
                    None => prop_assert!(lost.so_far() + millis(16_000) > missed),
                }
                prop_assert!(lost.so_far() <= missed + millis(12_000));
                at += millis(took);
            }
        }
    }
}

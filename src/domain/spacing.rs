//! How often something may be done again that a peer can provoke: with growing time in between. No I/O and no clock.

use std::time::Duration;

use super::freshness::Moment;

/// The times between repetitions: twice as long each time, from `shortest` to `longest`, and from the beginning once
/// there was none for `forgotten_after`.
#[derive(Clone, Copy, Debug)]
pub struct Spacing {
    shortest: Duration,
    longest: Duration,
    forgotten_after: Duration,
    last: Option<(Moment, Duration)>,
}

impl Spacing {
    /// Nothing was done yet.
    pub const fn new(shortest: Duration, longest: Duration, forgotten_after: Duration) -> Self {
        Self { shortest, longest, forgotten_after, last: None }
    }

    /// Whether it may be done now. If so, it counts as done.
    pub fn admits(&mut self, now: Moment) -> bool {
        let next = match self.last {
            None => self.shortest,
            Some((last, _)) if last.age(now) >= self.forgotten_after => self.shortest,
            Some((last, wait)) if last.age(now) < wait => return false,
            Some((_, wait)) => wait.saturating_mul(2).min(self.longest),
        };
        self.last = Some((now, next));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::Timestamp;

    fn at(secs: u64) -> Moment {
        Moment { wall: Timestamp::from_secs(secs as i64), elapsed: Duration::from_secs(secs) }
    }

    #[test]
    fn what_is_always_asked_for_is_done_less_and_less_often() {
        let secs = Duration::from_secs;
        let mut spacing = Spacing::new(secs(10), secs(60), secs(600));
        let done: Vec<_> = (0..300).filter(|second| spacing.admits(at(*second))).collect();
        assert_eq!(done, [0, 10, 30, 70, 130, 190, 250]);
        assert!(!spacing.admits(at(309)) && spacing.admits(at(310)));
        assert!(spacing.admits(at(910)) && !spacing.admits(at(919)) && spacing.admits(at(920)));
    }
}

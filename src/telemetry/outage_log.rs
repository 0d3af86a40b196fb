//! Says that something is wrong once, and that it is over once: an outage of hours is two lines, not a flood.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::error::Failure;
use crate::domain::freshness::Moment;

/// OutageLog that comes and goes with every other request is still worth one line a minute.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// One thing that may fail for a while.
#[derive(Debug, Default)]
pub struct OutageLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// It was said that it fails, and not yet that it works.
    open: bool,
    /// What was said last, and when.
    said: Option<(Failure, Moment)>,
}

impl OutageLog {
    /// It failed at `now`. Returns whether that should be said: it is news, or it has not been said for a while.
    pub fn fails(&self, failure: &Failure, now: Moment) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let say = match &state.said {
            None => true,
            Some((said, at)) => (!state.open || !said.is_like(failure)) && at.age(now) >= BETWEEN_LINES,
        };
        if say {
            state.said = Some((failure.clone(), now));
            state.open = true;
        }
        say
    }

    /// It works. Returns whether that should be said: it did not before, and that was said.
    pub fn ends(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.open)
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
    fn an_outage_is_said_once_and_so_is_its_end() {
        let (trouble, down) = (OutageLog::default(), Failure::Status { status: 503 });
        assert!(!trouble.ends(), "nothing was wrong");
        assert!(trouble.fails(&down, at(0)));
        assert!((1..500).all(|second| !trouble.fails(&down, at(second))));
        assert!(trouble.ends());
        assert!(!trouble.ends());
        assert!(trouble.fails(&down, at(501)));
    }

    #[test]
    fn another_cause_is_news_and_flapping_is_not() {
        let (trouble, down) = (OutageLog::default(), Failure::Status { status: 503 });
        assert!(trouble.fails(&down, at(0)));
        assert!(trouble.fails(&Failure::Fault, at(60)));
        let lines = (61..121).filter(|second| {
            trouble.ends();
            trouble.fails(&down, at(*second))
        });
        assert_eq!(lines.count(), 1);
    }

    #[test]
    fn an_outage_that_follows_another_is_said_when_it_lasts_and_its_end_only_then() {
        let (trouble, down) = (OutageLog::default(), Failure::Status { status: 503 });
        assert!(trouble.fails(&down, at(0)) && trouble.ends());
        assert!(
            !trouble.fails(&down, at(30)) && !trouble.ends(),
            "too soon to be said, so it has no end either"
        );
        assert!((40..60).all(|second| !trouble.fails(&down, at(second))));
        assert!(trouble.fails(&down, at(60)) && !trouble.fails(&down, at(61)) && trouble.ends());
    }
}

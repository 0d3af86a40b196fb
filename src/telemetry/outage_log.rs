//! Decides which failures are logged: an outage of hours gets two lines, one for its start and one for its end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::error::Failure;
use crate::domain::freshness::Moment;
use crate::domain::source::SourceFailure;

/// Minimum time between two lines about a failure that comes and goes.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// The failures of one operation, and which of them were logged.
#[derive(Debug)]
pub struct OutageLog<F = Failure>(Mutex<State<F>>);

/// A failure that can be told from another one.
pub trait Alike: Clone {
    /// Whether `other` would be the same line of the log.
    fn is_like(&self, other: &Self) -> bool;
}

impl Alike for Failure {
    fn is_like(&self, other: &Self) -> bool {
        Self::is_like(self, other)
    }
}

impl Alike for SourceFailure {
    fn is_like(&self, other: &Self) -> bool {
        self == other
    }
}

impl<F> Default for OutageLog<F> {
    fn default() -> Self {
        Self(Mutex::new(State { open: false, logged: None }))
    }
}

#[derive(Debug)]
struct State<F> {
    /// Whether a failure was logged whose end is not logged yet.
    open: bool,
    /// The failure that was logged last, and when.
    logged: Option<(F, Moment)>,
}

impl<F: Alike> OutageLog<F> {
    /// Notes a failure at `now`. Returns whether to log it: it is the first, or another one or the first after a
    /// recovery, and the last line is at least a minute old.
    pub fn fails(&self, failure: &F, now: Moment) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let log = match &state.logged {
            None => true,
            Some((logged, at)) => (!state.open || !logged.is_like(failure)) && at.age(now) >= BETWEEN_LINES,
        };
        if log {
            state.logged = Some((failure.clone(), now));
            state.open = true;
        }
        log
    }

    /// Notes a success. Returns whether to log it: an earlier failure was logged.
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
    fn an_outage_is_logged_once_and_so_is_its_end() {
        let (outages, down) = (OutageLog::default(), Failure::Status { status: 503 });
        assert!(!outages.ends(), "nothing was wrong");
        assert!(outages.fails(&down, at(0)));
        assert!((1..500).all(|second| !outages.fails(&down, at(second))));
        assert!(outages.ends());
        assert!(!outages.ends());
        assert!(outages.fails(&down, at(501)));
    }

    #[test]
    fn another_cause_is_logged_and_flapping_is_not() {
        let (outages, down) = (OutageLog::default(), Failure::Status { status: 503 });
        assert!(outages.fails(&down, at(0)));
        assert!(outages.fails(&Failure::Fault, at(60)));
        let lines = (61..121).filter(|second| {
            outages.ends();
            outages.fails(&down, at(*second))
        });
        assert_eq!(lines.count(), 1);
    }

    #[test]
    fn an_outage_soon_after_another_is_logged_when_it_lasts_and_its_end_only_then() {
        let (outages, down) = (OutageLog::default(), Failure::Status { status: 503 });
        assert!(outages.fails(&down, at(0)) && outages.ends());
        assert!(
            !outages.fails(&down, at(30)) && !outages.ends(),
            "too soon for a line, so its end has none either"
        );
        assert!((40..60).all(|second| !outages.fails(&down, at(second))));
        assert!(outages.fails(&down, at(60)) && !outages.fails(&down, at(61)) && outages.ends());
    }
}

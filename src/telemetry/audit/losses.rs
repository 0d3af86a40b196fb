//! Requests whose audit line was not written: counted, and said in the log now and then.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::freshness::Moment;

/// Lines lost one after the other are worth one line of the log a minute.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(60);

/// Lines that were not written.
#[derive(Debug, Default)]
pub struct Losses {
    lines: AtomicU64,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// When that lines are lost was said last.
    at: Option<Moment>,
    /// That they are written again was not said since.
    open: bool,
}

impl Losses {
    /// How many so far.
    pub fn total(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Counts further ones, and says so if that is worth a line.
    pub fn add(&self, lines: u64, now: Moment, why: &dyn fmt::Display) {
        self.lines.fetch_add(lines, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.at.is_none_or(|at| at.age(now) >= BETWEEN_COMPLAINTS) {
            *said = Said { at: Some(now), open: true };
            tracing::warn!(lost = self.total(), %why, "Lines of the audit log are lost");
        }
    }

    /// Lines were written.
    pub fn end(&self) {
        if std::mem::take(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner).open) {
            tracing::info!(lost = self.total(), "Lines of the audit log are written again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;

    #[test]
    fn losses_are_said_once_a_minute_and_their_end_once() {
        let losses = Losses::default();
        let is_said = |now: u64| {
            let before = losses.said.lock().unwrap().at;
            losses.add(1, at(now), &"no room");
            losses.said.lock().unwrap().at != before
        };
        assert!(is_said(0) && (1..60).all(|second| !is_said(second)) && is_said(60));
        assert!(losses.said.lock().unwrap().open);
        losses.end();
        assert!(!losses.said.lock().unwrap().open);
        assert!(!is_said(61) && !losses.said.lock().unwrap().open, "too soon to be said, so it has no end");
        assert_eq!(losses.total(), 62);
    }
}

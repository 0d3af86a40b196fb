//! Counts requests whose audit line was not written, and reports them in the log at most once a minute.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::freshness::Moment;

/// Minimum time between two warnings about lost lines.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// The count of lost lines, and when it was last logged.
#[derive(Debug, Default)]
pub struct Losses {
    lines: AtomicU64,
    logged: Mutex<Logged>,
}

#[derive(Debug, Default)]
struct Logged {
    /// When the last warning was logged.
    at: Option<Moment>,
    /// Whether the end of the losses is still to be logged.
    open: bool,
}

impl Losses {
    /// Number of lost lines.
    pub fn total(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Counts `lines` more, and logs a warning unless the last one is less than a minute old.
    pub fn add(&self, lines: u64, now: Moment, why: &dyn fmt::Display) {
        self.lines.fetch_add(lines, Ordering::Relaxed);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.at.is_none_or(|at| at.age(now) >= BETWEEN_WARNINGS) {
            *logged = Logged { at: Some(now), open: true };
            tracing::warn!(lost = self.total(), %why, "Lines of the audit log are lost");
        }
    }

    /// Notes that lines are written again; logs it if the loss was logged.
    pub fn end(&self) {
        if std::mem::take(&mut self.logged.lock().unwrap_or_else(PoisonError::into_inner).open) {
            tracing::info!(lost = self.total(), "Lines of the audit log are written again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;

    #[test]
    fn losses_are_logged_once_a_minute_and_their_end_once() {
        let losses = Losses::default();
        let is_logged = |now: u64| {
            let before = losses.logged.lock().unwrap().at;
            losses.add(1, at(now), &"no room");
            losses.logged.lock().unwrap().at != before
        };
        assert!(is_logged(0) && (1..60).all(|second| !is_logged(second)) && is_logged(60));
        assert!(losses.logged.lock().unwrap().open);
        losses.end();
        assert!(!losses.logged.lock().unwrap().open);
        assert!(
            !is_logged(61) && !losses.logged.lock().unwrap().open,
            "too soon for a warning, so its end is not logged"
        );
        assert_eq!(losses.total(), 62);
    }
}

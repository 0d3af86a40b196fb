//! The only reader of time.
//!
//! Everything that decides takes a [`Moment`]; whoever needs one asks a [`Clock`]. Timers are tokio's, which
//! tests can pause; a simulated clock follows them, and can be stepped or put to sleep besides.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::domain::freshness::{Moment, Timestamp};

/// Where the time comes from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Simulated(Arc<Mutex<Simulated>>),
}

#[derive(Debug)]
struct Simulated {
    anchor: tokio::time::Instant,
    at_anchor: Moment,
}

impl Clock {
    /// `CLOCK_REALTIME` and `CLOCK_BOOTTIME`.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that reads `start` now and from then on follows tokio's timers, paused or not.
    ///
    /// Needs no runtime. Outside one whose time is paused it follows real time.
    pub fn simulated(start: Timestamp) -> Self {
        let at_anchor = Moment { wall: start, elapsed: Duration::from_secs(1_000_000) };
        let anchor = tokio::time::Instant::now();
        Self(Source::Simulated(Arc::new(Mutex::new(Simulated { anchor, at_anchor }))))
    }

    /// Reads both clocks.
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System => Moment { wall: wall(), elapsed: elapsed() },
            Source::Simulated(simulated) => simulated.lock().unwrap_or_else(PoisonError::into_inner).now(),
        }
    }

    /// How long ago `begun` was, for which one clock has to be read.
    pub fn since(&self, begun: Moment) -> Duration {
        let elapsed = match &self.0 {
            Source::System => elapsed(),
            Source::Simulated(_) => self.now().elapsed,
        };
        elapsed.saturating_sub(begun.elapsed)
    }

    /// Sets the wall clock of a simulated clock, as `settimeofday` would; a system clock is left alone.
    pub fn step_wall(&self, to: Timestamp) {
        self.adjust(|moment| moment.wall = to);
    }

    /// Lets `span` pass on both clocks of a simulated clock but on no timer: the machine was asleep.
    pub fn suspend(&self, span: Duration) {
        self.adjust(|moment| {
            moment.wall = moment.wall.after(span);
            moment.elapsed = moment.elapsed.saturating_add(span);
        });
    }

    fn adjust(&self, change: impl FnOnce(&mut Moment)) {
        let mut now = self.now();
        if let Source::Simulated(simulated) = &self.0 {
            change(&mut now);
            let mut simulated = simulated.lock().unwrap_or_else(PoisonError::into_inner);
            *simulated = Simulated { anchor: tokio::time::Instant::now(), at_anchor: now };
        }
    }
}

impl Simulated {
    fn now(&self) -> Moment {
        let passed = self.anchor.elapsed();
        Moment {
            wall: self.at_anchor.wall.after(passed),
            elapsed: self.at_anchor.elapsed.saturating_add(passed),
        }
    }
}

/// Reading either clock cannot fail on a Linux that runs this binary; were it to, the epoch is the answer that makes
/// every token look unready rather than alive on the elapsed clock.
fn read(clock: ClockId) -> TimeSpec {
    clock_gettime(clock).unwrap_or(TimeSpec::new(0, 0))
}

fn wall() -> Timestamp {
    let time = read(ClockId::CLOCK_REALTIME);
    Timestamp::from_millis(time.tv_sec().saturating_mul(1000).saturating_add(time.tv_nsec() / 1_000_000))
}

fn elapsed() -> Duration {
    read(ClockId::CLOCK_BOOTTIME).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_follows_the_timers_and_can_be_stepped() {
        let clock = Clock::simulated(Timestamp::from_secs(1_000));
        let start = clock.now();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(clock.now().age(clock.now()), Duration::ZERO);
        assert_eq!(start.age(clock.now()), Duration::from_secs(5));
        assert_eq!(clock.now().wall, Timestamp::from_secs(1_005));

        clock.step_wall(Timestamp::from_secs(10));
        assert_eq!(clock.now().wall, Timestamp::from_secs(10));
        assert_eq!(start.age(clock.now()), Duration::from_secs(5), "a step is no passing of time");

        clock.suspend(Duration::from_secs(60));
        assert_eq!(clock.now().wall, Timestamp::from_secs(70));
        assert_eq!(start.age(clock.now()), Duration::from_secs(65));
    }
}

//! Reads the wall clock and the boot-time clock; simulates both for tests.
//!
//! No other file reads the system's clocks; timeouts use tokio's `Instant`, which tests can pause. Code that decides
//! takes a [`Moment`], and its caller reads one from a [`Clock`]. A simulated clock follows tokio's, and can be stepped
//! or suspended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::domain::freshness::{Moment, Timestamp};
use crate::domain::lost_time::Lost;

/// A clock, of the system or simulated. Cheap to clone; clones share the lost time that has been noticed.
#[derive(Clone, Debug)]
pub struct Clock {
    source: TimeSource,
    lost: Arc<LostTime>,
}

/// The lost time that the dates of Auth0's answers have shown.
#[derive(Debug, Default)]
struct LostTime {
    /// Milliseconds that the elapsed clock has missed. Every reading adds them, so that they count for entries that
    /// were cached before they were noticed.
    millis: AtomicU64,
    dates: Mutex<Lost>,
}

/// When a request was sent, by the uncorrected elapsed clock, because lost time may be noticed before the answer is
/// read.
#[derive(Clone, Copy, Debug)]
pub struct Sent(Moment);

#[derive(Clone, Debug)]
enum TimeSource {
    System,
    Simulated(Arc<Mutex<Simulated>>),
}

#[derive(Debug)]
struct Simulated {
    anchor: tokio::time::Instant,
    at_anchor: Moment,
}

impl Clock {
    /// The system's clocks, `CLOCK_REALTIME` and `CLOCK_BOOTTIME`.
    pub fn system() -> Self {
        Self::of(TimeSource::System)
    }

    fn of(source: TimeSource) -> Self {
        Self { source, lost: Arc::default() }
    }

    /// A clock that reads `start` now and then follows tokio's timers, paused or not.
    ///
    /// It needs no runtime. Outside a runtime with paused time it follows real time.
    pub fn simulated(start: Timestamp) -> Self {
        let at_anchor = Moment { wall: start, elapsed: Duration::from_secs(1_000_000) };
        let anchor = tokio::time::Instant::now();
        Self::of(TimeSource::Simulated(Arc::new(Mutex::new(Simulated { anchor, at_anchor }))))
    }

    /// Reads both clocks. Lost time is added to the elapsed clock.
    pub fn now(&self) -> Moment {
        self.corrected(self.uncorrected())
    }

    fn uncorrected(&self) -> Moment {
        match &self.source {
            TimeSource::System => Moment { wall: wall(), elapsed: elapsed() },
            TimeSource::Simulated(simulated) => {
                simulated.lock().unwrap_or_else(PoisonError::into_inner).now()
            }
        }
    }

    fn corrected(&self, moment: Moment) -> Moment {
        Moment { elapsed: moment.elapsed.saturating_add(self.lost()), ..moment }
    }

    /// The time that both clocks are known to have missed while a virtual machine was paused.
    pub fn lost(&self) -> Duration {
        Duration::from_millis(self.lost.millis.load(Ordering::Relaxed))
    }

    /// The uncorrected elapsed clock, without lost time.
    pub fn counted(&self) -> Duration {
        self.uncorrected().elapsed
    }

    /// Notes that a request is sent now.
    pub fn sends(&self) -> Sent {
        Sent(self.uncorrected())
    }

    /// Notes that the answer to the request `sent` is complete. `date` is its date, if the answer is known to be
    /// Auth0's. Returns when the request was sent, when the answer was received, and the lost time that the answer has
    /// shown.
    pub fn receives(&self, sent: Sent, date: Option<Timestamp>) -> (Moment, Moment, Option<Duration>) {
        let (Sent(sent), received) = (sent, self.uncorrected());
        let noticed = date.and_then(|date| {
            let mut dates = self.lost.dates.lock().unwrap_or_else(PoisonError::into_inner);
            let noticed = dates.learn(date, sent.elapsed, received.elapsed)?;
            let lost = u64::try_from(dates.so_far().as_millis()).unwrap_or(u64::MAX);
            self.lost.millis.store(lost, Ordering::Relaxed);
            Some(noticed)
        });
        // Both are corrected by what is known now: the request of an answer that shows lost time was sent after it.
        (self.corrected(sent), self.corrected(received), noticed)
    }

    /// The later of the local wall clock and Auth0's clock as of its latest answer. Used to check dates of Auth0 where
    /// a local clock that is behind would extend a validity.
    pub fn latest_wall(&self) -> Timestamp {
        let now = self.now();
        let dates = self.lost.dates.lock().unwrap_or_else(PoisonError::into_inner);
        dates.their_wall(now.elapsed).map_or(now.wall, |theirs| theirs.max(now.wall))
    }

    /// Auth0's clock as of its latest answer, which a step of the local wall clock does not change; the local wall clock
    /// as long as no answer had a date. Used to date what Auth0 is to judge.
    pub fn tenant_wall(&self) -> Timestamp {
        let now = self.now();
        let dates = self.lost.dates.lock().unwrap_or_else(PoisonError::into_inner);
        dates.their_wall(now.elapsed).unwrap_or(now.wall)
    }

    /// The time since `begun`, which takes a reading of the elapsed clock only.
    pub fn since(&self, begun: Moment) -> Duration {
        let elapsed = match &self.source {
            TimeSource::System => elapsed().saturating_add(self.lost()),
            TimeSource::Simulated(_) => self.now().elapsed,
        };
        elapsed.saturating_sub(begun.elapsed)
    }

    /// Sets the wall clock of a simulated clock, as `settimeofday` would. A no-op for the system clock.
    pub fn step_wall(&self, to: Timestamp) {
        self.adjust(|moment| moment.wall = to);
    }

    /// Advances both clocks of a simulated clock by `span`, but no timer, as if the machine had slept. A no-op for the
    /// system clock.
    pub fn suspend(&self, span: Duration) {
        self.adjust(|moment| {
            moment.wall = moment.wall.after(span);
            moment.elapsed = moment.elapsed.saturating_add(span);
        });
    }

    fn adjust(&self, change: impl FnOnce(&mut Moment)) {
        let mut now = self.uncorrected();
        if let TimeSource::Simulated(simulated) = &self.source {
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

/// Reads a clock. That cannot fail on a Linux that runs this binary. Zero is the fallback.
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
    async fn lost_time_is_added_to_every_reading_and_to_what_was_sent_before_it_was_noticed() {
        let start = Timestamp::from_secs(1_000);
        let (clock, hours) = (Clock::simulated(start), Duration::from_secs(8 * 3_600));
        let (before, other) = (clock.now(), clock.clone());
        assert_eq!(clock.receives(clock.sends(), Some(start)), (before, before, None));
        let sent = clock.sends();
        assert_eq!(clock.receives(clock.sends(), None).2, None, "an answer without a date shows nothing");
        let (_, _, noticed) = other.receives(other.sends(), Some(start.after(hours)));
        assert_eq!(noticed, Some(hours + Duration::from_secs(1)));
        let (sent, received, again) = clock.receives(sent, Some(start.after(hours)));
        assert_eq!((sent.age(received), again), (Duration::ZERO, None));
        assert_eq!(Some(before.age(clock.now())), noticed);
        assert_eq!(clock.now().wall, start, "the wall clock is left as it is");
        assert!(clock.latest_wall() >= start.after(hours));
        assert_eq!(clock.tenant_wall(), clock.latest_wall());
        clock.step_wall(start.after(2 * hours));
        assert_eq!(clock.latest_wall(), start.after(2 * hours));
        assert!(clock.tenant_wall() < start.after(hours + Duration::from_secs(3)));
        assert_eq!(Some(before.age(clock.now())), noticed, "a step of the wall clock is no lost time");
    }

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

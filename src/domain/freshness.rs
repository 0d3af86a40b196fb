//! When a token may be served, when it is due for renewal, and when it has expired.
//!
//! Two clocks decide. Expiry dates are by the **wall** clock, which can be stepped at any time. The **elapsed** clock
//! (`CLOCK_BOOTTIME`) cannot be stepped and continues while the machine sleeps, but has no dates. A token has expired
//! as soon as it has by either clock. Ages are counted on the elapsed clock only.

use std::fmt;
use std::time::Duration;

/// A point on the wall clock, in milliseconds since the UNIX epoch (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the UNIX epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the UNIX epoch, as a JWT's `exp` counts.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Parses a date such as `2017-03-15T07:14:32.451Z`, as Auth0 writes `last_login`, with any UTC offset.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|stamp| Self(stamp.as_millisecond()))
    }

    /// Milliseconds since the UNIX epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the UNIX epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This much later.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This much earlier.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// The time from `earlier` to this; zero if this is not later.
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

/// RFC 3339 in whole seconds, rounded down: `2026-11-22T10:15:30Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rfc3339().as_str())
    }
}

/// A timestamp's text, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339([u8; 20]);

impl Rfc3339 {
    /// The text as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Always ASCII, so this cannot fail.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Timestamp {
    /// RFC 3339 in whole seconds, rounded down.
    pub fn rfc3339(self) -> Rfc3339 {
        let mut text = *b"9999-12-30T22:00:00Z";
        // A date outside the years of four digits prints as the last one, because nothing here may panic.
        let stamp = jiff::Timestamp::from_second(self.as_secs()).ok();
        let date = stamp.map(|stamp| jiff::tz::Offset::UTC.to_datetime(stamp));
        if let Some(date) = date.filter(|date| date.year() >= 0) {
            let parts = [
                (0, i32::from(date.year()) / 100),
                (2, i32::from(date.year()) % 100),
                (5, date.month().into()),
                (8, date.day().into()),
                (11, date.hour().into()),
                (14, date.minute().into()),
                (17, date.second().into()),
            ];
            for (at, number) in parts {
                if let Some([tens, ones]) = text.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                    (*tens, *ones) = (digit(number / 10), digit(number % 10));
                }
            }
        }
        Rfc3339(text)
    }
}

fn digit(number: i32) -> u8 {
    b'0'.saturating_add(u8::try_from(number).unwrap_or(0))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock.
    pub wall: Timestamp,
    /// The suspend-aware elapsed clock, from an arbitrary origin (the machine's boot).
    pub elapsed: Duration,
}

impl Moment {
    /// The time from this to `now`, on the elapsed clock.
    pub fn age(self, now: Moment) -> Duration {
        now.elapsed.saturating_sub(self.elapsed)
    }

    /// This much later on both clocks.
    pub fn after(self, span: Duration) -> Self {
        Self { wall: self.wall.after(span), elapsed: self.elapsed.saturating_add(span) }
    }
}

/// An expiry on both clocks. It has passed as soon as it has on either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The date as stated, by the clock of the peer that stated it; `None` if only a span is known, which is counted on
    /// the local clocks.
    stated: Option<Timestamp>,
    wall: Timestamp,
    elapsed: Duration,
}

impl Deadline {
    /// An expiry at the date `stated`, learned at `learned`, when the local wall clock was at least `behind` the
    /// peer's.
    ///
    /// The result is by the local clock, so it is that much earlier than the date as stated.
    pub fn at(stated: Timestamp, learned: Moment, behind: Duration) -> Self {
        let wall = stated.before(behind);
        Self { stated: Some(stated), wall, elapsed: learned.elapsed.saturating_add(wall.since(learned.wall)) }
    }

    /// An expiry at the end of `span`, counted from `from`.
    pub fn after(from: Moment, span: Duration) -> Self {
        let Moment { wall, elapsed } = from.after(span);
        Self { stated: None, wall, elapsed }
    }

    /// The earlier of the two, on each clock.
    pub fn earlier(self, other: Self) -> Self {
        Self {
            stated: self.stated.zip(other.stated).map(|(one, another)| one.min(another)),
            wall: self.wall.min(other.wall),
            elapsed: self.elapsed.min(other.elapsed),
        }
    }

    /// This expiry, which was just learned, but no later than the `known` expiry of the same token. Dates are compared
    /// as they were stated and not by the local clocks, because the local wall clock may have been corrected since the
    /// earlier answer. Spans are compared on the elapsed clock, which cannot be set.
    #[must_use]
    pub fn not_later_than(self, known: Self) -> Self {
        let later = self.later_than(known);
        Self {
            stated: self.stated.map_or(known.stated, |stated| Some(stated.before(later))),
            wall: self.wall.before(later),
            elapsed: self.elapsed.saturating_sub(later),
        }
    }

    /// How much later this is than `other`, another expiry of the same token; zero if it is not later.
    pub fn later_than(self, other: Self) -> Duration {
        match self.stated.zip(other.stated) {
            Some((this, other)) => this.since(other),
            None => self.elapsed.saturating_sub(other.elapsed),
        }
    }

    /// The remaining time, by the clock on which less remains; zero once it has passed.
    pub fn remaining(self, now: Moment) -> Duration {
        self.wall.since(now.wall).min(self.elapsed.saturating_sub(now.elapsed))
    }

    /// The date by the local wall clock, for display.
    pub fn wall(self) -> Timestamp {
        self.wall
    }
}

/// What may be done with a fetched value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Serve it.
    Fresh,
    /// Serve it, and fetch a newer one in the background.
    RefreshDue,
    /// Ask the tenant first; serve it if the tenant cannot be asked.
    Stale,
    /// Never serve it.
    Expired,
}

/// How long a fetched value may be used. Ages count from when its request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The age from which it is renewed in the background; `None` turns that off.
    pub refresh_after: Option<Duration>,
    /// Beyond this age it is stale.
    pub fresh_for: Duration,
    /// Beyond this age it is not served, even if the tenant cannot be asked.
    pub servable_for: Duration,
    /// With less than this remaining before its expiry, it is not served.
    pub min_ttl: Duration,
}

impl Terms {
    /// Whether `expires` has passed, or less than `min_ttl` remains. Age does not matter here.
    pub fn is_over(&self, expires: Deadline, now: Moment) -> bool {
        let remaining = expires.remaining(now);
        remaining.is_zero() || remaining < self.min_ttl
    }
}

/// A fetched value's age and expiry, under its terms.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When the request for it was sent.
    pub sent: Moment,
    /// When it expires, if that is known.
    pub expires: Option<Deadline>,
    /// How long it may be used.
    pub terms: Terms,
}

impl Schedule {
    /// The state at `now`, which only moves from fresh towards expired as time passes.
    pub fn at(&self, now: Moment) -> Freshness {
        let age = self.sent.age(now);
        if self.is_expired(now) || age > self.terms.servable_for {
            Freshness::Expired
        } else if age > self.terms.fresh_for {
            Freshness::Stale
        } else if self.terms.refresh_after.is_some_and(|due| age >= due) {
            Freshness::RefreshDue
        } else {
            Freshness::Fresh
        }
    }

    fn is_expired(&self, now: Moment) -> bool {
        self.expires.is_some_and(|expires| self.terms.is_over(expires, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const T0: Moment =
        Moment { wall: Timestamp::from_secs(1_700_000_000), elapsed: Duration::from_secs(5_000) };

    fn later(secs: u64) -> Moment {
        Moment { wall: T0.wall.after(S * secs as u32), elapsed: T0.elapsed + S * secs as u32 }
    }

    fn schedule(expires_in: Option<u64>) -> Schedule {
        Schedule {
            sent: T0,
            expires: expires_in.map(|secs| Deadline::after(T0, Duration::from_secs(secs))),
            terms: Terms {
                refresh_after: Some(S * 80),
                fresh_for: S * 100,
                servable_for: S * 500,
                min_ttl: S * 30,
            },
        }
    }

    #[test]
    fn the_states_follow_each_other_to_the_second() {
        let schedule = schedule(Some(1000));
        let states = [0, 79, 80, 100, 101, 500, 501].map(|secs| schedule.at(later(secs)));
        use Freshness::*;
        assert_eq!(states, [Fresh, Fresh, RefreshDue, RefreshDue, Stale, Stale, Expired]);
    }

    #[test]
    fn a_token_has_expired_when_less_than_min_ttl_remains() {
        let schedule = schedule(Some(60));
        assert_eq!(schedule.at(later(30)), Freshness::Fresh);
        assert_eq!(
            schedule.at(Moment { elapsed: later(30).elapsed + Duration::from_millis(1), ..later(30) }),
            Freshness::Expired
        );
        assert_eq!(
            schedule.at(Moment { wall: later(30).wall.after(Duration::from_millis(1)), ..later(30) }),
            Freshness::Expired
        );
    }

    #[test]
    fn with_no_margin_the_instant_of_expiry_itself_is_too_late() {
        let mut schedule = schedule(Some(60));
        schedule.terms.min_ttl = Duration::ZERO;
        assert!(!schedule.is_expired(later(59)));
        assert!(schedule.is_expired(later(60)));
    }

    #[test]
    fn a_stepped_wall_clock_never_revives_a_token() {
        let schedule = schedule(Some(90));
        let back = Moment { wall: later(61).wall.before(S * 86_400), ..later(61) };
        assert!(schedule.is_expired(back), "the elapsed clock still counts");
        let forward = Moment { wall: T0.wall.after(S * 86_400), ..later(1) };
        assert!(schedule.is_expired(forward), "a step forward counts: early, never late");
    }

    #[test]
    fn a_stepped_wall_clock_does_not_change_an_age() {
        let forward = Moment { wall: T0.wall.after(S * 86_400), ..later(10) };
        assert_eq!(schedule(None).at(forward), Freshness::Fresh);
    }

    #[test]
    fn a_date_in_the_past_has_expired_on_arrival() {
        let deadline = Deadline::at(T0.wall.before(S * 10), T0, Duration::ZERO);
        assert_eq!(deadline.remaining(T0), Duration::ZERO);
    }

    #[test]
    fn a_wall_clock_that_is_behind_does_not_extend_a_lifetime() {
        let stated = T0.wall.after(S * 3600);
        assert_eq!(Deadline::at(stated, T0, Duration::ZERO).remaining(T0), S * 3600);
        assert_eq!(Deadline::at(stated, T0, S * 3500).remaining(T0), S * 100);
        assert_eq!(Deadline::at(stated, T0, S * 7200).remaining(T0), Duration::ZERO);
    }

    #[test]
    fn an_expiry_moves_no_later_and_is_read_with_the_clocks_of_the_newer_answer() {
        let (early, late) = (T0.wall.after(S * 100), T0.wall.after(S * 3_700));
        let first = Deadline::at(early, T0, Duration::ZERO);
        let second = Deadline::at(late, later(40), Duration::ZERO).not_later_than(first);
        assert_eq!((second, second.remaining(later(40))), (first, S * 60));
        let earlier = Deadline::at(early, later(40), Duration::ZERO);
        assert_eq!(earlier.not_later_than(Deadline::at(late, T0, Duration::ZERO)), earlier);
        // The first answer was read with a wall clock that was a day behind; then with one that was a day ahead.
        for wrong in [T0.wall.before(S * 86_400), T0.wall.after(S * 86_400)] {
            let behind = T0.wall.since(wrong);
            let then = Deadline::at(early, Moment { wall: wrong, ..T0 }, behind);
            let now = Deadline::at(late, later(40), Duration::ZERO).not_later_than(then);
            assert_eq!(now.remaining(later(40)), S * 60, "by a clock that is right again");
        }
    }

    #[test]
    fn dates_of_any_size_print_and_none_panics() {
        assert_eq!(Timestamp::parse("2017-03-15T07:14:32.451Z").unwrap().to_string(), "2017-03-15T07:14:32Z");
        assert_eq!(Timestamp::from_millis(-1).to_string(), "1969-12-31T23:59:59Z");
        for extreme in [i64::MIN, i64::MAX] {
            assert!(!Timestamp::from_millis(extreme).to_string().is_empty());
            assert!(!Timestamp::from_secs(extreme).after(Duration::MAX).to_string().is_empty());
        }
        assert_eq!(Timestamp::parse("yesterday"), None);
    }
}

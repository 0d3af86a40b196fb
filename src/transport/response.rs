//! An answer and what its headers say about waits and clocks. No I/O and no clock.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{AsHeaderName, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};

use crate::domain::freshness::{Moment, Timestamp};
use crate::domain::retry;

/// A complete answer, its body within bounds.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. It may hold tokens, so it is never logged and never quoted.
    pub body: Bytes,
}

/// When a request was sent and when its answer was complete.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// When the request was sent: lifetimes count from here.
    pub sent: Moment,
    /// When the answer was complete.
    pub received: Moment,
}

impl Answer {
    /// The answer's `Date`, in whole seconds; `None` if it has none that is valid.
    pub fn date(&self) -> Option<Timestamp> {
        let date = httpdate::parse_http_date(self.headers.get(DATE)?.to_str().ok()?).ok()?;
        let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(Timestamp::from_secs(0).after(since_epoch))
    }

    /// The most by which the local wall clock may be behind the server's; zero if it is not certainly behind, or if the
    /// answer has no date. Dates that Auth0 states are by its own clock, and with a local clock that is behind, tokens
    /// would be served after they expired.
    ///
    /// Only this direction is corrected. With a local clock that is ahead, tokens expire early, which the log and
    /// `status` warn of. An answer that is dated in the past may itself be wrong, and trusting it could serve expired
    /// tokens.
    pub fn clock_behind(&self, timing: Timing) -> Duration {
        match self.date() {
            // The date was written at some point after the request was sent, perhaps at once. Dates are cut off to
            // whole seconds, which hides up to one more.
            Some(date) if date > timing.received.wall => {
                date.since(timing.sent.wall).saturating_add(Duration::from_secs(1))
            }
            _ => Duration::ZERO,
        }
    }

    /// The earliest time on the elapsed clock at which an event that the server dates `stated` can have happened;
    /// `None` if that is later than the answer, so that one of the two dates is wrong.
    pub fn not_before(&self, stated: Timestamp, timing: Timing) -> Option<Duration> {
        // The answer was dated after its request was sent. Its date hides up to a second.
        let hidden = Duration::from_secs(1);
        let latest = self.date().map_or(timing.sent.wall, |date| date.after(hidden));
        (stated <= latest).then(|| timing.sent.elapsed.saturating_sub(latest.since(stated)))
    }

    /// Whether the content type is JSON.
    pub fn is_json(&self) -> bool {
        self.text(CONTENT_TYPE).is_some_and(|kind| kind.trim_start().starts_with("application/json"))
    }

    /// The text of a header.
    pub fn text(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The wait that `Retry-After` asks for, within bounds.
    pub fn retry_after(&self, timing: Timing) -> Option<Duration> {
        let now = self.date().unwrap_or(timing.received.wall);
        self.text(RETRY_AFTER).and_then(|value| retry::retry_after(value, now))
    }

    /// How far the server's clock is ahead of the local one, in milliseconds, negative if it is behind; `None` if the
    /// answer has no date. The date has whole seconds and was written between request and answer; a difference within
    /// that uncertainty counts as zero.
    pub fn clock_skew(&self, timing: Timing) -> Option<i64> {
        let date = self.date()?.as_millis();
        let (earliest, latest) = (timing.sent.wall.as_millis(), timing.received.wall.as_millis());
        Some(match () {
            () if date > latest => date.saturating_sub(latest),
            () if date.saturating_add(1000) < earliest => date.saturating_add(1000).saturating_sub(earliest),
            () => 0,
        })
    }
}

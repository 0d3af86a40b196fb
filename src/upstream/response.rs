//! An answer of Auth0 before anybody reads its body: what its headers say of limits, waits and clocks. Pure.

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
    /// The body. It may hold tokens: never logged, never quoted.
    pub body: Bytes,
}

/// When an answer was asked for and when it was there.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// When the request was sent: lifetimes count from here.
    pub sent: Moment,
    /// When the answer was complete.
    pub received: Moment,
}

/// Where the tenant says that less than this fraction of a limit is left, what can wait waits.
const LITTLE: f64 = 0.2;

/// A limit that the tenant speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is left.
    pub left: u64,
    /// Of this much.
    pub of: u64,
    /// In so long there is more.
    pub reset: Duration,
}

impl Limit {
    /// Whether little is left of it.
    pub fn is_little(&self) -> bool {
        self.of > 0 && (self.left as f64) < LITTLE * self.of as f64
    }
}

impl Answer {
    /// The server's clock when it answered, in whole seconds; `None` where it does not say.
    pub fn date(&self) -> Option<Timestamp> {
        let date = httpdate::parse_http_date(self.headers.get(DATE)?.to_str().ok()?).ok()?;
        let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(Timestamp::from_secs(0).after(since_epoch))
    }

    /// How far our wall clock is behind the server's, at most; zero where it is not for certain, or where the server
    /// does not say. Dates that Auth0 states are by its clock, and one that is behind would make tokens outlive them.
    ///
    /// Only this direction is corrected. A clock here that is ahead makes tokens look dead early, which the log and
    /// `status` warn of; but an answer that claims to be from the past may be what is wrong, and to believe it
    /// would be to serve dead tokens.
    pub fn clock_behind(&self, exchange: Timing) -> Duration {
        match self.date() {
            // It was written somewhere during the exchange, perhaps at once, and an answer may be long on its way. Dates
            // have whole seconds, cut off: up to another second may be hidden.
            Some(date) if date > exchange.received.wall => {
                date.since(exchange.sent.wall).saturating_add(Duration::from_secs(1))
            }
            _ => Duration::ZERO,
        }
    }

    /// The earliest moment on our elapsed clock at which something can have happened that the server dates `stated`;
    /// `None` where that is later than the answer, so that one of the two dates is wrong.
    pub fn not_before(&self, stated: Timestamp, exchange: Timing) -> Option<Duration> {
        // The answer was dated no earlier than its request was sent, up to a second before what is hidden by the date.
        let hidden = Duration::from_secs(1);
        let latest = self.date().map_or(exchange.sent.wall, |date| date.after(hidden));
        (stated <= latest).then(|| exchange.sent.elapsed.saturating_sub(latest.since(stated)))
    }

    /// Whether the server calls its body JSON, as Auth0 does all of its own.
    pub fn is_json(&self) -> bool {
        self.text(CONTENT_TYPE).is_some_and(|kind| kind.trim_start().starts_with("application/json"))
    }

    fn text(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }

    /// How long a 429 asks to wait: `Retry-After`, else until the reset header's time; `None` where it says
    /// neither. Dates are taken by the answer's own clock, since it is the one that wrote them. How much of it is
    /// believed is for `pace` to say.
    pub fn asks_to_wait(&self, exchange: Timing) -> Option<Duration> {
        let now = self.date().unwrap_or(exchange.received.wall);
        self.retry_after(exchange).or_else(|| self.reset(now))
    }

    /// What `Retry-After` asks for, within bounds.
    pub fn retry_after(&self, exchange: Timing) -> Option<Duration> {
        let now = self.date().unwrap_or(exchange.received.wall);
        self.text(RETRY_AFTER).and_then(|value| retry::retry_after(value, now))
    }

    /// Until the tenant's limit has more to give.
    fn reset(&self, now: Timestamp) -> Option<Duration> {
        let at = i64::try_from(self.number("x-ratelimit-reset")?).ok()?;
        Some(Timestamp::from_secs(at).since(now))
    }

    /// What the tenant says of the rate limit of the endpoint that was asked.
    pub fn rate_limit(&self, exchange: Timing) -> Option<Limit> {
        let now = self.date().unwrap_or(exchange.received.wall);
        let (left, of) = self.number("x-ratelimit-remaining").zip(self.number("x-ratelimit-limit"))?;
        Some(Limit { left, of, reset: self.reset(now).unwrap_or_default() })
    }

    /// What it says of the application's quotas for tokens, if it has some: one for each hour, one for each day.
    pub fn quotas(&self) -> Vec<Limit> {
        self.text("auth0-client-quota-limit").map(quotas).unwrap_or_default()
    }

    /// How far the server's clock is ahead of ours, in milliseconds, negative where it is behind; `None` where it
    /// does not say. Its date has whole seconds, and was written somewhere during the exchange: within that it
    /// counts as none.
    pub fn clock_skew(&self, exchange: Timing) -> Option<i64> {
        let date = self.date()?.as_millis();
        let (earliest, latest) = (exchange.sent.wall.as_millis(), exchange.received.wall.as_millis());
        Some(match () {
            () if date > latest => date.saturating_sub(latest),
            () if date.saturating_add(1000) < earliest => date.saturating_add(1000).saturating_sub(earliest),
            () => 0,
        })
    }
}

/// `b=per_hour;q=10;r=7;t=3540,b=per_day;…`: bucket, quota, what remains, seconds until it is reset. Buckets that
/// cannot be read are left out.
fn quotas(header: &str) -> Vec<Limit> {
    let bucket = |bucket: &str| {
        let value = |name: &str| {
            let mut parts = bucket.split(';').filter_map(|part| part.trim().split_once('='));
            parts.find(|(key, _)| *key == name).and_then(|(_, value)| value.trim().parse::<u64>().ok())
        };
        Some(Limit { left: value("r")?, of: value("q")?, reset: Duration::from_secs(value("t")?) })
    };
    header.split(',').filter_map(bucket).collect()
}

//! Limits: how long an answer asks to wait.

use std::time::Duration;

use crate::domain::freshness::Timestamp;

use super::meaning::Verdict;
use super::sample::{Sample, http_date};

/// The bounds of a wait. A limit by the day resets within a day, and a date in the past may be this second.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(86_400);

/// Headers with the time of a reset, each with the header that says how many requests remain until then. GitHub,
/// LinkedIn and most others have the first (seconds since the epoch), X the second, and the third is the IETF's draft
/// (seconds from now), <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/03/>.
const RESETS: [(&str, &str); 3] = [
    ("x-ratelimit-reset", "x-ratelimit-remaining"),
    ("x-rate-limit-reset", "x-rate-limit-remaining"),
    ("ratelimit-reset", "ratelimit-remaining"),
];

/// Numbers above this are dates in seconds since the epoch, others are seconds from now.
const EARLIEST_DATE: u64 = 1_000_000_000;

/// The verdict on an answer that says that a limit was reached.
pub(super) fn rate_limited(sample: &Sample<'_>) -> Verdict {
    let wait = retry_after(sample).or_else(|| RESETS.iter().find_map(|names| reset(sample, names)));
    Verdict::RateLimited { retry_after: wait.map(|wait| wait.clamp(SHORTEST, LONGEST)) }
}

/// `Retry-After`, seconds or a date (RFC 9110 §10.2.3). Dates are compared with the answer's own, since one clock
/// wrote both.
fn retry_after(sample: &Sample<'_>) -> Option<Duration> {
    let value = sample.text("retry-after")?;
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(http_date(&value)?.since(sample.date()?)),
    }
}

/// The time until a limit resets, unless some of it remains: then it is not the one that was reached.
fn reset(sample: &Sample<'_>, (reset, remaining): &(&str, &str)) -> Option<Duration> {
    if sample.number(remaining).is_some_and(|left| left > 0) {
        return None;
    }
    let at = sample.number(reset)?;
    if at < EARLIEST_DATE {
        return Some(Duration::from_secs(at));
    }
    Some(Timestamp::from_secs(i64::try_from(at).ok()?).since(sample.date()?))
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::{DATE, check};

    #[test]
    fn waits_are_read_as_seconds_or_dates_and_bounded() {
        check(
            Dialect::Standard,
            &[
                (
                    429,
                    &[DATE, ("retry-after", "Sun, 22 Nov 2026 10:00:30 GMT")],
                    "",
                    "rate_limited; retry_after=30",
                ),
                (
                    429,
                    &[DATE, ("retry-after", "Sun, 22 Nov 2026 09:00:00 GMT")],
                    "",
                    "rate_limited; retry_after=1",
                ),
                (429, &[("retry-after", "Sun, 22 Nov 2026 10:00:30 GMT")], "", "rate_limited"),
                (429, &[("retry-after", "0")], "", "rate_limited; retry_after=1"),
                (429, &[("retry-after", "99999999")], "", "rate_limited; retry_after=86400"),
                (429, &[("retry-after", "soon")], "", "rate_limited"),
                (429, &[("ratelimit-reset", "12")], "", "rate_limited; retry_after=12"),
                (429, &[("retry-after", "7"), ("ratelimit-reset", "12")], "", "rate_limited; retry_after=7"),
                (429, &[DATE, ("x-rate-limit-reset", "1795341660")], "", "rate_limited; retry_after=60"),
                (429, &[("x-ratelimit-reset", "1795341660")], "", "rate_limited"),
                (503, &[("retry-after", "7")], "", "-"),
            ],
        );
    }
}

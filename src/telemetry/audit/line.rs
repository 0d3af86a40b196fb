//! The fields of an audit line, in the order of the table in `docs/reference/audit-log.md`.

use std::time::Duration;

use serde::Serialize;

use crate::domain::freshness::Timestamp;
use crate::telemetry::UserNames;

use super::event::{CallEvent, Event};

/// Distinguishes audit lines from log lines in a common stream: a log line has the name of a module here.
const TARGET: &str = "audit";

/// An event as it is written. Every line has every field; a field without a value is null.
#[derive(Debug, Serialize)]
pub struct AuditLine<'a> {
    timestamp: String,
    target: &'static str,
    listener: &'a str,
    uid: Option<u32>,
    gid: Option<u32>,
    pid: Option<u32>,
    pub(super) operation: Option<&'static str>,
    user: Option<String>,
    connection: Option<&'a str>,
    pub(super) outcome: &'static str,
    pub(super) status: Option<u16>,
    code: Option<&'static str>,
    cache: Option<&'static str>,
    source: Option<&'static str>,
    fingerprint: Option<String>,
    request_id: &'a str,
    trace_id: Option<String>,
    call: Option<CallFields<'a>>,
    microseconds: u64,
    pub(super) count: u64,
    until: Option<String>,
    lost: u64,
}

impl<'a> AuditLine<'a> {
    /// Formats `event`, with the user's name from `names`. `lost` is the number of lines lost before this one.
    pub fn new(event: &'a Event, names: &UserNames, lost: u64) -> Self {
        Self {
            timestamp: in_milliseconds(event.at.wall),
            target: TARGET,
            listener: &event.listener,
            uid: event.caller.map(|caller| caller.uid),
            gid: event.caller.map(|caller| caller.gid),
            pid: event.pid,
            operation: event.operation.map(|operation| operation.as_str()),
            user: event.user.as_ref().map(|user| names.name(user)),
            connection: event.connection.as_ref().map(|name| name.as_str()),
            outcome: event.outcome,
            status: event.status,
            code: event.code,
            cache: event.cache,
            source: event.source,
            fingerprint: event.fingerprint.map(|fingerprint| fingerprint.to_string()),
            request_id: &event.request_id,
            trace_id: event.trace.map(|trace| trace.to_string()),
            call: event.call.as_deref().map(CallFields::new),
            microseconds: microseconds(event.took),
            count: event.count,
            until: event.until.map(|until| in_milliseconds(until.wall)),
            lost,
        }
    }
}

/// What a line says of a call.
#[derive(Debug, Serialize)]
struct CallFields<'a> {
    api: &'a str,
    method: &'a str,
    pattern: Option<&'a str>,
    verdict: Option<&'static str>,
    repeated: bool,
    head_microseconds: Option<u64>,
    bytes_sent: u64,
    bytes_received: u64,
    end: &'static str,
}

impl<'a> CallFields<'a> {
    fn new(call: &'a CallEvent) -> Self {
        Self {
            api: &call.api,
            method: &call.method,
            pattern: call.pattern.as_deref(),
            verdict: call.verdict,
            repeated: call.is_repeated,
            head_microseconds: call.head.map(microseconds),
            bytes_sent: call.sent,
            bytes_received: call.received,
            end: call.end,
        }
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Formats a time as RFC 3339 in UTC, always with three decimals, so that lines sort as text.
fn in_milliseconds(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(stamp) => format!("{stamp:.3}"),
        // Beyond what any clock returns; an audit line must not panic.
        Err(_) => "9999-12-30T22:00:00.000Z".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_three_digits_behind_the_point() {
        let shown = |millis| in_milliseconds(Timestamp::from_millis(millis));
        assert_eq!(shown(1_795_341_600_000), "2026-11-22T10:00:00.000Z");
        assert_eq!(shown(1_795_341_600_120), "2026-11-22T10:00:00.120Z");
        assert_eq!(shown(i64::MAX), "9999-12-30T22:00:00.000Z");
    }
}

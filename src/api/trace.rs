//! The client's trace (W3C Trace Context, <https://www.w3.org/TR/trace-context/>). Log and audit lines contain its id,
//! so that operators find them by it. No decision depends on it.

use std::fmt;

use hyper::header::HeaderMap;

use crate::telemetry::audit::TraceId;

/// The header's name. Only the trace id is used of its value.
const TRACEPARENT: &str = "traceparent";

/// The trace id of a request; `None` where the header is missing, repeated or malformed.
pub fn of(headers: &HeaderMap) -> Option<TraceId> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    parse(value)
}

/// Parses `version-trace-parent-flags`; later versions may append to that.
fn parse(value: &str) -> Option<TraceId> {
    let mut parts = value.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_well_formed = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    let has_known_length = version != "00" || parts.next().is_none();
    let number = u128::from_str_radix(trace, 16).ok()?;
    let is_valid = number != 0 && parent.bytes().any(|byte| byte != b'0') && version != "ff";
    (is_well_formed && has_known_length && is_valid).then_some(TraceId(number))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The trace id as a field of a log line, which is left out without a trace.
pub fn shown(trace: Option<TraceId>) -> Option<tracing::field::DisplayValue<impl fmt::Display>> {
    trace.map(tracing::field::display)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_is_taken_from_what_the_specification_calls_valid() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for good in [
            format!("00-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-00f067aa0ba902b7-00"),
            format!("cc-{trace}-00f067aa0ba902b7-01-what-comes-later"),
        ] {
            assert_eq!(parse(&good).map(|trace| trace.to_string()).as_deref(), Some(trace), "{good}");
        }
        let zeros = "0".repeat(32);
        for bad in [
            "",
            "canary",
            &format!("00-{trace}-00f067aa0ba902b7"),
            &format!("00-{trace}-00f067aa0ba902b7-01-more"),
            &format!("ff-{trace}-00f067aa0ba902b7-01"),
            &format!("00-{zeros}-00f067aa0ba902b7-01"),
            &format!("00-{trace}-0000000000000000-01"),
            &format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            &format!("00-+{}-00f067aa0ba902b7-01", &trace[1..]),
            &format!("00-{trace}0-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}

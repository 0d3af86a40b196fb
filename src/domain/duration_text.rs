//! Durations as people write them: `90s`, `10m`, `1h30m`, `500ms`.

use std::time::Duration;

use jiff::fmt::friendly::SpanParser;

/// Why a text is not a valid duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotADuration {
    /// A number alone.
    NoUnit,
    /// ISO 8601, as in `PT1H`.
    Iso8601,
    /// Any other text.
    Malformed,
    /// A negative duration.
    Negative,
}

/// Parses hours, minutes, seconds and smaller units. A unit is required.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let text = text.trim();
    if is_bare_number(text) {
        return Err(NotADuration::NoUnit);
    }
    if text.trim_start_matches(['+', '-']).starts_with(['P', 'p']) {
        return Err(NotADuration::Iso8601);
    }
    let span = SpanParser::new().parse_duration(text).map_err(|_| NotADuration::Malformed)?;
    Duration::try_from(span).map_err(|_| NotADuration::Negative)
}

/// Parses whole seconds without a unit, or a duration with units; at most `u32::MAX` seconds, which is about 136 years.
pub fn parse_seconds_or_units(text: &str) -> Option<Duration> {
    let longest = Duration::from_secs(u32::MAX.into());
    match text.parse::<u32>() {
        Ok(seconds) => Some(Duration::from_secs(seconds.into())),
        Err(_) => parse(text).ok().filter(|span| *span <= longest),
    }
}

/// Whether a text is a number without a unit.
pub fn is_bare_number(text: &str) -> bool {
    !text.is_empty() && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_need_no_unit_where_they_are_allowed() {
        for (text, millis) in [("60", 60_000), ("60s", 60_000), ("1m30s", 90_000), ("250ms", 250), ("0", 0)] {
            assert_eq!(parse_seconds_or_units(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_seconds_or_units("4294967295s"), parse_seconds_or_units("4294967295"));
        for text in ["", "-1", "-1s", "1.5", "1e3", "PT1H", "1y", "soon", "4294967296", "4294967296s", "inf"]
        {
            assert_eq!(parse_seconds_or_units(text), None, "{text}");
        }
    }
}

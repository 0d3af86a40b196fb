//! Parsers of values on the command line: user ids and durations.

use std::time::Duration;

use crate::domain::duration_text;
use crate::domain::user::UserId;

/// Parses a user id as Auth0 writes it.
pub(super) fn user_id(text: &str) -> Result<UserId, String> {
    UserId::parse(text).map_err(|reason| reason.to_string())
}

/// Parses a duration with units, or a number of seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    duration_text::parse_seconds_or_units(text)
        .ok_or_else(|| "give seconds or a duration: 60, 30s, 2m or 1h30m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit_and_seconds_without() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["-30", "-30s", "1.5", "", "soon", "1y"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}

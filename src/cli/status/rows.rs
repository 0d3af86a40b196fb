//! Rows that several parts of the status consist of.

use crate::api::types::FailureStatus;
use crate::cli::text::count;

/// A row, whose name is empty where it goes on with the one above.
pub(super) fn row(name: &str, value: impl Into<String>) -> [String; 2] {
    [name.into(), value.into()]
}

/// How often a token was asked for in vain and why, and whether waiting helps.
pub(super) fn failure(failure: &FailureStatus) -> [[String; 2]; 2] {
    let advice = match failure.permanent {
        true => "waiting does not help: the configuration has to be changed, here or in Auth0",
        false => "it may pass: the daemon keeps trying",
    };
    [row("", format!("FAILED {}: {}", count(failure.attempts, "time"), failure.detail)), row("", advice)]
}

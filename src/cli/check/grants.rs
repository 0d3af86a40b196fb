//! What `check --online` makes of a refused grant.

use std::io;

use crate::cli::{CommandError, Exit};
use crate::domain::error::{Failure, FailureClass};

/// Whether Auth0 accepts the next key. A refusal is a warning, because the present key serves meanwhile.
pub(super) fn judge_next<T>(
    outcome: Result<T, Failure>,
    out: &mut impl io::Write,
) -> Result<bool, CommandError> {
    match outcome {
        Err(failure) if failure.class() == FailureClass::Permanent => {
            writeln!(out, "warning: the client's next key is refused: {failure}")?;
            Ok(false)
        }
        outcome => {
            outcome.map_err(refusal)?;
            writeln!(out, "ok: Auth0 accepts the client's next key")?;
            Ok(true)
        }
    }
}

/// The error for a failure. A permanent one is fixed in the configuration, here or in Auth0; any other may pass.
pub(super) fn refusal(failure: Failure) -> CommandError {
    let exit =
        if failure.class() == FailureClass::Permanent { Exit::Configuration } else { Exit::Unavailable };
    CommandError::new(exit, failure.to_string())
}

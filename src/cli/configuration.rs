//! Loads the configuration for a command, from the file and the environment.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{self, Env, Loaded, Problems};

use super::exit::{CommandError, Exit};

/// The process's environment, which `main` passes in.
pub type Environment = BTreeMap<String, String>;

/// Loads the configuration; the error lists every problem, with exit code 75 or 78. Consumes the environment, which may
/// contain a secret: only the configuration keeps it.
pub(super) fn configuration(file: Option<&Path>, environment: Environment) -> Result<Loaded, CommandError> {
    let env: Env = environment.into_iter().collect();
    config::load(file, &env).map_err(|problems| wrong(&problems))
}

/// The error of a configuration with problems.
pub(super) fn wrong(problems: &Problems) -> CommandError {
    let exit = if problems.may_pass() { Exit::UnknownAccount } else { Exit::Configuration };
    CommandError::new(exit, format!("the configuration is wrong\n{problems}"))
}

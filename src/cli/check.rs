//! `cloakroom check`: is the configuration right?

use std::io;
use std::path::PathBuf;

use super::{CommandError, Environment};

/// For `--help`.
pub const ABOUT: &str = "\
Read the configuration as `serve` would, and name everything wrong with it at once.

With --online also obtain a Management API token and judge it: scopes that are missing, scopes beyond what is \
needed, this machine's clock, and whether users can be read.

Exit code 0 if all is well, 78 if the configuration is wrong, 69 if Auth0 cannot be asked.

Examples:
  cloakroom check --config ./cloakroom.toml
  cloakroom check --online";

/// What `check` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The configuration file [default: /etc/cloakroom/cloakroom.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Also ask Auth0
    #[arg(long)]
    pub online: bool,
}

/// Judges the configuration.
pub fn run(_args: &Args, _environment: &Environment, _out: &mut impl io::Write) -> Result<(), CommandError> {
    Err(CommandError::failed("`check` is not built yet"))
}

//! `cloakroom serve`: the daemon.

use std::io;
use std::path::PathBuf;

use super::{CommandError, Environment};

/// For `--help`.
pub const ABOUT: &str = "\
Run the daemon.

Every setting can come from the configuration file or from the environment, which wins: CLOAKROOM_ and the \
setting's path in upper case, levels joined by two underscores, such as CLOAKROOM_TENANT__DOMAIN. Without --config \
the file is /etc/cloakroom/cloakroom.toml, which may be absent when the environment says everything.

SIGTERM and Ctrl-C finish what was begun and end with exit code 0. A configuration that is wrong is reported \
whole, with exit code 78.

Examples:
  cloakroom serve
  cloakroom serve --config ./cloakroom.toml
  CLOAKROOM_LOG__LEVEL=debug cloakroom serve";

/// What `serve` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The configuration file [default: /etc/cloakroom/cloakroom.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Serves until a signal ends it.
pub fn run(_args: &Args, _environment: &Environment, _out: &mut impl io::Write) -> Result<(), CommandError> {
    Err(CommandError::failed("`serve` is not built yet"))
}

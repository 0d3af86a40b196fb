//! `cloakroom demo`: a daemon against a simulated tenant, before the reader's eyes.

use std::io;
use std::path::PathBuf;

use super::{CommandError, Environment};

/// For `--help`.
pub const ABOUT: &str = "\
See a daemon at work against a simulated Auth0 tenant: no account, no file, no root.

Starts a simulated tenant on loopback and a daemon against it, looks a token up twice (first from Auth0, then from \
the cache), prints commands to try, and serves until Ctrl-C.

Examples:
  cloakroom demo
  cloakroom demo --once";

/// What `demo` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where the daemon shall listen [default: a new directory for temporary files]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// End after the two lookups
    #[arg(long)]
    pub once: bool,
}

/// Performs, then serves until a signal ends it.
pub fn run(_args: &Args, _environment: &Environment, _out: &mut impl io::Write) -> Result<(), CommandError> {
    Err(CommandError::failed("`demo` is not built yet"))
}

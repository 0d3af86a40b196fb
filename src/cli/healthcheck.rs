//! `cloakroom healthcheck`: a probe for images without a shell.

use std::io;

use super::client::{Client, Probe};
use super::text::visible;
use super::{CommandError, Exit, Socket};

/// For `--help`.
pub const ABOUT: &str = "\
Probe a running daemon: exit code 0 or 1, and one line that says why.

Made for container health checks and exec probes: it needs no shell and asks nothing of Auth0. Without a flag it \
is --ready, which is what callers need to know.

Examples:
  cloakroom healthcheck
  cloakroom healthcheck --live
  HEALTHCHECK CMD [\"cloakroom\", \"healthcheck\"]    (in a Dockerfile)";

/// What `healthcheck` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to ask.
    #[command(flatten)]
    pub question: Question,
    /// Where the daemon is.
    #[command(flatten)]
    pub socket: Socket,
}

/// The three questions; at most one is asked.
#[derive(clap::Args, Debug)]
#[group(multiple = false)]
pub struct Question {
    /// Does the process answer? If not, restart it
    #[arg(long)]
    pub live: bool,
    /// Can lookups be answered: a Management token is held and no shutdown has begun? This is the default
    #[arg(long)]
    pub ready: bool,
    /// Has the first Management token been obtained?
    #[arg(long)]
    pub started: bool,
}

/// Asks, prints the reason on standard output either way, and fails if the answer is no or if there is none.
pub async fn run(args: &Args, out: &mut impl io::Write) -> Result<(), CommandError> {
    let path = match args.question {
        Question { live: true, .. } => "/livez",
        Question { started: true, .. } => "/startupz",
        _ => "/readyz",
    };
    let probe = Client::new(&args.socket.path).probe(path).await;
    let Probe { passed, reason } = probe
        .unwrap_or_else(|error| Probe { passed: false, reason: visible(&error.to_string()).into_owned() });
    writeln!(out, "{reason}")?;
    if passed { Ok(()) } else { Err(CommandError::silent(Exit::Failed)) }
}

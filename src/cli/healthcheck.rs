//! `cloakroom healthcheck`: probes a daemon, also in images without a shell.

use std::io;

use super::client::{Client, Probe};
use super::text::visible;
use super::{CommandError, Exit, SocketArgs};

/// For `--help`.
pub const ABOUT: &str = "\
Probe a running daemon: exit code 0 or 1, and one line that says why.

Made for container health checks and exec probes: it needs no shell and sends nothing to Auth0. The \
default is --ready, which is what clients need to know.

Examples:
  cloakroom healthcheck
  cloakroom healthcheck --live
  cloakroom healthcheck --started";

/// The arguments of `healthcheck`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The probe.
    #[command(flatten)]
    pub probe: ProbeArgs,
    /// The daemon's socket.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// The three probes, of which at most one may be chosen.
#[derive(clap::Args, Debug)]
#[group(multiple = false)]
pub struct ProbeArgs {
    /// Does the process answer? If not, restart it
    #[arg(long)]
    pub live: bool,
    /// Can lookups be answered: there is a Management token and no shutdown has begun? This is the default
    #[arg(long)]
    pub ready: bool,
    /// Has the first Management token been obtained?
    #[arg(long)]
    pub started: bool,
}

/// Probes the daemon and prints the reason on standard output. Fails if the probe fails or has no answer.
pub async fn run(args: &Args, out: &mut impl io::Write) -> Result<(), CommandError> {
    let path = match args.probe {
        ProbeArgs { live: true, .. } => "/livez",
        ProbeArgs { started: true, .. } => "/startupz",
        _ => "/readyz",
    };
    let probe = Client::new(&args.socket.path).probe(path).await;
    let Probe { passed, reason } = probe
        .unwrap_or_else(|error| Probe { passed: false, reason: visible(&error.to_string()).into_owned() });
    writeln!(out, "{reason}")?;
    if passed { Ok(()) } else { Err(CommandError::silent(Exit::Failed)) }
}

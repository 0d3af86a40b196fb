//! `cloakroom reload`: makes a daemon reread its configuration.

use std::io;

use crate::api::types::{ChangeAnswer, ReloadAnswer};

use super::client::Client;
use super::text::visible;
use super::{CommandError, SocketArgs};

/// For `--help`.
pub const ABOUT: &str = "\
Make a running daemon reread its configuration, with the files that this names.

Prints what changed, and which changes need a restart. If the new configuration is wrong, the daemon keeps the old \
one, all problems are printed, and the exit code is 78. No request is dropped either way. \
Only root and the daemon's own user may do this.

Examples:
  cloakroom reload
  cloakroom check && cloakroom reload";

/// The arguments of `reload`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The daemon's socket.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// Makes the daemon reread its configuration, and prints the result.
pub async fn run(args: &Args, out: &mut impl io::Write) -> Result<(), CommandError> {
    let answer = Client::new(&args.socket.path).post("/v1/reload").await?;
    let ReloadAnswer { changed, needs_restart, warnings } = answer.json()?;
    for warning in &warnings {
        writeln!(out, "warning: {}", visible(warning))?;
    }
    for change in &changed {
        writeln!(out, "changed: {}", shown(change))?;
    }
    for change in &needs_restart {
        writeln!(out, "needs a restart: {}", shown(change))?;
    }
    if changed.is_empty() {
        writeln!(out, "reloaded; nothing changed")?;
    }
    Ok(())
}

/// Formats a change as in `cache.max_ttl: 10m -> 5m`; only the key if its values are secret.
fn shown(change: &ChangeAnswer) -> String {
    let key = visible(&change.key);
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{key}: {} -> {}", visible(from), visible(to)),
        _ => key.into_owned(),
    }
}

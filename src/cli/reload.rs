//! `cloakroom reload`: the configuration again, now.

use std::io;

use crate::api::types::{ChangeAnswer, ReloadAnswer};

use super::client::Client;
use super::text::visible;
use super::{CommandError, Socket};

/// For `--help`.
pub const ABOUT: &str = "\
Have a running daemon read its configuration again, the files that this names included.

Prints what changed, and what was asked for but needs a restart. If the new configuration is wrong the daemon goes on \
with the old one, everything that is wrong is printed, and the exit code is 78. No request is dropped either way. \
Only root and the daemon's own user may do this.

Examples:
  cloakroom reload
  cloakroom check && cloakroom reload";

/// What `reload` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where the daemon is.
    #[command(flatten)]
    pub socket: Socket,
}

/// Has the daemon read its configuration, and prints what came of it.
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

/// As in `cache.max_ttl: 10m -> 5m`; the key alone where values are not shown.
fn shown(change: &ChangeAnswer) -> String {
    let key = visible(&change.key);
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{key}: {} -> {}", visible(from), visible(to)),
        _ => key.into_owned(),
    }
}

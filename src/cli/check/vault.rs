//! `cloakroom check`: judges Token Vault, by the number of connections that use it and, with `--online`, by exchanges
//! for a user who does not exist.

use std::io;

use crate::config::{Config, Connection};
use crate::domain::source::Source;
use crate::domain::user::UserId;
use crate::upstream::Auth0;
use crate::upstream::vault::{MOST_CONNECTIONS, Vault, VaultAccess};

/// Prints the id of the key in `vault.key_file`, under which Auth0 has it.
pub(super) fn print(config: &Config, out: &mut impl io::Write) -> io::Result<()> {
    match config.vault.as_ref().and_then(|vault| vault.key.as_ref()) {
        Some(key) => {
            writeln!(out, "ok: the key of Token Vault has the id {} ({})", key.kid(), key.alg().as_str())
        }
        None => Ok(()),
    }
}

/// A warning if more connections use the vault than Auth0 grants one application.
pub(super) fn too_many(config: &Config) -> Option<String> {
    let count = users(&config.connections).count();
    (count > MOST_CONNECTIONS).then(|| {
        format!(
            "{count} connections have vault in their sources, and Auth0 grants {MOST_CONNECTIONS} at most to one \
             application: take vault out of some, or serve them by a second daemon with an application of its own"
        )
    })
}

/// Judges each connection that uses the vault with the client's present credentials, which `auth0` has. The next ones
/// are tried as well if they sign subject tokens. Returns whether nothing has to be changed.
pub(super) async fn judge(
    config: &Config,
    auth0: &Auth0,
    next: Option<&Auth0>,
    unknown: &UserId,
    out: &mut impl io::Write,
) -> io::Result<bool> {
    let connections: Vec<_> = users(&config.connections).collect();
    let Some(settings) = config.vault.as_ref().filter(|_| !connections.is_empty()) else { return Ok(true) };
    let found = Vault::new(auth0.clone(), settings.clone()).check(unknown, &connections).await;
    for (names, access) in grouped(&found) {
        let level = if access == VaultAccess::Granted { "ok" } else { "warning" };
        let plural = if names.contains(' ') { "s" } else { "" };
        writeln!(out, "{level}: connection{plural} {names}: {access}")?;
    }
    let mut is_well = !found.iter().any(|(_, access)| access.is_wrong());
    // Only where the present key is accepted does a difference show what the next one lacks.
    let granted = found.iter().find(|(_, access)| *access == VaultAccess::Granted);
    if let (Some(next), None, Some((connection, _))) = (next, &settings.key, granted) {
        let vault = Vault::new(next.clone(), settings.clone());
        for (_, access) in vault.check(unknown, &[*connection]).await {
            is_well &= judge_next(&access, out)?;
        }
    }
    Ok(is_well)
}

fn judge_next(access: &VaultAccess, out: &mut impl io::Write) -> io::Result<bool> {
    match access {
        VaultAccess::Granted => {
            writeln!(out, "ok: Token Vault accepts the client's next key")?;
            Ok(true)
        }
        VaultAccess::Failed(failure) => {
            writeln!(out, "warning: the client's next key could not be tried at Token Vault: {failure}")?;
            Ok(true)
        }
        _ => {
            let fix = "register it among the credentials of the application's privileged access";
            writeln!(out, "warning: the client's next key is refused by Token Vault: {fix}")?;
            Ok(false)
        }
    }
}

/// The names of the connections that use the vault.
fn users(connections: &[Connection]) -> impl Iterator<Item = &str> {
    let uses = |connection: &&Connection| connection.sources.contains(Source::Vault);
    connections.iter().filter(uses).map(|connection| &*connection.name)
}

/// What was found, each once with the names of its connections.
fn grouped(found: &[(&str, VaultAccess)]) -> Vec<(String, VaultAccess)> {
    let mut groups: Vec<(String, VaultAccess)> = Vec::new();
    for (name, access) in found {
        match groups.iter_mut().find(|(_, of)| of == access) {
            Some((names, _)) => {
                names.push_str(", ");
                names.push_str(name);
            }
            None => groups.push(((*name).to_owned(), access.clone())),
        }
    }
    groups
}

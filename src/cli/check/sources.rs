//! `cloakroom check --online`: judges the source of each connection, without redeeming any user's token.

use std::io;
use std::sync::Arc;

use crate::app::transports::Transports;
use crate::clock::Clock;
use crate::config::{Config, Connection, Refresh};
use crate::domain::source::{OverReason, Redemption, SourceFault};
use crate::providers::Providers;
use crate::secret::Secret;

/// A refresh token that no user has. A provider authenticates the client before it looks at the refresh token
/// (RFC 6749 §5.2), so its refusal shows that the client is accepted.
const NO_REFRESH_TOKEN: &str = "cloakroom-check";

/// Asks the provider of each connection that has one. Returns whether none refuses its client.
pub(super) async fn judge(
    config: &Config,
    transports: Transports,
    out: &mut impl io::Write,
) -> io::Result<bool> {
    let providers = Providers::new(
        &config.providers,
        transports.providers,
        Clock::system(),
        Arc::default(),
        fastrand::u64(..),
    );
    let mut all_accept = true;
    for connection in &config.connections {
        if let Some(refresh) = &connection.refresh {
            all_accept &= judge_refresh(&providers, connection, refresh, out).await?;
        }
    }
    Ok(all_accept)
}

/// Judges the client with each of its secrets alone, because the daemon falls back to the previous one.
async fn judge_refresh(
    providers: &Providers,
    connection: &Connection,
    refresh: &Refresh,
    out: &mut impl io::Write,
) -> io::Result<bool> {
    let (name, host) = (&connection.name, refresh.token_endpoint.host());
    let with = |secret: &Arc<Secret>| {
        Arc::new(Refresh { secret: Arc::clone(secret), previous_secret: None, ..refresh.clone() })
    };
    let ask = async |refresh: Arc<Refresh>| {
        providers.redeem(connection, &refresh, &Secret::new(NO_REFRESH_TOKEN)).await
    };
    match ask(with(&refresh.secret)).await {
        Redemption::Over(OverReason::RefreshRefused) | Redemption::Issued { .. } => {
            writeln!(out, "ok: connection {name}: {host} accepts the client")?;
        }
        // Some providers call a refresh token invalid in this way.
        Redemption::Misconfigured(SourceFault::ProviderRequest) | Redemption::Over(_) => {
            writeln!(out, "warning: connection {name}: {host} does not say whether it accepts the client")?;
        }
        Redemption::Misconfigured(fault) => {
            writeln!(out, "warning: connection {name}: {fault}")?;
            if let Some(previous) = &refresh.previous_secret
                && let Redemption::Over(OverReason::RefreshRefused) = ask(with(previous)).await
            {
                writeln!(out, "ok: connection {name}: {host} accepts the client's previous secret")?;
            }
            return Ok(false);
        }
        Redemption::Failed { failure, .. } => {
            writeln!(out, "warning: connection {name}: its client could not be checked: {failure}")?;
        }
    }
    Ok(true)
}

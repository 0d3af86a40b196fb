//! `cloakroom check --online`: judges the application of `[management_api]` and the scopes of its tokens.

use std::io;

use crate::cli::CommandError;
use crate::cli::text::visible;
use crate::config::Config;
use crate::domain::error::Failure;
use crate::management::Purpose;
use crate::upstream::Auth0;

use super::client;
use super::grants::{judge_next, refusal};

/// Asks for a token, with the next key as well if there is one. `auth0` is the client that reads users. Returns whether
/// nothing has to be changed.
///
/// # Errors
/// The present credentials are refused, or the token has scopes with which no calls would go out.
pub(super) async fn judge(
    config: &Config,
    auth0: &Auth0,
    out: &mut impl io::Write,
) -> Result<bool, CommandError> {
    let Some(configured) = &config.management_api else { return Ok(true) };
    let (present, next) = client::apart(configured);
    let next_accepted = match next {
        Some(next) => judge_next(auth0.beside(&config.tenant, &next, config.upstream).grant().await, out)?,
        None => true,
    };
    let (grant, _) =
        auth0.beside(&config.tenant, &present, config.upstream).grant().await.map_err(refusal)?;
    Purpose::Calls.admit(grant.shows_idp_tokens).map_err(|why| refusal(Failure::Denied(why)))?;
    let scopes = grant.scopes.unwrap_or_default().join(" ");
    writeln!(out, "ok: a token of [management_api] was obtained, with the scopes {}", visible(&scopes))?;
    Ok(next_accepted)
}

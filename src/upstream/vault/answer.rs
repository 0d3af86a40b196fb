//! Parses the answer to an exchange at Token Vault. No I/O and no clock.
//!
//! Auth0 documents the codes for an account without a usable token, and no other refusal of a privileged exchange. The
//! other codes are read as at Auth0's other grants. A code that is not known is an operator's matter, because a user is
//! asked to connect an account only where Auth0 says that it has none.

use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;

use crate::domain::error::{Failure, NOT_A_GRANT, UNSENDABLE};
use crate::domain::scope;
use crate::domain::source::{IssuedToken, SourceFault};
use crate::json::lenient::{Lifetime, Number, Text};
use crate::secret::Secret;
use crate::transport::response::{Answer, Timing};

/// The description of `access_denied` for a client that Auth0 does not authenticate.
const WRONG_CLIENT: &str = "Unauthorized";

/// What Auth0 says about one exchange.
#[derive(Debug)]
pub enum ExchangeAnswer {
    /// The account's token.
    Issued(IssuedToken),
    /// The vault has no account, or no refresh token for it.
    NotConnected,
    /// The vault could not refresh the token. The provider may have refused the refresh token or the connection's
    /// client, or it may have failed.
    NotRefreshed,
    /// Auth0 refuses the exchange, for a reason that an operator can fix.
    Refused(SourceFault),
}

/// Reads the answer to an exchange.
///
/// # Errors
/// The answer says nothing about the account or the application: it may be another later.
pub fn parse_exchange(answer: &Answer, timing: Timing) -> Result<ExchangeAnswer, Failure> {
    match answer.status {
        StatusCode::OK => parse_issued(answer, timing).map(ExchangeAnswer::Issued),
        status if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => refusal(answer),
        _ => Err(answer.unexpected_status()),
    }
}

fn refusal(answer: &Answer) -> Result<ExchangeAnswer, Failure> {
    let (status, error) = (answer.status, answer.error());
    // Whatever the status is, only the vault has these codes.
    match error.oauth_code() {
        "federated_connection_refresh_token_not_found" | "tokenset_not_found" => {
            return Ok(ExchangeAnswer::NotConnected);
        }
        "federated_connection_refresh_token_flow_failed" => return Ok(ExchangeAnswer::NotRefreshed),
        _ => {}
    }
    let may_be_refusal =
        matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if !may_be_refusal || !error.is_from_oauth_server() {
        return Err(answer.unexpected_status());
    }
    Ok(ExchangeAnswer::Refused(match error.oauth_code() {
        "temporarily_unavailable" | "server_error" => {
            return Err(Failure::Status { status: status.as_u16() });
        }
        "invalid_client" => SourceFault::VaultClient,
        // Auth0's answer to a wrong client, at all grants. Others are about what the client may do.
        "access_denied" if status == StatusCode::UNAUTHORIZED && error.description() == WRONG_CLIENT => {
            SourceFault::VaultClient
        }
        "unauthorized_client" | "unsupported_grant_type" => SourceFault::VaultGrant,
        "access_denied" | "invalid_scope" | "invalid_target" => SourceFault::VaultAccess,
        "mfa_required" => SourceFault::VaultMfa,
        _ => SourceFault::VaultRequest,
    }))
}

fn parse_issued(answer: &Answer, timing: Timing) -> Result<IssuedToken, Failure> {
    let wire: WireIssued = answer.parse()?;
    let token = wire.access_token.into_given().filter(|token| !token.is_empty());
    let token = token.ok_or(Failure::Malformed { what: NOT_A_GRANT })?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Malformed { what: UNSENDABLE });
    }
    Ok(IssuedToken {
        access_token: Secret::new(token),
        expires_in: remaining(answer, &wire.expires_in, timing),
        // Without a scope, or with an empty one, the vault does not know what was granted.
        scopes: wire.scope.given().and_then(|text| scope::normalized([text])),
    })
}

/// The token's remaining lifetime when the answer was complete. The vault computes it, so that zero means that the
/// token has expired. It may have computed it as early as when the request was sent.
fn remaining(answer: &Answer, expires_in: &Number, timing: Timing) -> Option<Duration> {
    let stated = match expires_in.lifetime() {
        Some(Lifetime::Date(date)) => date.since(answer.date().unwrap_or(timing.received.wall)),
        _ => expires_in.seconds()?,
    };
    Some(stated.saturating_sub(timing.sent.age(timing.received)))
}

#[derive(Deserialize)]
struct WireIssued {
    #[serde(default)]
    access_token: Text,
    #[serde(default)]
    expires_in: Number,
    #[serde(default)]
    scope: Text,
}

#[cfg(test)]
mod tests;

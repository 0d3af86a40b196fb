//! What is said of a lookup that failed: status, code and title, advice, and when to ask again.

use std::time::Duration;

use hyper::StatusCode;

use crate::api::hints;
use crate::domain::error::{Failure, FailureClass, LookupError, Stage, Unavailable};
use crate::domain::identity::Candidate;

use super::Kind;

/// When a caller is told to come back. Waits of our own making are told up to half a minute: an attempt that a reload
/// asks for, or that succeeds, ends them, and asking again costs Auth0 nothing. What the tenant asked for is told as it is.
pub(super) fn ask_again_after(unavailable: &Unavailable) -> Duration {
    const LONGEST: Duration = Duration::from_secs(30);

    let is_the_tenants = unavailable.stage != Stage::ManagementToken
        && matches!(unavailable.failure, Failure::Throttled { .. } | Failure::AskedToWait { .. });
    if is_the_tenants { unavailable.retry_after } else { unavailable.retry_after.min(LONGEST) }
}

pub(super) fn lookup_kind(error: &LookupError) -> Kind {
    use StatusCode as S;
    match error {
        LookupError::UserNotFound => (S::NOT_FOUND, "user_not_found", "Auth0 has no such user"),
        LookupError::UserBlocked => (S::FORBIDDEN, "user_blocked", "The user is blocked in Auth0"),
        LookupError::IdentityNotFound(_) => {
            (S::NOT_FOUND, "identity_not_found", "The user has no such identity")
        }
        LookupError::NoToken { .. } => (S::NOT_FOUND, "no_token", "The identity carries no token"),
        LookupError::Ambiguous(_) => (S::CONFLICT, "ambiguous_identity", "Several identities carry a token"),
        LookupError::LoginRequired { .. } => (S::GONE, "login_required", "The user must log in again"),
        LookupError::MinTtlUnsatisfiable { .. } => (
            S::UNPROCESSABLE_ENTITY,
            "min_ttl_unsatisfiable",
            "The token is not valid for as long as was asked",
        ),
        LookupError::RateLimited { .. } => {
            (S::TOO_MANY_REQUESTS, "rate_limited", "There is no room for this options now")
        }
        LookupError::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded", "Too many lookups wait for Auth0"),
        LookupError::Unavailable(unavailable) => unavailable_kind(unavailable),
    }
}

fn unavailable_kind(unavailable: &Unavailable) -> Kind {
    use StatusCode as S;
    match (unavailable.stage, &unavailable.failure, unavailable.failure.class()) {
        (Stage::ManagementToken, ..) => (
            S::SERVICE_UNAVAILABLE,
            "management_token_unavailable",
            "There is no Management token to ask Auth0 with",
        ),
        (_, Failure::TimedOut { .. }, _) => {
            (S::GATEWAY_TIMEOUT, "upstream_timeout", "Auth0 did not answer in time")
        }
        (_, Failure::OverBudget { .. }, _) => {
            (S::SERVICE_UNAVAILABLE, "overloaded", "The daemon's budget for the tenant is spent")
        }
        (_, _, FailureClass::Throttled) => {
            (S::SERVICE_UNAVAILABLE, "upstream_rate_limited", "The tenant's rate limit is reached")
        }
        (_, _, FailureClass::Passing) => {
            (S::SERVICE_UNAVAILABLE, "upstream_unavailable", "Auth0 is not available")
        }
        (_, _, FailureClass::Malformed | FailureClass::Permanent) => {
            (S::BAD_GATEWAY, "upstream_error", "Auth0 answered something that is no answer")
        }
    }
}

/// The connections of `candidates`, each once.
pub(super) fn connections(candidates: &[Candidate]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for Candidate { connection, .. } in candidates {
        if !names.contains(connection) {
            names.push(connection.clone());
        }
    }
    names
}

pub(super) fn lookup_detail(error: &LookupError, path: &str) -> String {
    match error {
        LookupError::UserNotFound => hints::of_unknown_user(path)
            .unwrap_or(
                "check the id: it is Auth0's user_id, and after account linking only the primary account's id exists",
            )
            .into(),
        LookupError::UserBlocked => "unblock the user in Auth0, if that is what you want".into(),
        LookupError::IdentityNotFound(connections) => match connections.as_slice() {
            [] => "the user has no identity, or none that this caller's rules show".into(),
            some => format!("the user's connections are: {}", some.join(", ")),
        },
        LookupError::NoToken { withheld: true } => {
            "the daemon's Management token lacks the scope read:user_idp_tokens, without which Auth0 shows no token of \
             any user: give the application that permission"
                .into()
        }
        LookupError::NoToken { withheld: false } => {
            "Auth0 holds no access token for it. Likely causes: a database connection, which has none; Token Vault is \
             enabled for the connection, which moves tokens out of the profile; or the connection is set not to store \
             them"
                .into()
        }
        LookupError::Ambiguous(candidates) => format!(
            "choose one with ?connection=, ?provider= or ?identity_user_id=; these connections carry a token: {}",
            connections(candidates).join(", ")
        ),
        LookupError::LoginRequired { expired_at: None, .. } => {
            "the token was reported as refused by its provider and Auth0 holds no newer one; Auth0 never renews it, so \
             send the user through a login with this connection"
                .into()
        }
        LookupError::LoginRequired { expired_at: Some(expired_at), .. } => format!(
            "the provider's token has an expiry of {expired_at}, which has come or is nearer than cache.min_ttl, and \
             Auth0 holds no newer one; Auth0 never renews it, so send the user through a login with this connection"
        ),
        LookupError::MinTtlUnsatisfiable { left, .. } => format!(
            "the token is valid for {} more seconds and Auth0 holds no newer one; ask for less, or send the user through \
             a login with this connection",
            left.as_secs()
        ),
        LookupError::RateLimited { .. } => {
            "fresh answers and reports spend from the budget that the tenant's requests have ([upstream]), and only what \
             nobody else needs; ask again later, or without fresh=true"
                .into()
        }
        LookupError::Overloaded => "ask again in a moment".into(),
        LookupError::Unavailable(Unavailable { failure, .. }) => failure.to_string(),
    }
}

//! Maps each error of a lookup to its row in `error/table.rs`; states its detail, and when a client may ask again.

use std::time::Duration;

use crate::api::hints;
use crate::domain::error::{Failure, FailureClass, LookupError, Stage, Unavailable};
use crate::domain::identity::Candidate;
use crate::domain::source::{OverReason, SourceError, SourceFailure, SourceProblem};
use crate::management::calls::ManagementCallFailure;

use super::Code;

/// What `Retry-After` states. Waits of the daemon's own making are stated as at most half a minute: a successful attempt,
/// or one that a reload makes, ends them, and asking again costs Auth0 nothing. A wait that the tenant asked for is stated
/// as it is.
pub(super) fn ask_again_after(unavailable: &Unavailable) -> Duration {
    const LONGEST: Duration = Duration::from_secs(30);

    let is_the_tenants = unavailable.stage != Stage::ManagementToken
        && matches!(unavailable.failure, Failure::Throttled { .. } | Failure::AskedToWait { .. });
    if is_the_tenants { unavailable.retry_after } else { unavailable.retry_after.min(LONGEST) }
}

pub(super) fn lookup_kind(error: &LookupError) -> Code {
    match error {
        LookupError::UserNotFound => Code::UserNotFound,
        LookupError::UserBlocked => Code::UserBlocked,
        LookupError::IdentityNotFound(_) => Code::IdentityNotFound,
        LookupError::NoToken { .. } => Code::NoToken,
        LookupError::Ambiguous(_) => Code::AmbiguousIdentity,
        LookupError::LoginRequired { .. } => Code::LoginRequired,
        LookupError::ConnectRequired { .. } => Code::ConnectRequired,
        LookupError::Source(SourceError { problem, .. }) => match problem {
            SourceProblem::Misconfigured(_) => Code::SourceMisconfigured,
            SourceProblem::Unavailable { failure, .. } => source_kind(failure),
        },
        LookupError::MinTtlUnsatisfiable { .. } => Code::MinTtlUnsatisfiable,
        LookupError::RateLimited { .. } => Code::RateLimited,
        LookupError::Overloaded => Code::Overloaded,
        LookupError::Unavailable(unavailable) => unavailable_kind(unavailable),
    }
}

pub(super) fn source_kind(failure: &SourceFailure) -> Code {
    match failure {
        SourceFailure::TimedOut { .. } => Code::ProviderTimeout,
        SourceFailure::State => Code::StateUnavailable,
        SourceFailure::Unreachable { .. }
        | SourceFailure::Throttled { .. }
        | SourceFailure::Status { .. }
        | SourceFailure::Malformed { .. }
        | SourceFailure::TooShort
        | SourceFailure::NotRefreshed
        | SourceFailure::Unsettled
        | SourceFailure::Fault => Code::ProviderUnavailable,
    }
}

fn unavailable_kind(unavailable: &Unavailable) -> Code {
    match unavailable.stage {
        Stage::ManagementToken => Code::ManagementTokenUnavailable,
        _ => failure_kind(&unavailable.failure),
    }
}

fn failure_kind(failure: &Failure) -> Code {
    match (failure, failure.class()) {
        (Failure::TimedOut { .. }, _) => Code::UpstreamTimeout,
        (Failure::OverBudget { .. }, _) => Code::Overloaded,
        (_, FailureClass::Throttled) => Code::UpstreamRateLimited,
        (_, FailureClass::Passing) => Code::UpstreamUnavailable,
        (_, FailureClass::Malformed | FailureClass::Permanent) => Code::UpstreamError,
    }
}

pub(super) fn management_call_kind(failure: &ManagementCallFailure) -> Code {
    match failure {
        ManagementCallFailure::NotConfigured => Code::RouteNotFound,
        // As Auth0 answers it, so that its SDKs wait.
        ManagementCallFailure::GateClosed(_) => Code::RateLimited,
        ManagementCallFailure::Busy { .. } => Code::Overloaded,
        ManagementCallFailure::NoToken(_) => Code::ManagementTokenUnavailable,
        ManagementCallFailure::Closed(_) => Code::ManagementApiClosed,
        ManagementCallFailure::Failed(failure) => failure_kind(failure),
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
        LookupError::UserBlocked => "unblock the user in Auth0, if that is intended".into(),
        LookupError::IdentityNotFound(connections) => match connections.as_slice() {
            [] => "the user has no identity, or none that this client's rules show".into(),
            some => format!(
                "the user's connections are: {}; the user's identities list the accounts of each",
                some.join(", ")
            ),
        },
        LookupError::NoToken { withheld: true } => {
            "the daemon's Management token lacks the scope read:user_idp_tokens, without which Auth0 leaves out every \
             token: give the application that permission"
                .into()
        }
        LookupError::NoToken { withheld: false } => {
            "Auth0 holds no access token for it. Likely causes: a database connection, which has none; Token Vault is \
             enabled for the connection, which moves tokens out of the profile; or the connection is configured not to \
             store tokens"
                .into()
        }
        LookupError::Ambiguous(candidates) => format!(
            "choose one with ?connection=, ?provider= or ?identity_user_id=; these connections carry a token: {}",
            connections(candidates).join(", ")
        ),
        LookupError::LoginRequired { expired_at: Some(expired_at), .. } => format!(
            "the provider's token expires at {expired_at}, which has passed or is nearer than cache.min_ttl, and Auth0 \
             holds no newer one; Auth0 never renews it, so send the user through a login with this connection"
        ),
        LookupError::LoginRequired { reason, .. } => login_detail(*reason).into(),
        LookupError::ConnectRequired { .. } => {
            "Token Vault has no account of this user for the connection, or holds no refresh token of it; send the user \
             through the connect flow, which asks the provider for offline access"
                .into()
        }
        LookupError::MinTtlUnsatisfiable { left, .. } => format!(
            "the token is valid for {} more seconds, and Auth0 holds no newer one; ask for less, or send the user \
             through a login with this connection",
            left.as_secs()
        ),
        LookupError::RateLimited { .. } => {
            "fresh answers and reports take from the budget for Auth0 ([upstream]) only what no other request needs; \
             ask again later, or without fresh=true"
                .into()
        }
        LookupError::Overloaded => "too many lookups wait for Auth0: retry in a moment".into(),
        LookupError::Unavailable(Unavailable { failure, .. }) => failure.to_string(),
        LookupError::Source(SourceError { connection, problem }) => match problem {
            SourceProblem::Misconfigured(fault) => format!("connection {connection}: {fault}"),
            SourceProblem::Unavailable { failure, .. } => format!("connection {connection}: {failure}"),
        },
    }
}

fn login_detail(reason: OverReason) -> &'static str {
    match reason {
        OverReason::Expired => {
            "the provider's token has expired, and no source has another; send the user through a login with this \
             connection"
        }
        OverReason::Reported => {
            "the provider refused the token, as a report or a call has shown, and Auth0 holds no newer one; Auth0 never \
             renews it, so send the user through a login with this connection"
        }
        OverReason::RefreshRefused => {
            "the provider does not accept the refresh token, which has expired or was revoked, and Auth0 holds no newer \
             one; send the user through a login with this connection that asks for offline access"
        }
        OverReason::RefreshLost => {
            "the refresh token was redeemed, and the answer with its successor was lost; send the user through a login \
             with this connection that asks for offline access"
        }
        OverReason::ReauthenticationRequired => {
            "the provider wants the user to authenticate again before it issues another token; send the user through a \
             login with this connection"
        }
        OverReason::ConsentRequired => {
            "the provider wants the user's consent to what is asked for; send the user through a login with this \
             connection that asks for consent"
        }
    }
}

//! The answers to requests that are permitted.

use hyper::header::{ACCEPT, HeaderMap};

use crate::cache::{ReportOutcome, Served, UserState};
use crate::domain::error::LookupError;
use crate::domain::priority::Flow;
use crate::domain::scope;
use crate::domain::user::{Selector, UserId};
use crate::secret::Tag;

use super::audit::AuditRecord;
use super::error::{ApiError, InsufficientScope};
use super::metrics::render;
use super::response::{self, Reply};
use super::state::{Services, ShutdownPhase};
use super::token_json;
use super::types::{IdentitiesAnswer, IdentityAnswer, ManagementTokenAnswer, ReportAnswer};

/// Metrics, in the format that the request accepts.
pub(super) fn metrics(services: &Services, headers: &HeaderMap) -> Reply {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_open_metrics = accepted
        .flat_map(|value| value.split(','))
        .any(|one| one.trim().starts_with("application/openmetrics-text"));
    let text = services.exposition.text(&services.clock, is_open_metrics, || render(services));
    response::metrics(text, is_open_metrics)
}

/// Reloads the configuration, or lists everything that is wrong with the new one.
pub(super) async fn reload(services: &Services) -> Result<Reply, ApiError> {
    match services.reload().await {
        Ok(answer) => Ok(response::ok(&answer)),
        Err(problems) => Err(ApiError::Configuration(problems)),
    }
}

/// The Management token.
pub(super) async fn management_token(services: &Services) -> Result<Reply, ApiError> {
    let bearer = async { services.management.bearer().await.map_err(LookupError::Unavailable) };
    let token = until_shutdown(services, bearer).await?;
    let expires = token.expires();
    let answer = ManagementTokenAnswer {
        access_token: token.token().expose().into(),
        token_type: "Bearer".into(),
        expires_at: expires.map(|expires| expires.wall().to_string()),
        expires_in: expires.map(|expires| expires.remaining(services.clock.now()).as_secs()),
        scopes: token.scopes().map(<[String]>::to_vec),
    };
    Ok(response::ok(&answer))
}

/// The outcome of a report about a token. Only tokens that `shown` shows to the client exist for it.
pub(super) fn report(
    services: &Services,
    flow: Flow,
    user: &UserId,
    fingerprint: Tag,
    shown: &Selector,
    record: &mut AuditRecord,
) -> Result<Reply, ApiError> {
    record.fingerprint = Some(fingerprint);
    let outcome = match services.cache.report(flow, user, fingerprint, shown)? {
        ReportOutcome::Dropped => "dropped",
        ReportOutcome::AlreadyReplaced => "already_replaced",
        ReportOutcome::Unknown => "unknown",
    };
    record.outcome = Some(outcome);
    Ok(response::ok(&ReportAnswer { outcome: outcome.into() }))
}

/// The token that a lookup found, if it has the scopes in `wanted` as far as its scopes are known.
pub(super) fn token(
    services: &Services,
    served: &Served,
    wanted: Option<&str>,
    record: &mut AuditRecord,
) -> Result<Reply, ApiError> {
    let (identity, token) = served.token();
    if let (Some(wanted), Some(scopes)) = (wanted, token.scopes) {
        let missing: Vec<_> = scope::missing(scopes, wanted).into_iter().map(str::to_owned).collect();
        if !missing.is_empty() {
            let (connection, scopes) = (identity.connection().to_owned(), scopes.to_owned());
            return Err(ApiError::InsufficientScope(InsufficientScope { connection, missing, scopes }));
        }
    }
    record.served(services, served.state, Some((identity, token)));
    let (user, fetched, now) = (&served.user, served.fetched().wall, served.now);
    let body = token_json::TokenBody { user, identity, token, fetched, now };
    Ok(response::lookup(served, body.write()))
}

/// The identities that a lookup found, of those that `shown` shows.
pub(super) fn identities(
    services: &Services,
    served: &Served<UserState>,
    shown: &Selector,
    record: &mut AuditRecord,
) -> Reply {
    record.served(services, served.state, None);
    let identities = served.identities().iter().filter(|identity| !identity.is_unlisted());
    let identities = identities.filter(|identity| shown.shows(identity.connection()));
    let identities = identities.map(|identity| {
        let token = identity.token();
        let state = match token {
            None => "none",
            Some(token) if services.cache.is_alive(&token, served.now) => "available",
            Some(_) => "expired",
        };
        IdentityAnswer {
            connection: identity.connection().into(),
            provider: identity.provider().into(),
            identity_user_id: identity.user_id().into(),
            is_social: identity.is_social,
            token: state.into(),
            expires_at: token.and_then(|token| token.expires).map(|expires| expires.wall().to_string()),
            expiry_basis: token.map_or("none", |token| token.basis.as_str()).into(),
        }
    });
    let answer = IdentitiesAnswer {
        user_id: served.user.as_str().into(),
        blocked: served.is_blocked(),
        fetched_at: served.fetched().wall.to_string(),
        identities: identities.collect(),
    };
    response::lookup(served, response::written(&answer))
}

/// The outcome of `lookup`, or `draining` when the shutdown's deadline comes first.
pub(super) async fn until_shutdown<T, E: Into<ApiError>>(
    services: &Services,
    lookup: impl Future<Output = Result<T, E>>,
) -> Result<T, ApiError> {
    // Polled only once the lookup has to wait, which few have to.
    let over = async {
        services.phase().wait_for(|phase| *phase == ShutdownPhase::Over).await.ok();
    };
    tokio::select! {
        biased;
        outcome = lookup => outcome.map_err(Into::into),
        () = over => Err(ApiError::Draining),
    }
}

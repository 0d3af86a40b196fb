//! What a request that may be answered is answered with.

use std::sync::PoisonError;

use hyper::header::{ACCEPT, HeaderMap};

use crate::cache::{LookupOptions, ReportOutcome, Served};
use crate::domain::error::LookupError;
use crate::domain::priority::Flow;
use crate::domain::user::{Selector, UserId};
use crate::secret::Tag;

use super::audit::AuditRecord;
use super::error::ApiError;
use super::params::bearer;
use super::response::{self, Reply};
use super::state::{Phase, Services};
use super::token_json;
use super::types::{IdentitiesAnswer, IdentityAnswer, ManagementTokenAnswer, ReportAnswer};

/// What Prometheus reads, in the format that it asks for.
pub(super) fn metrics(services: &Services, headers: &HeaderMap) -> Reply {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_open_metrics = accepted
        .flat_map(|value| value.split(','))
        .any(|one| one.trim().starts_with("application/openmetrics-text"));
    response::metrics(services.exposition.text(services, is_open_metrics), is_open_metrics)
}

/// The user whose own token the request bears, which is one of `flow`.
pub(super) async fn me(services: &Services, flow: Flow, headers: &HeaderMap) -> Result<UserId, ApiError> {
    let user_tokens = services.user_tokens.read().unwrap_or_else(PoisonError::into_inner).clone();
    let user_tokens = user_tokens.ok_or(ApiError::MeIsOff)?;
    let token = bearer(headers).map_err(ApiError::UserToken)?;
    before_the_end(services, user_tokens.verify(&token, flow)).await
}

/// Reads the configuration again, or says everything that is wrong with the new one.
pub(super) async fn reload(services: &Services) -> Result<Reply, ApiError> {
    match (services.reload)().await {
        Ok(answer) => Ok(response::ok(&answer)),
        Err(problems) => Err(ApiError::Configuration(problems)),
    }
}

pub(super) async fn management_token(services: &Services) -> Result<Reply, ApiError> {
    let bearer = async { services.management.bearer().await.map_err(LookupError::Unavailable) };
    let token = before_the_end(services, bearer).await?;
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

/// Only what `shown` shows is there to be reported.
pub(super) fn report(
    services: &Services,
    flow: Flow,
    user: &UserId,
    fingerprint: Tag,
    shown: &Selector,
    record: &mut AuditRecord,
) -> Result<Reply, ApiError> {
    record.fingerprint = Some(fingerprint);
    let outcome = match services.cache.report(flow, user, fingerprint, shown).map_err(ApiError::Lookup)? {
        ReportOutcome::Dropped => "dropped",
        ReportOutcome::AlreadyReplaced => "already_replaced",
        ReportOutcome::Unknown => "unknown",
    };
    record.outcome = Some(outcome);
    Ok(response::ok(&ReportAnswer { outcome: outcome.into() }))
}

pub(super) async fn token(
    services: &Services,
    flow: Flow,
    user: &UserId,
    selector: &Selector,
    options: LookupOptions,
    record: &mut AuditRecord,
) -> Result<Reply, ApiError> {
    let served = before_the_end(services, services.cache.token(flow, user, selector, options)).await?;
    found(services, user, selector, &served, record)
}

/// A lookup of `user`'s token has come to this.
pub(super) fn found(
    services: &Services,
    user: &UserId,
    selector: &Selector,
    served: &Served,
    record: &mut AuditRecord,
) -> Result<Reply, ApiError> {
    // A lookup that succeeds has found this very token; were it not so, there would be nothing to hand out.
    let (identity, token) = served.select(selector).ok_or(ApiError::NoRoute)?;
    record.served(services, served.state, Some((identity, token)));
    let (fetched, now) = (served.fetched().wall, served.now);
    let body = token_json::Token { user, identity, token, fetched, now };
    Ok(response::lookup(served, body.write()))
}

pub(super) async fn identities(
    services: &Services,
    flow: Flow,
    user: &UserId,
    shown: &Selector,
    record: &mut AuditRecord,
) -> Result<Reply, ApiError> {
    let served = before_the_end(services, services.cache.identities(flow, user)).await?;
    record.served(services, served.state, None);
    let profile = served.profile().ok_or(ApiError::NoRoute)?;
    let identities = profile.identities.iter().filter(|identity| shown.shows(identity.connection()));
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
        user_id: user.as_str().into(),
        blocked: profile.blocked,
        fetched_at: served.fetched().wall.to_string(),
        identities: identities.collect(),
    };
    Ok(response::lookup(&served, response::written(&answer)))
}

/// A lookup's answer, or `draining` when the shutdown's deadline comes first.
async fn before_the_end<T, E: Into<ApiError>>(
    services: &Services,
    lookup: impl Future<Output = Result<T, E>>,
) -> Result<T, ApiError> {
    // Not before there is something to wait for, and most lookups have nothing.
    let over = async {
        services.phase.clone().wait_for(|phase| *phase == Phase::Over).await.ok();
    };
    tokio::select! {
        biased;
        outcome = lookup => outcome.map_err(Into::into),
        () = over => Err(ApiError::Draining),
    }
}

//! What is decided before a handler is asked.
//!
//! A request passes, in this order: header bounds, headers of requests that were sent on, the request header, the
//! route and its method, the caller's rights, and only then its parameters. Whoever may not ask learns
//! nothing about users, not even whether an id is well-formed.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request, Response};

use crate::domain::policy::{self, Allowed, Operation};
use crate::domain::user::{Selector, UserId};

use super::Services;
use super::bounds::{Shown, read};
use super::handlers::{identities, management_token, me, metrics, reload, report, token};
use super::head::Reply;
use super::paths::Route;
use super::peer::Peer;
use super::query::{fingerprint, nothing, token_query, user};
use super::reply::{self, Refused};
use super::trace;
use super::trail::{Over, Refusal, Trail};

/// Answers one request of `peer`.
pub async fn answer(services: &Services, peer: &Peer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let mut trail = Trail::begin();
    let request_id = services.next_request_id();
    let (mut head, body) = request.into_parts();
    let shown = Shown::of(&mut head.headers);
    let (found, query) = (Route::find(head.uri.path()), head.uri.query().unwrap_or_default());
    let outcome = match admit(peer, &head, &shown, found) {
        Ok(route) => match read(body).await {
            Ok(body) => handle(services, peer, route, &head, &body, &mut trail).await,
            Err(refused) => Err(refused),
        },
        Err(refused) => Err(refused),
    };
    let route = found.map_or("none", |route| route.name());
    let refusal = outcome.as_ref().err().map(Refusal::of);
    let uid = peer.rights.caller().uid;
    let reply = outcome.unwrap_or_else(|refused| {
        services.tally.refused(&refused);
        let trace_id = trace::shown(trace::of(&head.headers));
        tracing::debug!(route, uid, code = refused.code(), %request_id, trace_id, "Refused");
        refused.reply(request_id.as_str())
    });
    let status = reply.status();
    services.tally.answered(found, status);
    tracing::trace!(route, uid, status, %request_id, "Answered");
    trail.end(
        services,
        peer,
        Over {
            route: found,
            query,
            refusal,
            status,
            request_id: request_id.as_str(),
            headers: &head.headers,
        },
    );
    reply.into_response(request_id.header())
}

/// Answers what anybody may ask for, and nothing else: for [`crate::admin`].
pub fn answer_openly<B>(services: &Services, request: &Request<B>) -> Response<Full<Bytes>> {
    let request_id = services.next_request_id();
    let route = Route::find(request.uri().path()).filter(|route| route.is_probe());
    let outcome = match route {
        None => Err(Refused::NoRoute),
        Some(route) if *request.method() != route.method() => Err(Refused::Method(route.method())),
        Some(Route::Started) => Ok(reply::probe(services.started())),
        Some(Route::Ready) => Ok(reply::probe(services.ready())),
        Some(Route::Metrics) => Ok(metrics(services, request.headers())),
        Some(_) => Ok(reply::probe(Ok(Cow::Borrowed("live")))),
    };
    let reply = outcome.unwrap_or_else(|refused| refused.reply(request_id.as_str()));
    services.tally.answered(route, reply.status());
    reply.into_response(request_id.header())
}

/// Everything that is decided before anything of the request's parameters is looked at.
fn admit<'a>(
    peer: &Peer,
    head: &Parts,
    shown: &Shown,
    route: Option<Route<'a>>,
) -> Result<Route<'a>, Refused> {
    shown.check(head)?;
    let needs_header = peer.require_request_header && !route.is_some_and(|route| route.is_probe());
    if needs_header && !shown.is_meant() {
        return Err(Refused::NoRequestHeader);
    }
    let route = route.ok_or(Refused::NoRoute)?;
    if head.method != route.method() {
        return Err(Refused::Method(route.method()));
    }
    if let Some(operation) = route.operation() {
        peer.rights.may(operation).map_err(Refused::Forbidden)?;
    }
    Ok(route)
}

/// Whether `peer` may do this to this user through this connection, and now. Decided before anything is looked up.
fn permit(
    services: &Services,
    peer: &Peer,
    operation: Operation,
    user: Option<&UserId>,
    connection: Option<&str>,
) -> Result<Allowed, Refused> {
    let request = policy::Request { operation, user, connection };
    let allowed = peer.rights.decide(request).map_err(Refused::Forbidden)?;
    // Whoever shows a user's own token has been counted before that was verified.
    if operation.is_lookup() && operation != Operation::Me {
        count(services, peer, &allowed.rates)?;
    }
    Ok(allowed)
}

/// Counts a lookup of `peer` under each of these rules.
fn count(services: &Services, peer: &Peer, rates: &[(usize, f64)]) -> Result<(), Refused> {
    if rates.is_empty() {
        // Most rules have none, and then nobody needs to know what time it is.
        return Ok(());
    }
    let (uid, now) = (peer.rights.caller().uid, services.clock.now());
    rates.iter().try_for_each(|(rule, rate)| {
        let taken = peer.rates.take(*rule, uid, *rate, now);
        taken.map_err(|retry_after| Refused::TooOften { retry_after })
    })
}

async fn handle(
    services: &Services,
    peer: &Peer,
    route: Route<'_>,
    head: &Parts,
    body: &[u8],
    trail: &mut Trail,
) -> Result<Reply, Refused> {
    let query = head.uri.query().unwrap_or_default();
    if !matches!(route, Route::Token(_) | Route::MyToken) {
        nothing(query)?;
    }
    let permit = |operation, user, connection| permit(services, peer, operation, user, connection);
    match route {
        Route::Token(segment) => {
            let (user, (mut selector, wish)) = (user(segment)?, token_query(query)?);
            let allowed = permit(Operation::Token, Some(&user), selector.connection.as_deref())?;
            selector.within = allowed.connections;
            token(services, peer.flow(), &user, &selector, wish, trail).await
        }
        Route::Identities(segment) => {
            let user = user(segment)?;
            let within = permit(Operation::Identities, Some(&user), None)?.connections;
            identities(services, peer.flow(), &user, &Selector { within, ..Selector::default() }, trail).await
        }
        Route::MyToken => {
            let (mut selector, wish) = token_query(query)?;
            count(services, peer, &peer.rights.rates(Operation::Me))?;
            let user = Box::pin(me(services, &head.headers)).await?;
            trail.user = Some(user.clone());
            selector.within = permit(Operation::Me, Some(&user), selector.connection.as_deref())?.connections;
            token(services, peer.flow(), &user, &selector, wish, trail).await
        }
        Route::MyIdentities => {
            count(services, peer, &peer.rights.rates(Operation::Me))?;
            let user = Box::pin(me(services, &head.headers)).await?;
            trail.user = Some(user.clone());
            let within = permit(Operation::Me, Some(&user), None)?.connections;
            identities(services, peer.flow(), &user, &Selector { within, ..Selector::default() }, trail).await
        }
        Route::Report(segment) => {
            let (user, fingerprint) = (user(segment)?, fingerprint(body)?);
            let within = permit(Operation::Report, Some(&user), None)?.connections;
            report(services, &user, fingerprint, &Selector { within, ..Selector::default() }, trail)
        }
        Route::User(segment) => {
            let user = user(segment)?;
            permit(Operation::Purge, Some(&user), None)?;
            services.cache.purge(&user);
            Ok(reply::done())
        }
        Route::Users => {
            permit(Operation::Purge, None, None)?;
            services.cache.purge_all();
            Ok(reply::done())
        }
        Route::ManagementToken => {
            permit(Operation::ManagementToken, None, None)?;
            Box::pin(management_token(services)).await
        }
        Route::Reload => {
            permit(Operation::Reload, None, None)?;
            Box::pin(reload(services)).await
        }
        Route::Status => Ok(reply::ok(&services.status())),
        Route::OpenApi => Ok(reply::document(include_str!("openapi.json"))),
        Route::Metrics => Ok(metrics(services, &head.headers)),
        Route::Live => Ok(reply::probe(Ok(Cow::Borrowed("live")))),
        Route::Started => Ok(reply::probe(services.started())),
        Route::Ready => Ok(reply::probe(services.ready())),
    }
}

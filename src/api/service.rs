//! What is decided before a handler is asked.
//!
//! A request passes, in this order: header bounds, headers of requests that were sent on, the request header, the
//! route and its method, the caller's rights, and only then its parameters. Whoever may not ask learns
//! nothing about users, not even whether an id is well-formed.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Request, Response};

use crate::cache::{Lookup, LookupOptions};
use crate::domain::policy::{self, Allowed, Operation};
use crate::domain::user::{Selector, UserId};

use super::audit::{AuditRecord, Completed, Refusal};
use super::error::ApiError;
use super::handlers::{found, identities, management_token, me, metrics, reload, report, token};
use super::params::{fingerprint, nothing, token_query, user};
use super::peer::Peer;
use super::request_id::RequestId;
use super::request_limits::{HeaderScan, goes_on, read};
use super::response::{self, KEPT, Reply};
use super::route::{Matched, Route, RouteSpec};
use super::state::Services;
use super::trace;

/// A request's answer. Most are there at once, and have nothing to carry about of what the others need.
pub enum Answering<'a> {
    /// This is it.
    Now(Response<Full<Bytes>>),
    /// Something has to be waited for.
    Later(Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send + 'a>>),
}

/// Answers one request of `peer`.
pub fn answer<'a>(
    services: &'a Services,
    peer: Cow<'a, Arc<Peer>>,
    request: Request<Incoming>,
) -> Answering<'a> {
    let now = services.clock.now();
    let record = AuditRecord::begin(now);
    let request_id = services.next_request_id();
    let (mut head, body) = request.into_parts();
    let scan = HeaderScan::of(&mut head.headers);
    // Where a body has not been read, hyper may have to close the connection.
    let (goes_on, has_body) = (scan.goes_on(&head), !body.is_end_stream());
    let kept = goes_on && !has_body;
    let mut exchange = Exchange { services, peer, request_id, head, route: None, kept, record };
    let matched = Route::find(exchange.head.uri.path());
    exchange.route = matched.map(|matched| matched.spec);
    match admit(&exchange.peer, &exchange.head, &scan, matched) {
        Err(refused) => Answering::Now(exchange.end(Err(refused))),
        Ok(matched) if matched.spec.route == Route::Token && body.is_end_stream() => {
            let query = exchange.head.uri.query().unwrap_or_default();
            let (user, selector, options) = match asked_for(services, &exchange.peer, matched.user, query) {
                Ok(asked) => asked,
                Err(refused) => return Answering::Now(exchange.end(Err(refused))),
            };
            let flow = exchange.peer.flow();
            if let Lookup::Known(Some(answer)) = services.cache.token_at(now, flow, &user, &selector, options)
            {
                let outcome = answer.map_err(ApiError::Lookup);
                let outcome = outcome
                    .and_then(|served| found(services, &user, &selector, &served, &mut exchange.record));
                return Answering::Now(exchange.end(outcome));
            }
            Answering::Later(Box::pin(async move {
                let outcome = token(services, flow, &user, &selector, options, &mut exchange.record).await;
                exchange.end(outcome)
            }))
        }
        Ok(_) => Answering::Later(Box::pin(async move {
            let outcome = match read(body).await {
                Ok(body) => {
                    exchange.kept = goes_on;
                    exchange.handle(&body).await
                }
                Err(refused) => Err(refused),
            };
            exchange.end(outcome)
        })),
    }
}

/// A request and what has become known of it.
struct Exchange<'a> {
    services: &'a Services,
    peer: Cow<'a, Arc<Peer>>,
    request_id: RequestId,
    head: Parts,
    route: Option<&'static RouteSpec>,
    /// The connection goes on after the answer.
    kept: bool,
    record: AuditRecord,
}

impl Exchange<'_> {
    /// The answer with this outcome: counted, and told to the logs.
    fn end(self, outcome: Result<Reply, ApiError>) -> Response<Full<Bytes>> {
        let Self { services, peer, request_id, head, route: found, kept, record } = self;
        let route = found.map_or("none", |spec| spec.name);
        let refusal = outcome.as_ref().err().map(Refusal::of);
        let uid = peer.rights.caller().uid;
        let reply = outcome.unwrap_or_else(|refused| {
            services.tally.refused(&refused);
            let trace_id = trace::shown(trace::of(&head.headers));
            tracing::debug!(route, uid, code = refused.code(), %request_id, trace_id, "ApiError");
            refused.reply(request_id.as_str(), head.uri.path())
        });
        let status = reply.status();
        services.tally.answered(found, status);
        tracing::trace!(route, uid, status, %request_id, "Answered");
        let over = Completed {
            route: found,
            uri: &head.uri,
            refusal,
            status,
            request_id: &request_id,
            headers: &head.headers,
        };
        record.end(services, &peer, over);
        reply.into_response(request_id.header(), kept.then_some(KEPT))
    }
}

/// Answers what anybody may ask for, and nothing else: for [`crate::admin`], which keeps connections for as long as
/// `kept` says.
pub fn answer_openly<B: Body>(
    services: &Services,
    request: &Request<B>,
    kept: HeaderValue,
) -> Response<Full<Bytes>> {
    let request_id = services.next_request_id();
    let spec = Route::find(request.uri().path()).map(|matched| matched.spec).filter(|spec| spec.is_probe);
    let outcome = match spec {
        None => Err(ApiError::NotOpen),
        Some(spec) if !spec.takes(request.method()) => Err(ApiError::Method(spec)),
        Some(RouteSpec { route: Route::Started, .. }) => Ok(response::probe(services.started())),
        Some(RouteSpec { route: Route::Ready, .. }) => Ok(response::probe(services.ready())),
        Some(RouteSpec { route: Route::Metrics, .. }) => Ok(metrics(services, request.headers())),
        Some(_) => Ok(response::probe(Ok(Cow::Borrowed("live")))),
    };
    let reply = outcome.unwrap_or_else(|refused| refused.reply(request_id.as_str(), request.uri().path()));
    services.tally.answered(spec, reply.status());
    let is_kept = goes_on(request.version(), request.headers()) && request.body().is_end_stream();
    reply.into_response(request_id.header(), is_kept.then_some(kept))
}

/// Everything that is decided before anything of the request's parameters is looked at.
fn admit<'a>(
    peer: &Peer,
    head: &Parts,
    scan: &HeaderScan,
    matched: Option<Matched<'a>>,
) -> Result<Matched<'a>, ApiError> {
    scan.check(head)?;
    let needs_header = peer.require_request_header && !matched.is_some_and(|matched| matched.spec.is_probe);
    if needs_header && !scan.is_meant() {
        return Err(ApiError::NoRequestHeader { is_there: scan.has_request_header() });
    }
    let matched = matched.ok_or(ApiError::NoRoute)?;
    if !matched.spec.takes(&head.method) {
        return Err(ApiError::Method(matched.spec));
    }
    if let Some(operation) = matched.spec.operation {
        peer.rights.may(operation).map_err(ApiError::Forbidden)?;
    }
    Ok(matched)
}

/// Whether `peer` may do this to this user through this connection, and now. Decided before anything is looked up.
fn permit(
    services: &Services,
    peer: &Peer,
    operation: Operation,
    user: Option<&UserId>,
    connection: Option<&str>,
) -> Result<Allowed, ApiError> {
    let request = policy::Request { operation, user, connection };
    let allowed = peer.rights.decide(request).map_err(ApiError::Forbidden)?;
    // Whoever shows a user's own token has been counted before that was verified.
    if operation.is_lookup() && operation != Operation::Me {
        count(services, peer, &allowed.rates)?;
    }
    Ok(allowed)
}

/// Counts a lookup of `peer` under each of these rules.
fn count(services: &Services, peer: &Peer, rates: &[(usize, f64)]) -> Result<(), ApiError> {
    if rates.is_empty() {
        // Most rules have none, and then nobody needs to know what time it is.
        return Ok(());
    }
    let (uid, now) = (peer.rights.caller().uid, services.clock.now());
    rates.iter().try_for_each(|(rule, rate)| {
        let taken = peer.rates.take(*rule, uid, *rate, now);
        taken.map_err(|retry_after| ApiError::TooOften { retry_after })
    })
}

/// The lookup of a token that a request asks for, if that is permitted.
fn asked_for(
    services: &Services,
    peer: &Peer,
    segment: &str,
    query: &str,
) -> Result<(UserId, Selector, LookupOptions), ApiError> {
    let (user, (mut selector, options)) = (user(segment)?, token_query(query)?);
    let allowed = permit(services, peer, Operation::Token, Some(&user), selector.connection.as_deref())?;
    selector.within = allowed.connections;
    Ok((user, selector, options))
}

impl Exchange<'_> {
    async fn handle(&mut self, body: &[u8]) -> Result<Reply, ApiError> {
        let Self { services, peer, head, record, .. } = self;
        let matched = Route::find(head.uri.path()).ok_or(ApiError::NoRoute)?;
        handle(services, peer, matched, head, body, record).await
    }
}

async fn handle(
    services: &Services,
    peer: &Peer,
    matched: Matched<'_>,
    head: &Parts,
    body: &[u8],
    record: &mut AuditRecord,
) -> Result<Reply, ApiError> {
    let query = head.uri.query().unwrap_or_default();
    let (route, segment) = (matched.spec.route, matched.user);
    if !matches!(route, Route::Token | Route::MyToken) {
        nothing(query)?;
    }
    let permit = |operation, user, connection| permit(services, peer, operation, user, connection);
    match route {
        Route::Token => {
            let (user, selector, options) = asked_for(services, peer, segment, query)?;
            token(services, peer.flow(), &user, &selector, options, record).await
        }
        Route::Identities => {
            let user = user(segment)?;
            let within = permit(Operation::Identities, Some(&user), None)?.connections;
            identities(services, peer.flow(), &user, &Selector { within, ..Selector::default() }, record)
                .await
        }
        Route::MyToken => {
            let (mut selector, options) = token_query(query)?;
            count(services, peer, &peer.rights.rates(Operation::Me))?;
            let user = me(services, peer.flow(), &head.headers).await?;
            record.user = Some(user.clone());
            selector.within = permit(Operation::Me, Some(&user), selector.connection.as_deref())?.connections;
            token(services, peer.flow(), &user, &selector, options, record).await
        }
        Route::MyIdentities => {
            count(services, peer, &peer.rights.rates(Operation::Me))?;
            let user = me(services, peer.flow(), &head.headers).await?;
            record.user = Some(user.clone());
            let within = permit(Operation::Me, Some(&user), None)?.connections;
            identities(services, peer.flow(), &user, &Selector { within, ..Selector::default() }, record)
                .await
        }
        Route::Report => {
            let (user, fingerprint) = (user(segment)?, fingerprint(body)?);
            let within = permit(Operation::Report, Some(&user), None)?.connections;
            report(
                services,
                peer.flow(),
                &user,
                fingerprint,
                &Selector { within, ..Selector::default() },
                record,
            )
        }
        Route::User => {
            let user = user(segment)?;
            permit(Operation::Purge, Some(&user), None)?;
            services.cache.purge(&user);
            Ok(response::done())
        }
        Route::Users => {
            permit(Operation::Purge, None, None)?;
            services.cache.purge_all();
            Ok(response::done())
        }
        Route::ManagementToken => {
            permit(Operation::ManagementToken, None, None)?;
            management_token(services).await
        }
        Route::Reload => {
            permit(Operation::Reload, None, None)?;
            reload(services).await
        }
        Route::Status => Ok(response::ok(&services.status())),
        Route::OpenApi => Ok(response::document(include_str!("openapi.json"))),
        Route::Metrics => Ok(metrics(services, &head.headers)),
        Route::Live => Ok(response::probe(Ok(Cow::Borrowed("live")))),
        Route::Started => Ok(response::probe(services.started())),
        Route::Ready => Ok(response::probe(services.ready())),
    }
}

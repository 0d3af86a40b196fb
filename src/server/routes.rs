//! The route table, and what is decided before a handler is asked.
//!
//! A request passes, in this order: header bounds, headers of requests that were sent on, the request header, the
//! route and its method, the caller's rights, and only then its parameters. Whoever may not ask learns
//! nothing about users, not even whether an id is well-formed.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use crate::domain::policy::{self, Allowed, Operation};
use crate::domain::user::{Selector, UserId};

use super::Services;
use super::bounds::{Shown, read};
use super::handlers::{identities, management_token, me, metrics, reload, report, token};
use super::head::Reply;
use super::peer::Peer;
use super::query::{fingerprint, nothing, token_query, user};
use super::reply::{self, Refused};
use super::trace;
use super::trail::{Over, Refusal, Trail};

/// The routes' paths, as metrics name them.
pub const TEMPLATES: [&str; 15] = [
    "/v1/users/{user_id}/token",
    "/v1/users/{user_id}/identities",
    "/v1/me/token",
    "/v1/me/identities",
    "/v1/users/{user_id}/report",
    "/v1/users/{user_id}",
    "/v1/users",
    "/v1/management-token",
    "/v1/status",
    "/v1/reload",
    "/livez",
    "/readyz",
    "/startupz",
    "/metrics",
    "/openapi.json",
];

/// Where a request leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/v1/users/{user_id}/token`
    Token(&'a str),
    /// `/v1/users/{user_id}/identities`
    Identities(&'a str),
    /// `/v1/me/token`
    MyToken,
    /// `/v1/me/identities`
    MyIdentities,
    /// `/v1/users/{user_id}/report`
    Report(&'a str),
    /// `/v1/users/{user_id}`
    User(&'a str),
    /// `/v1/users`
    Users,
    /// `/v1/management-token`
    ManagementToken,
    /// `/v1/status`
    Status,
    /// `/v1/reload`
    Reload,
    /// `/livez`
    Live,
    /// `/readyz`
    Ready,
    /// `/startupz`
    Started,
    /// `/metrics`
    Metrics,
    /// `/openapi.json`
    OpenApi,
}

impl<'a> Route<'a> {
    /// The route of a path; the segment of a user id is not decoded yet.
    pub fn find(path: &'a str) -> Option<Self> {
        let Some(rest) = path.strip_prefix("/v1/users/") else { return Self::without_user(path) };
        let route = if let Some(user) = rest.strip_suffix("/token") {
            Self::Token(user)
        } else if let Some(user) = rest.strip_suffix("/identities") {
            Self::Identities(user)
        } else if let Some(user) = rest.strip_suffix("/report") {
            Self::Report(user)
        } else {
            Self::User(rest)
        };
        // An id is one segment.
        route.user().is_some_and(|user| !user.contains('/')).then_some(route)
    }

    fn without_user(path: &str) -> Option<Self> {
        Some(match path {
            "/v1/users" => Self::Users,
            "/v1/me/token" => Self::MyToken,
            "/v1/me/identities" => Self::MyIdentities,
            "/v1/management-token" => Self::ManagementToken,
            "/v1/status" => Self::Status,
            "/v1/reload" => Self::Reload,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/startupz" => Self::Started,
            "/metrics" => Self::Metrics,
            "/openapi.json" => Self::OpenApi,
            _ => return None,
        })
    }

    /// Its place among [`TEMPLATES`].
    pub fn number(&self) -> usize {
        match self {
            Self::Token(_) => 0,
            Self::Identities(_) => 1,
            Self::MyToken => 2,
            Self::MyIdentities => 3,
            Self::Report(_) => 4,
            Self::User(_) => 5,
            Self::Users => 6,
            Self::ManagementToken => 7,
            Self::Status => 8,
            Self::Reload => 9,
            Self::Live => 10,
            Self::Ready => 11,
            Self::Started => 12,
            Self::Metrics => 13,
            Self::OpenApi => 14,
        }
    }

    /// The one method the route takes.
    pub fn method(&self) -> Method {
        match self {
            Self::User(_) | Self::Users => Method::DELETE,
            Self::Report(_) | Self::Reload => Method::POST,
            _ => Method::GET,
        }
    }

    /// The operation a caller needs the right to; none for what tells nothing.
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::Token(_) => Some(Operation::Token),
            Self::Identities(_) => Some(Operation::Identities),
            Self::MyToken | Self::MyIdentities => Some(Operation::Me),
            Self::Report(_) => Some(Operation::Report),
            Self::User(_) | Self::Users => Some(Operation::Purge),
            Self::ManagementToken => Some(Operation::ManagementToken),
            Self::Status => Some(Operation::Status),
            Self::Reload => Some(Operation::Reload),
            Self::Live | Self::Ready | Self::Started | Self::Metrics | Self::OpenApi => None,
        }
    }

    /// The segment that names the user it is about.
    pub fn user(&self) -> Option<&'a str> {
        match self {
            Self::Token(user) | Self::Identities(user) | Self::Report(user) | Self::User(user) => Some(user),
            _ => None,
        }
    }

    fn is_probe(&self) -> bool {
        matches!(self, Self::Live | Self::Ready | Self::Started | Self::Metrics)
    }

    /// As log lines name it, without the user.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Identities(_) => "identities",
            Self::MyToken => "me_token",
            Self::MyIdentities => "me_identities",
            Self::Report(_) => "report",
            Self::User(_) | Self::Users => "purge",
            Self::ManagementToken => "management_token",
            Self::Status => "status",
            Self::Reload => "reload",
            Self::Live => "livez",
            Self::Ready => "readyz",
            Self::Started => "startupz",
            Self::Metrics => "metrics",
            Self::OpenApi => "openapi",
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_own_template() {
        for (number, template) in TEMPLATES.iter().enumerate() {
            assert_eq!(Route::find(template).map(|route| route.number()), Some(number), "{template}");
        }
    }

    #[test]
    fn the_route_table() {
        let cases = [
            ("/v1/users/a%7Cb/token", Some(Route::Token("a%7Cb"))),
            ("/v1/users/a%2Fb/identities", Some(Route::Identities("a%2Fb"))),
            ("/v1/users/a", Some(Route::User("a"))),
            ("/v1/users", Some(Route::Users)),
            ("/v1/users/", Some(Route::User(""))),
            ("/v1/users//token", Some(Route::Token(""))),
            ("/v1/users/a/b/token", None),
            ("/v1/users/token", Some(Route::User("token"))),
            ("/v1/users/a/b", None),
            ("/v1/users/a/b/report", None),
            ("/v1/usersa", None),
            ("/v1/users/a/token/", None),
            ("/v1/management-token", Some(Route::ManagementToken)),
            ("/v1/me/token", Some(Route::MyToken)),
            ("/v1/me/identities", Some(Route::MyIdentities)),
            ("/v1/me", None),
            ("/v1/me/report", None),
            ("/v1/me/token/", None),
            ("/v1/status", Some(Route::Status)),
            ("/v1/reload", Some(Route::Reload)),
            ("/v1", None),
            ("/", None),
            ("*", None),
            ("//livez", None),
            ("/livez", Some(Route::Live)),
            ("/metrics", Some(Route::Metrics)),
            ("/readyz", Some(Route::Ready)),
            ("/startupz", Some(Route::Started)),
            ("/openapi.json", Some(Route::OpenApi)),
        ];
        for (path, route) in cases {
            assert_eq!(Route::find(path), route, "{path}");
        }
    }
}

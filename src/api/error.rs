//! Maps each error of the interface to its row in `error/table.rs`, and writes the answer.

use std::time::Duration;

use hyper::header::{ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::domain::claims::InvalidUserToken;
use crate::domain::error::{FailureClass, LookupError, Stage, Unavailable};
use crate::domain::policy::Denied;
use crate::domain::retry::whole_seconds;
use crate::domain::source::{SourceError, SourceFailure, SourceProblem};
use crate::domain::target::TargetFault;
use crate::management::calls::ManagementCallFailure;
use crate::user_token::NotVerified;

use super::auth0_error;
use super::hints;
use super::proxy::framing::FramingFault;
use super::response::{Reply, json};
use super::route::{ANY_METHOD, RouteSpec};
use super::types::{AuthorizeRequest, Problem};

mod code;
mod lookups;
mod rows;
mod spec;
mod table;

#[cfg(feature = "schema")]
pub(super) use code::names;
use lookups::{ask_again_after, connections, lookup_detail, lookup_kind, management_call_kind, source_kind};
pub use spec::ErrorSpec;
pub use table::Code;

/// Why a request fails.
#[derive(Debug)]
pub enum ApiError {
    /// A part of the request is wrong.
    InvalidRequest {
        /// The query parameter, path part or header.
        parameter: String,
        /// What is wrong with it, and what would be right.
        detail: String,
    },
    /// No rule permits this to the client.
    Forbidden(Denied),
    /// `Cloakroom-Request: true` is missing.
    NoRequestHeader {
        /// The header has another value.
        is_there: bool,
    },
    /// The request has this header, which proxies or browsers add.
    Forwarded(HeaderName),
    /// No such route.
    NoRoute,
    /// The route exists on Unix sockets only.
    NotOpen,
    /// A route that the configuration has not turned on.
    MeIsOff,
    /// The configuration names no API that calls may go to.
    ProxyIsOff,
    /// The user token is not accepted.
    UserToken(InvalidUserToken),
    /// This route does not take this method.
    Method(&'static RouteSpec),
    /// Too many header fields, or too long ones.
    HeadersTooLarge,
    /// A body of more than 64 KiB.
    BodyTooLarge,
    /// The body did not come in time.
    Timeout,
    /// The target of a call is ambiguous, or says more than which resource is meant.
    Target(TargetFault),
    /// The head of a call cannot be sent on as it is.
    Framing(FramingFault),
    /// The body of a call has more bytes than are allowed.
    RequestTooLarge {
        /// The limit in bytes.
        limit: u64,
        /// Whether no key of the configuration changes it.
        is_fixed: bool,
    },
    /// No further part of a call's body came in time.
    BodyStalled {
        /// The time limit.
        limit: Duration,
        /// Whether no key of the configuration changes it.
        is_fixed: bool,
    },
    /// The body of a call broke off.
    BodyBroken,
    /// The token cannot be sent as a bearer token.
    ProviderUnsupported,
    /// As many calls are under way as are allowed.
    NoStream,
    /// A call of the Management API has no answer.
    ManagementCall(ManagementCallFailure),
    /// Auth0 did not answer a call of the Management API in time.
    ManagementApiLate,
    /// The client exceeds the rate of its rule.
    TooOften {
        /// When there is room for one more.
        retry_after: Duration,
    },
    /// The lookup has no answer to give.
    Lookup(LookupError),
    /// The token that was found lacks scopes that the request names.
    InsufficientScope(InsufficientScope),
    /// What refreshes need could not be forgotten.
    NotForgotten(SourceFailure),
    /// The configuration that was read again is wrong; each of its problems.
    Configuration(Vec<String>),
    /// The client's uid, or the uids that share its limit, has as many connections as are allowed.
    NoRoom,
    /// The shutdown's deadline has come.
    Draining,
}

/// A token, and the scopes that it lacks.
#[derive(Debug)]
pub struct InsufficientScope {
    /// The connection of its identity.
    pub connection: String,
    /// The scopes that it lacks.
    pub missing: Vec<String>,
    /// The scopes that it has, separated by spaces.
    pub scopes: String,
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        Self::Lookup(error)
    }
}

impl From<NotVerified> for ApiError {
    fn from(why: NotVerified) -> Self {
        match why {
            NotVerified::Invalid(why) => Self::UserToken(why),
            NotVerified::Unavailable(why) => Self::Lookup(LookupError::Unavailable(why)),
        }
    }
}

impl ApiError {
    /// The row of the table.
    pub fn kind(&self) -> Code {
        match self {
            Self::InvalidRequest { .. } => Code::InvalidRequest,
            Self::Forbidden(_) => Code::Forbidden,
            Self::NoRequestHeader { .. } => Code::RequestHeaderRequired,
            Self::Forwarded(_) => Code::ForwardedRequest,
            Self::NoRoute | Self::NotOpen | Self::MeIsOff | Self::ProxyIsOff => Code::RouteNotFound,
            Self::UserToken(_) => Code::InvalidUserToken,
            Self::Method(_) => Code::MethodNotAllowed,
            Self::HeadersTooLarge => Code::HeadersTooLarge,
            Self::BodyTooLarge | Self::RequestTooLarge { .. } => Code::BodyTooLarge,
            Self::Timeout | Self::BodyStalled { .. } => Code::RequestTimeout,
            Self::Target(TargetFault::AmbiguousPath(_)) => Code::AmbiguousPath,
            Self::Target(TargetFault::MethodOverride) => Code::MethodOverride,
            Self::Target(TargetFault::CredentialInQuery) => Code::CredentialInQuery,
            Self::Framing(FramingFault::Method) => Code::MethodNotAllowed,
            Self::Framing(FramingFault::Upgrade) => Code::UpgradeUnsupported,
            Self::Framing(FramingFault::MethodOverride) => Code::MethodOverride,
            Self::Framing(_) => Code::InvalidRequest,
            Self::BodyBroken => Code::InvalidRequest,
            Self::ManagementCall(failure) => management_call_kind(failure),
            Self::ManagementApiLate => Code::UpstreamTimeout,
            Self::ProviderUnsupported => Code::ProviderUnsupported,
            Self::Draining => Code::Draining,
            Self::NoRoom | Self::NoStream => Code::Overloaded,
            Self::Configuration(_) => Code::InvalidConfiguration,
            Self::TooOften { .. } => Code::RateLimited,
            Self::InsufficientScope(_) => Code::InsufficientScope,
            Self::NotForgotten(failure) => source_kind(failure),
            Self::Lookup(error) => lookup_kind(error),
        }
    }

    /// The cause and the fix, of a request for `path`, of which nothing is repeated.
    fn detail(&self, path: &str) -> String {
        match self {
            Self::InvalidRequest { detail, .. } => detail.clone(),
            Self::Forbidden(denied) => denied.to_string(),
            Self::NoRequestHeader { is_there: true } => {
                "the header `Cloakroom-Request` has a value other than `true`: send `Cloakroom-Request: true`".into()
            }
            Self::NoRequestHeader { is_there: false } => {
                "send the header `Cloakroom-Request: true`; it shows that the request is meant for this daemon".into()
            }
            Self::Forwarded(name) => {
                format!("the request has the header `{name}`: connect to the socket directly, not through a proxy or a browser")
            }
            Self::NoRoute => hints::of_path(path).into_owned(),
            Self::NotOpen => {
                "over TCP only /livez, /readyz, /startupz and /metrics are answered; connect to the Unix socket for the rest"
                    .into()
            }
            Self::MeIsOff => "/v1/me is off: set [me] audiences in the daemon's configuration to turn it on".into(),
            Self::ProxyIsOff => {
                "calls of providers' APIs are off: an operator has to add [[proxy]] to the configuration".into()
            }
            Self::UserToken(why) => why.to_string(),
            Self::Method(route) => hints::of_method(route).into_owned(),
            Self::HeadersTooLarge => "send at most 64 header fields and 16 KiB of them, the request line included".into(),
            Self::BodyTooLarge => "send at most 64 KiB".into(),
            Self::Target(fault) => fault.to_string(),
            Self::Framing(fault) => fault.detail().into(),
            Self::RequestTooLarge { limit, is_fixed: true } => {
                format!("send at most {limit} bytes, which is a fixed limit")
            }
            Self::RequestTooLarge { limit, is_fixed: false } => {
                format!("send at most {limit} bytes, or raise request_bytes of the [[proxy]]")
            }
            Self::BodyStalled { limit, is_fixed } => {
                let remedy = if *is_fixed { "" } else { ", or raise idle_timeout of the [[proxy]]" };
                format!("no further part of the body came within {} s: send it without pauses{remedy}", limit.as_secs())
            }
            Self::BodyBroken => {
                "the body broke off, or its chunks are malformed; the API that is called may have received a part".into()
            }
            Self::ProviderUnsupported => {
                "the provider's token is of OAuth 1, or is not text that a header can carry: ask for the token and call the \
                 provider directly"
                    .into()
            }
            Self::ManagementCall(failure) => failure.to_string(),
            Self::ManagementApiLate => "Auth0 did not answer the call, or did not read its body, within 30 s".into(),
            Self::NoStream => {
                "as many calls are under way as listener.max_streams allows, or this uid's share of them: retry when others \
                 have ended"
                    .into()
            }
            Self::Timeout => "send the whole header section within 5 s, and the whole body within another 5 s".into(),
            Self::NoRoom => {
                "this uid, or all uids that share its limit, has as many connections open as are allowed: use one \
                 connection for many requests, and retry when others are closed"
                    .into()
            }
            Self::Draining => "retry: the daemon's successor will answer".into(),
            Self::InsufficientScope(InsufficientScope { connection, missing, .. }) => format!(
                "the token of {connection} lacks {}: send the user through a login with the parameters in `request`",
                missing.join(", ")
            ),
            Self::NotForgotten(failure) => failure.to_string(),
            Self::Configuration(problems) => problems.join("\n"),
            Self::TooOften { .. } => {
                "the rate of the rule that permits this client's requests is used up: retry later, or raise the rate".into()
            }
            Self::Lookup(error) => lookup_detail(error, path),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Draining | Self::NoRoom | Self::NoStream => Some(1),
            Self::TooOften { retry_after } => Some(whole_seconds(*retry_after)),
            Self::Lookup(LookupError::Overloaded) => Some(1),
            Self::Lookup(
                LookupError::LoginRequired { retry_after, .. }
                | LookupError::ConnectRequired { retry_after }
                | LookupError::MinTtlUnsatisfiable { retry_after, .. }
                | LookupError::RateLimited { retry_after },
            ) => Some(whole_seconds(*retry_after)),
            Self::Lookup(LookupError::Source(SourceError {
                problem: SourceProblem::Unavailable { retry_after, .. },
                ..
            })) => Some(whole_seconds(*retry_after)),
            Self::NotForgotten(_) => Some(1),
            Self::Lookup(LookupError::Unavailable(unavailable)) => {
                Some(whole_seconds(ask_again_after(unavailable)))
            }
            Self::ManagementCall(failure) => failure.retry_after().map(whole_seconds),
            _ => None,
        }
    }

    /// The answer that says so to a client of the Management API, in Auth0's own shape.
    pub fn auth0_reply(&self, path: &str) -> Reply {
        let spec = self.kind().spec();
        let body = auth0_error::body(spec, &self.detail(path));
        let reply = Reply::new(spec.status, "application/json; charset=utf-8", body.into());
        match self {
            Self::ManagementCall(failure) => auth0_error::headers(failure)
                .into_iter()
                .fold(reply, |reply, (name, value)| reply.with(name, value)),
            _ => self.with_headers(reply),
        }
    }

    fn problem(&self, spec: &ErrorSpec, request_id: &str, path: &str) -> Problem {
        let mut problem = Problem {
            kind: format!("urn:cloakroom:problem:{}", spec.name),
            title: spec.title.into(),
            status: spec.status.as_u16(),
            code: spec.name.into(),
            detail: self.detail(path),
            request_id: request_id.into(),
            ..Problem::default()
        };
        match self {
            Self::InvalidRequest { parameter, .. } => problem.parameter = Some(parameter.clone()),
            Self::BodyBroken => problem.parameter = Some("body".into()),
            Self::Configuration(problems) => problem.problems = Some(problems.clone()),
            Self::Lookup(LookupError::IdentityNotFound(connections)) => {
                problem.connections = Some(connections.clone());
            }
            Self::Lookup(LookupError::Ambiguous(candidates)) => {
                problem.connections = Some(connections(candidates));
                problem.identities = Some(candidates.iter().map(Into::into).collect());
            }
            Self::Lookup(LookupError::LoginRequired { reason, expired_at, .. }) => {
                problem.reason = Some(reason.as_str().into());
                problem.expired_at = expired_at.map(|at| at.to_string());
            }
            Self::InsufficientScope(InsufficientScope { connection, missing, scopes }) => {
                let held = scopes.split(' ').map(str::to_owned);
                let wanted: Vec<String> = held.clone().chain(missing.iter().cloned()).collect();
                problem.request = Some(AuthorizeRequest {
                    connection: connection.clone(),
                    connection_scope: wanted.join(","),
                });
                (problem.missing, problem.scopes) = (Some(missing.clone()), Some(held.collect()));
            }
            Self::Lookup(LookupError::Source(SourceError {
                problem: SourceProblem::Misconfigured(_),
                ..
            })) => problem.permanent = Some(true),
            Self::Lookup(LookupError::MinTtlUnsatisfiable { left, .. }) => {
                problem.expires_in = Some(left.as_secs());
            }
            Self::Lookup(LookupError::Unavailable(Unavailable {
                stage: Stage::ManagementToken,
                failure,
                ..
            })) => {
                problem.permanent = Some(failure.class() == FailureClass::Permanent);
            }
            _ => {}
        }
        problem
    }

    /// The answer that says so, to a request for `path`.
    pub fn reply(&self, request_id: &str, path: &str) -> Reply {
        let spec = self.kind().spec();
        self.with_headers(json(
            spec.status,
            "application/problem+json",
            &self.problem(spec, request_id, path),
        ))
    }

    /// `reply` with the headers that belong to the error.
    fn with_headers(&self, mut reply: Reply) -> Reply {
        if let Some(seconds) = self.retry_after() {
            reply = reply.with(RETRY_AFTER, seconds.into());
        }
        let allowed = match self {
            Self::Method(route) => Some(route.allow()),
            Self::Framing(FramingFault::Method) => Some(ANY_METHOD),
            _ => None,
        };
        if let Some(allowed) = allowed {
            reply = reply.with(ALLOW, HeaderValue::from_static(allowed));
        }
        if self.ends_connection() {
            reply = reply.with(CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Self::UserToken(_)) {
            reply = reply.with(WWW_AUTHENTICATE, INVALID_TOKEN);
        }
        reply
    }

    /// Whether the connection is closed after the answer.
    pub fn ends_connection(&self) -> bool {
        match self {
            // What is left of the body is not read.
            Self::BodyTooLarge | Self::Timeout => true,
            Self::RequestTooLarge { .. } | Self::BodyStalled { .. } | Self::BodyBroken => true,
            Self::Framing(fault) => fault.ends_connection(),
            _ => false,
        }
    }

    /// The bytes of a whole answer, for a connection that no request is answered on. To HEAD it has no body.
    pub fn raw(&self, request_id: &str, with_body: bool) -> String {
        let spec = self.kind().spec();
        let body = serde_json::to_string(&self.problem(spec, request_id, "")).unwrap_or_default();
        let retry_after = self.retry_after().map(|seconds| format!("retry-after: {seconds}\r\n"));
        format!(
            "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
             cloakroom-request-id: {request_id}\r\n{}connection: close\r\ncontent-length: {}\r\n\r\n{}",
            spec.status,
            retry_after.unwrap_or_default(),
            body.len(),
            if with_body { &body } else { "" }
        )
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.kind().spec().status.as_u16()
    }

    /// The code, for log lines.
    pub fn code(&self) -> &'static str {
        self.kind().spec().name
    }
}

/// As RFC 6750 §3 has it.
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");

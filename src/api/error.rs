//! Errors of the interface: the only place that gives each its status, code, title and detail.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::domain::claims::InvalidUserToken;
use crate::domain::error::{FailureClass, LookupError, Stage, Unavailable};
use crate::domain::policy::Denied;
use crate::domain::retry::whole_seconds;
use crate::user_token::NotVerified;

use super::hints;
use super::response::{Reply, json};
use super::route::Route;
use super::types::Problem;

mod lookups;

use lookups::{ask_again_after, connections, lookup_detail, lookup_kind};

/// Why a request is not answered with what it asks for.
#[derive(Debug)]
pub enum ApiError {
    /// A part of the request is wrong.
    InvalidRequest {
        /// The query parameter, path part or header.
        parameter: String,
        /// What is wrong with it, and what would be right.
        detail: String,
    },
    /// The caller may not do this.
    Forbidden(Denied),
    /// `Cloakroom-Request: true` is missing.
    NoRequestHeader {
        /// The header is there, and says something else.
        is_there: bool,
    },
    /// It bears a header of requests that were sent on for somebody else; this one.
    Forwarded(HeaderName),
    /// No such route.
    NoRoute,
    /// No such route over TCP.
    NotOpen,
    /// A route that the configuration has not turned on.
    MeIsOff,
    /// The end user's own token is no good.
    UserToken(InvalidUserToken),
    /// This route does not take this method.
    Method(Route<'static>),
    /// Too many header fields, or too long ones.
    HeadersTooLarge,
    /// A body of more than 64 KiB.
    BodyTooLarge,
    /// The body did not come in time.
    Timeout,
    /// The caller asks more often than its rule allows.
    TooOften {
        /// When there is room for one more.
        retry_after: Duration,
    },
    /// The lookup has no answer to give.
    Lookup(LookupError),
    /// The configuration that was read again is wrong; each of its problems.
    Configuration(Vec<String>),
    /// The caller, or those like it together, have as many connections as they may have.
    NoRoom,
    /// The daemon is about to end.
    Draining,
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

/// Status, code and title of an error: the first three columns of the table in README.
type Kind = (StatusCode, &'static str, &'static str);

impl ApiError {
    fn kind(&self) -> Kind {
        use StatusCode as S;
        match self {
            Self::InvalidRequest { .. } => (S::BAD_REQUEST, "invalid_request", "The request is malformed"),
            Self::Forbidden(_) => (S::FORBIDDEN, "forbidden", "This caller may not do this"),
            Self::NoRequestHeader { .. } => {
                (S::FORBIDDEN, "request_header_required", "The request header is missing")
            }
            Self::Forwarded(_) => {
                (S::FORBIDDEN, "forwarded_request", "The request was sent on for somebody else")
            }
            Self::NoRoute | Self::NotOpen | Self::MeIsOff => {
                (S::NOT_FOUND, "route_not_found", "There is no such route")
            }
            Self::UserToken(_) => {
                (S::UNAUTHORIZED, "invalid_user_token", "The user's own token is not accepted")
            }
            Self::Method(_) => {
                (S::METHOD_NOT_ALLOWED, "method_not_allowed", "The route does not take this method")
            }
            Self::HeadersTooLarge => {
                (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "The header section is too large")
            }
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large"),
            Self::Timeout => (S::REQUEST_TIMEOUT, "request_timeout", "The request did not come in time"),
            Self::Draining => (S::SERVICE_UNAVAILABLE, "draining", "The daemon is shutting down"),
            Self::NoRoom => (S::SERVICE_UNAVAILABLE, "overloaded", "Too many connections are open"),
            Self::Configuration(_) => {
                (S::UNPROCESSABLE_ENTITY, "invalid_configuration", "The configuration is wrong")
            }
            Self::TooOften { .. } => (S::TOO_MANY_REQUESTS, "rate_limited", "This caller asks too often"),
            Self::Lookup(error) => lookup_kind(error),
        }
    }

    /// `path` is what was asked for, of which nothing is repeated.
    fn detail(&self, path: &str) -> String {
        match self {
            Self::InvalidRequest { detail, .. } => detail.clone(),
            Self::Forbidden(denied) => denied.to_string(),
            Self::NoRequestHeader { is_there: true } => {
                "the header `Cloakroom-Request` is there, but its value is not `true`: send `Cloakroom-Request: true`".into()
            }
            Self::NoRequestHeader { is_there: false } => {
                "send the header `Cloakroom-Request: true`; it shows that the request was meant for this daemon".into()
            }
            Self::Forwarded(name) => {
                format!("the request bears the header `{name}`; call this daemon directly, not through a proxy or a browser")
            }
            Self::NoRoute => hints::of_path(path).into_owned(),
            Self::NotOpen => {
                "over TCP there are /livez, /readyz, /startupz and /metrics alone; ask the Unix socket for the rest".into()
            }
            Self::MeIsOff => "/v1/me is off: [me] audiences in the daemon's configuration turns it on".into(),
            Self::UserToken(why) => why.to_string(),
            Self::Method(route) => hints::of_method(*route).into_owned(),
            Self::HeadersTooLarge => "send at most 64 header fields and 16 KiB of them, the request line included".into(),
            Self::BodyTooLarge => "send at most 64 KiB".into(),
            Self::Timeout => "send the whole header section within 5 seconds, and the whole body within another 5".into(),
            Self::NoRoom => {
                "this uid has as many connections open as it may have, or others like it together: use one for many \
                 requests, and ask again when others are closed"
                    .into()
            }
            Self::Draining => "ask again: its successor will answer".into(),
            Self::Configuration(problems) => problems.join("\n"),
            Self::TooOften { .. } => {
                "the rule that allows this caller's lookups has a rate, and it is used up: ask again later, or raise it".into()
            }
            Self::Lookup(error) => lookup_detail(error, path),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Draining | Self::NoRoom => Some(1),
            Self::TooOften { retry_after } => Some(whole_seconds(*retry_after)),
            Self::Lookup(LookupError::Overloaded) => Some(1),
            Self::Lookup(
                LookupError::LoginRequired { retry_after, .. }
                | LookupError::MinTtlUnsatisfiable { retry_after, .. }
                | LookupError::RateLimited { retry_after },
            ) => Some(whole_seconds(*retry_after)),
            Self::Lookup(LookupError::Unavailable(unavailable)) => {
                Some(whole_seconds(ask_again_after(unavailable)))
            }
            _ => None,
        }
    }

    fn problem(&self, (status, code, title): Kind, request_id: &str, path: &str) -> Problem {
        let mut problem = Problem {
            kind: format!("urn:cloakroom:problem:{code}"),
            title: title.into(),
            status: status.as_u16(),
            code: code.into(),
            detail: self.detail(path),
            request_id: request_id.into(),
            parameter: None,
            connections: None,
            identities: None,
            expired_at: None,
            expires_in: None,
            permanent: None,
            problems: None,
        };
        match self {
            Self::InvalidRequest { parameter, .. } => problem.parameter = Some(parameter.clone()),
            Self::Configuration(problems) => problem.problems = Some(problems.clone()),
            Self::Lookup(LookupError::IdentityNotFound(connections)) => {
                problem.connections = Some(connections.clone());
            }
            Self::Lookup(LookupError::Ambiguous(candidates)) => {
                problem.connections = Some(connections(candidates));
                problem.identities = Some(candidates.iter().map(Into::into).collect());
            }
            Self::Lookup(LookupError::LoginRequired { expired_at, .. }) => {
                problem.expired_at = expired_at.map(|at| at.to_string());
            }
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
        let kind = self.kind();
        let mut reply = json(kind.0, "application/problem+json", &self.problem(kind, request_id, path));
        if let Some(seconds) = self.retry_after() {
            reply = reply.with(RETRY_AFTER, seconds.into());
        }
        if let Self::Method(route) = self {
            reply = reply.with(ALLOW, HeaderValue::from_static(route.allow()));
        }
        if matches!(self, Self::BodyTooLarge | Self::Timeout) {
            // What is left of the body is not read.
            reply = reply.with(CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Self::UserToken(_)) {
            reply = reply.with(WWW_AUTHENTICATE, INVALID_TOKEN);
        }
        reply
    }

    /// The bytes of a whole answer, for a connection that no request is answered on. To HEAD it has no body.
    pub fn raw(&self, request_id: &str, with_body: bool) -> String {
        let kind = self.kind();
        let body = serde_json::to_string(&self.problem(kind, request_id, "")).unwrap_or_default();
        let retry_after = self.retry_after().map(|seconds| format!("retry-after: {seconds}\r\n"));
        format!(
            "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
             cloakroom-request-id: {request_id}\r\n{}connection: close\r\ncontent-length: {}\r\n\r\n{}",
            kind.0,
            retry_after.unwrap_or_default(),
            body.len(),
            if with_body { &body } else { "" }
        )
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.kind().0.as_u16()
    }

    /// The code, for log lines.
    pub fn code(&self) -> &'static str {
        self.kind().1
    }
}

/// As RFC 6750 §3 has it.
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");

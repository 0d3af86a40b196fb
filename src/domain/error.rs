//! Failures and lookup errors, and whether waiting helps.
//!
//! `api/error/table.rs` states the HTTP status of each error; `api/error.rs` and `api/error/lookups.rs` choose the row.
//!
//! The texts of [`Failure`] are safe to publish. They are built from the daemon's own configuration and a fixed set of
//! causes, never from what a peer sent, so they may appear in an answer, a log line or a terminal. Each names the cause
//! and, where there is one, the fix.

use std::sync::Arc;
use std::time::Duration;

mod connecting;
mod lookup;
mod of_provider;
mod refusal;

pub use connecting::{ProxyProblem, TlsProblem};
pub use lookup::LookupError;
pub use refusal::Refusal;

/// Why Auth0 gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Name resolution failed.
    #[error(
        "the host name {host} cannot be resolved: check tenant.domain, and that this machine can resolve names"
    )]
    UnknownHost {
        /// The tenant's domain, or the proxy's host.
        host: Arc<str>,
    },
    /// Name resolution failed, and a name server is link-local, which the packaged unit blocks.
    #[error(
        "the host name {host} cannot be resolved: the name server {server} in /etc/resolv.conf is link-local, which \
         IPAddressDeny=link-local in the systemd unit forbids: add the drop-in link-local-resolver.conf; where it is not \
         forbidden, check tenant.domain and that name server"
    )]
    LinkLocalResolver {
        /// The tenant's domain, or the proxy's host.
        host: Arc<str>,
        /// The name server, from `/etc/resolv.conf`.
        server: Arc<str>,
    },
    /// The host refused the connection.
    #[error("nothing listens at {host}: check tenant.domain and its port, and any proxy or firewall between")]
    Refused {
        /// Host and port.
        host: Arc<str>,
    },
    /// No connection within `tenant.connect_timeout`.
    #[error(
        "no connection to {host} within tenant.connect_timeout: check the network, the firewall, or set tenant.proxy"
    )]
    ConnectTimeout {
        /// Host and port.
        host: Arc<str>,
    },
    /// There is no route to the host, or connecting failed for another reason.
    #[error("{host} cannot be reached ({kind}): check the network between here and Auth0")]
    Unreachable {
        /// Host and port.
        host: Arc<str>,
        /// The kernel's error.
        kind: std::io::ErrorKind,
    },
    /// The TLS handshake failed.
    #[error("{host} is not trusted: {problem}")]
    Untrusted {
        /// Host and port.
        host: Arc<str>,
        /// The cause.
        problem: TlsProblem,
    },
    /// The host refuses the client's certificate in the TLS handshake.
    #[error(
        "{host} refuses the client's certificate: check that the certificate in the client's certificate_file is valid \
         now and from an authority that this host knows, and that the file has the intermediate certificates"
    )]
    CertificateRefused {
        /// Host and port.
        host: Arc<str>,
    },
    /// The proxy makes no connection to Auth0.
    #[error("the proxy {proxy} {problem}")]
    Proxy {
        /// The proxy's host and port.
        proxy: Arc<str>,
        /// The cause.
        problem: ProxyProblem,
    },
    /// The process or the machine has too few free file descriptors for resolving the name or connecting.
    #[error(
        "no file descriptor is left for a connection to {host}: raise LimitNOFILE= in the unit, or the container's limit of \
         open files, or lower listener.max_connections"
    )]
    NoDescriptors {
        /// Host and port.
        host: Arc<str>,
    },
    /// The name has only addresses that are not public.
    #[error("{host} has no public address: set allow_private = true in its [[proxy]], if that is meant")]
    PrivateAddress {
        /// Host and port.
        host: Arc<str>,
    },
    /// The connection broke before the answer was complete.
    #[error("{host} closed the connection before its answer was complete")]
    Broken {
        /// Host and port.
        host: Arc<str>,
    },
    /// No complete answer within `tenant.request_timeout`.
    #[error("{host} did not answer within tenant.request_timeout")]
    TimedOut {
        /// Host and port.
        host: Arc<str>,
    },
    /// 429.
    #[error("Auth0 says that the tenant's rate limit is reached")]
    Throttled {
        /// How long the answer asks to wait.
        retry_after: Option<Duration>,
    },
    /// The daemon's own budget for the tenant is exhausted.
    #[error(
        "the daemon's own budget for the tenant is exhausted: if that persists and the tenant allows more, raise the \
         limits in [upstream]"
    )]
    OverBudget {
        /// After how long a permit may be free.
        retry_after: Duration,
    },
    /// A status that the request does not expect.
    #[error("unexpected status {status} from Auth0")]
    Status {
        /// The status code.
        status: u16,
    },
    /// 400, 401 or 403 without an error of Auth0's: a host on the way to Auth0 answered. That says nothing about tokens
    /// or credentials.
    #[error(
        "status {status} did not come from Auth0: a proxy, a captive portal, or an edge that blocks this machine answered \
         in its place; check what is between this machine and tenant.domain"
    )]
    NotFromAuth0 {
        /// The status code.
        status: u16,
    },
    /// 5xx with `Retry-After`, which is about this request and not about the tenant's limits.
    #[error("status {status} from Auth0, which asks for a retry later")]
    AskedToWait {
        /// The status code.
        status: u16,
        /// How long the answer asks to wait.
        retry_after: Duration,
    },
    /// An invalid response.
    #[error("invalid response from Auth0: {what}")]
    Malformed {
        /// What Auth0 sent, from a fixed set of texts.
        what: &'static str,
    },
    /// Auth0 refused the request.
    #[error(transparent)]
    Denied(Refusal),
    /// The request could not be signed, so it was not sent.
    #[error("a request could not be signed with the client's key: check the client's key_file")]
    NotSigned,
    /// An internal error: the task that made the request panicked.
    #[error("internal error in cloakroom: a task panicked, and the log names it; please report this")]
    Fault,
}

/// Classes of failures, by what the daemon does about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// Only a change of configuration helps: retry rarely.
    Permanent,
    /// Likely to pass: retry with backoff.
    Passing,
    /// A rate limit: wait as long as the tenant asks.
    Throttled,
    /// An invalid response, which is likely to repeat.
    Malformed,
}

/// The invalid responses that are likely to pass: bodies that were cut short or came from a host on the way.
pub const PASSING_CAUSES: [&str; 4] = [EMPTY, NOT_JSON, NOT_A_GRANT, UNSENDABLE];

/// The status was 200 and the body was empty.
pub const EMPTY: &str = "an empty body";

/// The status was 200 and the body was not JSON as documented: HTML from an edge, or cut off.
pub const NOT_JSON: &str = "a body that is not JSON as documented";

/// The status was 200 and the body was JSON without a token.
pub const NOT_A_GRANT: &str = "a grant without an access token";

/// The status was 200, and the token had a line break, a space or another byte that no token has.
pub const UNSENDABLE: &str = "an access token that cannot be sent in a header";

impl Failure {
    /// The class of the failure.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Denied(_) | Self::CertificateRefused { .. } => FailureClass::Permanent,
            Self::Throttled { .. } | Self::OverBudget { .. } => FailureClass::Throttled,
            Self::Malformed { what } if PASSING_CAUSES.contains(what) => FailureClass::Passing,
            Self::Status { status: 408 | 500.. } => FailureClass::Passing,
            Self::Status { .. } | Self::Malformed { .. } => FailureClass::Malformed,
            Self::UnknownHost { .. }
            | Self::LinkLocalResolver { .. }
            | Self::Refused { .. }
            | Self::ConnectTimeout { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Proxy { .. }
            | Self::NoDescriptors { .. }
            | Self::PrivateAddress { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::NotFromAuth0 { .. }
            | Self::AskedToWait { .. }
            | Self::NotSigned
            | Self::Fault => FailureClass::Passing,
        }
    }

    /// Whether Auth0 answered, or the request was not sent. Unlike a missing answer, that does not predict the failure
    /// of other requests.
    pub fn is_an_answer(&self) -> bool {
        matches!(
            self,
            Self::Throttled { .. }
                | Self::AskedToWait { .. }
                | Self::OverBudget { .. }
                | Self::Status { .. }
                | Self::NotFromAuth0 { .. }
                | Self::Malformed { .. }
                | Self::Denied(_)
                | Self::CertificateRefused { .. }
                | Self::NotSigned
                | Self::Fault
        )
    }

    /// The value of the label `result` of the metric `upstream_requests_total` where there was no status.
    pub fn label(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "timeout",
            Self::Untrusted { .. } | Self::CertificateRefused { .. } => "tls",
            Self::UnknownHost { .. }
            | Self::LinkLocalResolver { .. }
            | Self::Refused { .. }
            | Self::ConnectTimeout { .. }
            | Self::Unreachable { .. }
            | Self::Proxy { .. }
            | Self::NoDescriptors { .. }
            | Self::PrivateAddress { .. }
            | Self::Broken { .. } => "connect",
            _ => "malformed",
        }
    }

    /// How long the answer asks to wait, if it does.
    pub fn asks_to_wait(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after } => *retry_after,
            Self::OverBudget { retry_after } | Self::AskedToWait { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Whether `other` is equal apart from how long it asks to wait, which may differ each time.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Throttled { .. }, Self::Throttled { .. })
            | (Self::OverBudget { .. }, Self::OverBudget { .. }) => true,
            (Self::AskedToWait { status, .. }, Self::AskedToWait { status: other, .. }) => status == other,
            _ => self == other,
        }
    }
}

/// The answer from Auth0 that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The Management token, which reading a user takes.
    ManagementToken,
    /// The user.
    User,
    /// The keys for verifying users' own tokens.
    Keys,
}

/// Why a lookup got no answer from Auth0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The missing answer.
    pub stage: Stage,
    /// Why.
    pub failure: Failure,
    /// After how long a retry can help.
    pub retry_after: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_classified_by_what_helps() {
        let status = |status| Failure::Status { status }.class();
        assert_eq!([408, 500, 503].map(status), [FailureClass::Passing; 3]);
        assert_eq!([302, 418].map(status), [FailureClass::Malformed; 2]);
        assert_eq!(Failure::Denied(Refusal::GrantType).class(), FailureClass::Permanent);
        assert_eq!(Failure::NotFromAuth0 { status: 401 }.class(), FailureClass::Passing);
        let host: Arc<str> = "h".into();
        assert_eq!(
            Failure::Untrusted { host, problem: TlsProblem::WrongTime }.class(),
            FailureClass::Passing
        );
    }

    #[test]
    fn failures_that_differ_in_their_wait_are_alike() {
        let later = |status, secs| Failure::AskedToWait { status, retry_after: Duration::from_secs(secs) };
        assert!(later(503, 1).is_like(&later(503, 2)) && !later(503, 1).is_like(&later(502, 1)));
        let throttled = |secs| Failure::Throttled { retry_after: Some(Duration::from_secs(secs)) };
        assert!(throttled(1).is_like(&throttled(2)) && !throttled(1).is_like(&later(503, 1)));
        assert!(!Failure::Status { status: 503 }.is_like(&Failure::Status { status: 500 }));
    }
}

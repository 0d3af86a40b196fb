//! What can go wrong, and whether waiting helps. No HTTP status here: `server/reply.rs` chooses those.
//!
//! The texts of [`Failure`] are public by construction. They are built from our own configuration and from a
//! fixed set of causes, never from what a peer sent, so they may stand in an answer, a log line or a terminal.
//! Each names the cause and the mend.

use std::sync::Arc;
use std::time::Duration;

use super::freshness::Timestamp;
use super::identity::Candidate;

mod connecting;

pub use connecting::{ProxyProblem, TlsProblem};

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
    /// Name resolution failed, and a name server is link-local, which the packaged unit keeps the daemon from.
    #[error(
        "the host name {host} cannot be resolved: the name server {server} in /etc/resolv.conf is link-local, which \
         IPAddressDeny=link-local in the systemd unit forbids: add the drop-in link-local-resolver.conf; where it is not \
         forbidden, check tenant.domain and that name server"
    )]
    LinkLocalResolver {
        /// The tenant's domain, or the proxy's host.
        host: Arc<str>,
        /// The name server, from this machine's own configuration.
        server: Arc<str>,
    },
    /// The host answered, and nothing listens there.
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
    /// The network says that there is no way there, or something else about connecting.
    #[error("{host} cannot be reached ({kind}): check the network between here and Auth0")]
    Unreachable {
        /// Host and port.
        host: Arc<str>,
        /// The kernel's word for it.
        kind: std::io::ErrorKind,
    },
    /// The TLS handshake failed.
    #[error("{host} is not trusted: {problem}")]
    Untrusted {
        /// Host and port.
        host: Arc<str>,
        /// What is wrong.
        problem: TlsProblem,
    },
    /// The proxy between here and Auth0 does not let us through.
    #[error("the proxy {proxy} {problem}")]
    Proxy {
        /// The proxy's host and port.
        proxy: Arc<str>,
        /// What is wrong.
        problem: ProxyProblem,
    },
    /// The process, or the machine, has no file descriptor left for a connection or for what resolving takes.
    #[error(
        "no file descriptor is left to reach {host} with: raise LimitNOFILE= in the unit, or the container's limit of \
         open files, or lower listener.max_connections"
    )]
    NoDescriptors {
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
    /// The daemon's own budget for the tenant is spent.
    #[error(
        "the daemon's own budget for the tenant is spent: if that lasts, and the tenant allows more, see [upstream]"
    )]
    OverBudget {
        /// When there may be room.
        retry_after: Duration,
    },
    /// A status that is no answer.
    #[error("Auth0 answered with status {status}, which is no answer to this request")]
    Status {
        /// The status code.
        status: u16,
    },
    /// 400, 401 or 403, and not in Auth0's words: what is on the way there has answered. It says nothing of a token,
    /// nor of credentials.
    #[error(
        "something on the way to Auth0 answered with status {status} in its place: a proxy, a captive portal, or an edge \
         that turns this machine away; check what is between here and tenant.domain"
    )]
    NotFromAuth0 {
        /// The status code.
        status: u16,
    },
    /// 5xx with `Retry-After`: about what was asked for, and not about the tenant's limits.
    #[error("Auth0 answered with status {status}, and asks to be asked again later")]
    AskedToWait {
        /// The status code.
        status: u16,
        /// How long the answer asks to wait.
        retry_after: Duration,
    },
    /// A body that is no answer.
    #[error("Auth0 answered with something that is no answer: {what}")]
    Malformed {
        /// What is wrong with it, from a fixed set of texts.
        what: &'static str,
    },
    /// Auth0 understood and said no.
    #[error(transparent)]
    Denied(Refusal),
    /// Our own fault: the task that asked is gone.
    #[error("the request was lost to a fault in cloakroom itself: its log names the task, please report it")]
    Fault,
}

/// Auth0's refusals that waiting does not mend: somebody must change something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Wrong client id, wrong secret, or the application wants another way of authenticating.
    #[error(
        "Auth0 does not accept the client's credentials (status {status}): check tenant.client.id, that the secret is \
         the application's current one, and that tenant.client.auth is its authentication method"
    )]
    Credentials {
        /// The status code.
        status: u16,
    },
    /// Auth0 knows no API of that audience.
    #[error(
        "Auth0 knows no API with the identifier {audience}: set tenant.audience to the Management API's identifier, \
         https://TENANT.REGION.auth0.com/api/v2/ with the slash at its end, also when tenant.domain is a custom domain"
    )]
    Audience {
        /// `tenant.audience`.
        audience: Arc<str>,
    },
    /// The application has no client grant for the Management API.
    #[error(
        "the application is not authorized for {audience}: authorize it in the Auth0 dashboard (Applications, APIs, \
         Auth0 Management API, Application Access) with the permissions read:users and read:user_idp_tokens"
    )]
    NoClientGrant {
        /// `tenant.audience`.
        audience: Arc<str>,
    },
    /// The application may not use the client-credentials grant.
    #[error(
        "the application may not use the client_credentials grant: make it a Machine to Machine application, or allow \
         that grant type in its advanced settings"
    )]
    GrantType,
    /// Some other refusal of the grant.
    #[error("Auth0 refuses to issue a Management token (status {status}): its tenant logs name the reason")]
    Grant {
        /// The status code.
        status: u16,
    },
    /// The Management token's scopes do not suffice to read a user.
    #[error(
        "the Management token may not read users: give the application the permissions read:users and \
         read:user_idp_tokens for the Management API"
    )]
    Scope,
    /// A Management token that is quite new is refused.
    #[error(
        "Auth0 refuses a Management token that it has just issued (status {status}): check that tenant.domain and \
         tenant.audience belong to the same tenant"
    )]
    Bearer {
        /// The status code.
        status: u16,
    },
}

/// Failures sorted by what should be done about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// Nothing but a change of configuration helps: try again seldom.
    Permanent,
    /// Likely to pass: try again with backoff.
    Passing,
    /// The tenant's limit: wait as long as it asks.
    Throttled,
    /// Something that is no answer; it may pass, but more of the same is likely.
    Malformed,
}

/// Bodies that are cut short or come from somebody in between: the next may well be whole.
pub const NO_ANSWER_YET: [&str; 4] = [EMPTY, NOT_JSON, NOT_A_GRANT, UNSENDABLE];

/// The status was 200 and the body empty.
pub const EMPTY: &str = "an empty body";

/// The status was 200 and the body is not JSON as documented: HTML from an edge, or cut off.
pub const NOT_JSON: &str = "a body that is not JSON as documented";

/// The status was 200 and the body is JSON without a token.
pub const NOT_A_GRANT: &str = "a grant without an access token";

/// The status was 200, and what is called the token holds a line break, a space or another byte that no token has.
pub const UNSENDABLE: &str = "an access token that cannot be sent in a header";

impl Failure {
    /// What should be done about it.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Denied(_) => FailureClass::Permanent,
            Self::Throttled { .. } | Self::OverBudget { .. } => FailureClass::Throttled,
            Self::Malformed { what } if NO_ANSWER_YET.contains(what) => FailureClass::Passing,
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
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::NotFromAuth0 { .. }
            | Self::AskedToWait { .. }
            | Self::Fault => FailureClass::Passing,
        }
    }

    /// Whether Auth0 answered at all, or was not asked: unlike silence, that says nothing of other requests.
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
                | Self::Fault
        )
    }

    /// As the metric `upstream_requests_total` names it where there was no status to name.
    pub fn label(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "timeout",
            Self::Untrusted { .. } => "tls",
            Self::UnknownHost { .. }
            | Self::LinkLocalResolver { .. }
            | Self::Refused { .. }
            | Self::ConnectTimeout { .. }
            | Self::Unreachable { .. }
            | Self::Proxy { .. }
            | Self::NoDescriptors { .. }
            | Self::Broken { .. } => "connect",
            _ => "malformed",
        }
    }

    /// How long the answer asks to wait, where it does.
    pub fn asks_to_wait(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after } => *retry_after,
            Self::OverBudget { retry_after } | Self::AskedToWait { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Whether `other` is the same but for how long it asks to wait, which may differ each time.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Throttled { .. }, Self::Throttled { .. })
            | (Self::OverBudget { .. }, Self::OverBudget { .. }) => true,
            (Self::AskedToWait { status, .. }, Self::AskedToWait { status: other, .. }) => status == other,
            _ => self == other,
        }
    }
}

/// Which of the answers we need from Auth0 is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The Management token, without which no user can be read.
    ManagementToken,
    /// The user.
    User,
    /// The keys that users' own tokens are verified with.
    Keys,
}

/// Why a lookup has no answer from Auth0 to go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// What is missing.
    pub stage: Stage,
    /// Why.
    pub failure: Failure,
    /// When asking again can help.
    pub retry_after: Duration,
}

/// Why a lookup has no token to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// Auth0 has no such user.
    UserNotFound,
    /// Auth0 has blocked the user.
    UserBlocked,
    /// The user has no such identity; these are the connections there are.
    IdentityNotFound(Vec<String>),
    /// The identity carries no token.
    NoToken {
        /// The Management token lacks `read:user_idp_tokens`, so Auth0 leaves every token out without a word.
        withheld: bool,
    },
    /// Several identities carry a token; these.
    Ambiguous(Vec<Candidate>),
    /// The token has expired or its provider refused it, and Auth0 holds no newer one.
    LoginRequired {
        /// When it expired, or when it will within `cache.min_ttl`; `None` if it was reported as refused.
        expired_at: Option<Timestamp>,
        /// When Auth0 may be asked again.
        retry_after: Duration,
    },
    /// The token is valid, but not for as long as was asked, and Auth0 holds no newer one.
    MinTtlUnsatisfiable {
        /// For how long it is valid.
        left: Duration,
        /// When Auth0 may be asked again.
        retry_after: Duration,
    },
    /// There is no room in the budget for what was only wished for.
    RateLimited {
        /// When there may be.
        retry_after: Duration,
    },
    /// Auth0 gave no answer, and nothing servable is held.
    Unavailable(Unavailable),
    /// Too many lookups wait for Auth0 already.
    Overloaded,
}

impl LookupError {
    /// Whether this is a fact about the user, which may be remembered, rather than a failure to find out.
    pub fn is_fact(&self) -> bool {
        !matches!(self, Self::Unavailable(_) | Self::Overloaded | Self::RateLimited { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_sorted_by_what_helps() {
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
    fn the_same_failure_with_another_wait_is_the_same_failure() {
        let later = |status, secs| Failure::AskedToWait { status, retry_after: Duration::from_secs(secs) };
        assert!(later(503, 1).is_like(&later(503, 2)) && !later(503, 1).is_like(&later(502, 1)));
        let throttled = |secs| Failure::Throttled { retry_after: Some(Duration::from_secs(secs)) };
        assert!(throttled(1).is_like(&throttled(2)) && !throttled(1).is_like(&later(503, 1)));
        assert!(!Failure::Status { status: 503 }.is_like(&Failure::Status { status: 500 }));
    }
}

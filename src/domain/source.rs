//! Sources of tokens: what Auth0 stores, what a refresh token is redeemed for, and what Token Vault issues.
//!
//! Also the outcomes that a source has besides a token. Their texts state the fix, and quote nothing of a peer.

use std::sync::Arc;
use std::time::Duration;

use crate::secret::Secret;

/// A source of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The token that Auth0 stored at the user's last login.
    Identities,
    /// The identity provider, in exchange for the refresh token that Auth0 stored.
    Refresh,
    /// Auth0's Token Vault.
    Vault,
}

impl Source {
    /// Its name in configuration, answers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identities => "identities",
            Self::Refresh => "refresh",
            Self::Vault => "vault",
        }
    }
}

/// The sources of one connection's tokens, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceOrder([Option<Source>; 3]);

impl SourceOrder {
    /// What Auth0 stores, and nothing else: the order of connections that are not configured.
    pub const IDENTITIES: Self = Self([Some(Source::Identities), None, None]);

    /// The order of `sources`; `None` if there are none, or one is there twice.
    pub fn new(sources: &[Source]) -> Option<Self> {
        let mut order = Self([None; 3]);
        for source in sources {
            if order.contains(*source) {
                return None;
            }
            *order.0.iter_mut().find(|place| place.is_none())? = Some(*source);
        }
        order.first().map(|_| order)
    }

    /// The sources in their order.
    pub fn iter(self) -> impl Iterator<Item = Source> {
        self.0.into_iter().flatten()
    }

    /// The source that is asked first.
    pub fn first(self) -> Option<Source> {
        self.iter().next()
    }

    /// Whether `source` is one of them.
    pub fn contains(self, source: Source) -> bool {
        self.0.contains(&Some(source))
    }

    /// Whether tokens may come from elsewhere than what Auth0 stores.
    pub fn issues(self) -> bool {
        self != Self::IDENTITIES
    }
}

/// The orders of all configured connections.
#[derive(Clone, Debug, Default)]
pub struct SourceOrders(Vec<(Arc<str>, SourceOrder)>);

impl SourceOrders {
    /// Whether any connection has another source than what Auth0 stores.
    pub fn issue(&self) -> bool {
        self.0.iter().any(|(_, order)| order.issues())
    }

    /// The configured connections.
    pub fn iter(&self) -> impl Iterator<Item = (&str, SourceOrder)> {
        self.0.iter().map(|(name, order)| (&**name, *order))
    }

    /// The order of a connection.
    pub fn of(&self, connection: &str) -> SourceOrder {
        let mut orders = self.0.iter();
        let found = orders.find(|(name, _)| **name == *connection);
        found.map_or(SourceOrder::IDENTITIES, |(_, order)| *order)
    }
}

impl FromIterator<(Arc<str>, SourceOrder)> for SourceOrders {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, SourceOrder)>>(orders: I) -> Self {
        Self(orders.into_iter().collect())
    }
}

/// What a provider does with a refresh token that it redeems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The answers have no new refresh token; one is used for ever.
    None,
    /// Each answer has a new refresh token, and the old one remains valid.
    KeepOld,
    /// Each answer has a new refresh token, and the old one is invalid.
    Single,
}

/// A token that a source has issued.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token.
    pub access_token: Secret,
    /// Its lifetime from the answer on, if stated.
    pub expires_in: Option<Duration>,
    /// The granted scopes, separated by spaces, if stated.
    pub scopes: Option<String>,
}

/// The outcome of one redemption of a refresh token at its provider.
#[derive(Clone, Debug)]
pub enum Redemption {
    /// The provider issued a token.
    Issued {
        /// The access token.
        token: IssuedToken,
        /// The refresh token to use from now on, if the answer has one.
        refresh_token: Option<Secret>,
    },
    /// The refresh token is not accepted, for this reason.
    Over(OverReason),
    /// The provider refuses the connection's client or what it asks for. That shows nothing about the refresh token.
    Misconfigured(SourceFault),
    /// No answer, or one that is likely to be another later.
    Failed {
        /// Why.
        failure: SourceFailure,
        /// After how long a retry can help.
        retry_after: Duration,
        /// Whether the provider may have redeemed the refresh token nevertheless.
        processed: Processed,
    },
}

/// Whether a provider has processed a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processed {
    /// Certainly not: the request was not sent, or the answer says so.
    No,
    /// Not known: the request was sent, and its answer is missing or a server error.
    Unknown,
}

/// Why no source has a token of an identity, and what only the user can do about it. The `reason` in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OverReason {
    /// The token has expired.
    Expired,
    /// A client has reported the token as refused by its provider.
    Reported,
    /// The provider does not accept the refresh token: it has expired or was revoked.
    RefreshRefused,
    /// The refresh token was redeemed, and the answer with its successor never arrived or was never stored.
    RefreshLost,
    /// The provider wants the user to authenticate again.
    ReauthenticationRequired,
    /// The provider wants the user to consent again.
    ConsentRequired,
}

impl OverReason {
    /// Its name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Reported => "reported",
            Self::RefreshRefused => "refresh_refused",
            Self::RefreshLost => "refresh_lost",
            Self::ReauthenticationRequired => "reauthentication_required",
            Self::ConsentRequired => "consent_required",
        }
    }
}

/// A refusal by a source that only an operator can fix. Says nothing about the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceFault {
    /// The provider refuses the connection's client.
    #[error(
        "the provider refuses the connection's client: check client_id and secret_file in [connection.refresh], which \
         have to be those of the connection in Auth0"
    )]
    ProviderClient,
    /// The provider does not allow the client to use refresh tokens, or not this one: it is another client's, or this user
    /// may not use the client.
    #[error(
        "the provider does not allow the connection's client to redeem refresh tokens: allow that grant type, the users and \
         this host's address at the provider; users who logged in with an earlier client_id have to log in again"
    )]
    ProviderGrant,
    /// The provider refuses the requested scope.
    #[error("the provider refuses the scope that is asked for: check scope in [connection.refresh]")]
    ProviderScope,
    /// The provider calls the request invalid.
    #[error(
        "the provider calls the request invalid: check provider, token_endpoint and client_auth in [connection.refresh]"
    )]
    ProviderRequest,
    /// Auth0 refuses the daemon's client for Token Vault.
    #[error(
        "Auth0 refuses the client of Token Vault: check [tenant.client], and that its key is registered for privileged access"
    )]
    VaultClient,
    /// The daemon's client may not use Token Vault.
    #[error(
        "the application may not use Token Vault: enable the Token Vault grant type for it, make it first party and OIDC \
         conformant"
    )]
    VaultGrant,
    /// Auth0 denies the exchange.
    #[error(
        "Auth0 denies the exchange: the application's privileged access has to name this connection and its scopes and \
         this host's address, and the connection has to be enabled for the application"
    )]
    VaultAccess,
    /// Auth0 asks for a second factor, which no daemon has.
    #[error(
        "Auth0 asks for a second factor, which an exchange cannot give: set the tenant's policy for multi-factor \
         authentication to another than Always"
    )]
    VaultMfa,
    /// Auth0 calls the exchange invalid.
    #[error(
        "Auth0 calls the exchange invalid: check that the key is one of the credentials of the application's privileged \
         access, and that Token Vault is enabled for the tenant and the connection"
    )]
    VaultRequest,
}

impl SourceFault {
    /// Whether it concerns every user of the connection. Any other may be about a single one: about a scope that only
    /// this user has not granted, or a refresh token of another client, for example.
    pub fn is_about_the_client(&self) -> bool {
        matches!(self, Self::ProviderClient | Self::VaultClient | Self::VaultGrant)
    }
}

/// Why a source could not be asked, or gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceFailure {
    /// No complete answer in time.
    #[error("{host} did not answer in time")]
    TimedOut {
        /// The source's host.
        host: Arc<str>,
    },
    /// No connection.
    #[error("{host} cannot be reached: {cause}")]
    Unreachable {
        /// The source's host.
        host: Arc<str>,
        /// Why, from a fixed set of texts.
        cause: &'static str,
    },
    /// 429, or the daemon's own limit for the host.
    #[error("the rate limit of {host} is reached")]
    Throttled {
        /// The source's host.
        host: Arc<str>,
    },
    /// An answer that is likely to be another later.
    #[error("{host} answered with status {status}")]
    Status {
        /// The source's host.
        host: Arc<str>,
        /// The status code.
        status: u16,
    },
    /// An answer that cannot be read.
    #[error("invalid answer from {host}: {what}")]
    Malformed {
        /// The source's host.
        host: Arc<str>,
        /// What it sent, from a fixed set of texts.
        what: &'static str,
    },
    /// A token that expires too soon to be served. Token Vault hands out a token until that has expired.
    #[error("the token that was issued expires within cache.min_ttl; a newer one is issued after that")]
    TooShort,
    /// Token Vault could not refresh the token at the provider. Auth0 answers the same for a provider that is down, for a
    /// wrong secret of the connection, and for a refresh token that is not accepted.
    #[error(
        "Auth0 could not refresh the token at the identity provider: if that lasts for many users, check the client \
         secret of the connection in Auth0"
    )]
    NotRefreshed,
    /// An earlier request with the refresh token had no answer, and the one retry waits for the provider to answer others.
    #[error(
        "the provider did not answer an earlier redemption of the refresh token, which is tried once more when it answers \
         again"
    )]
    Unsettled,
    /// The state file cannot be written, so that a refresh token that rotates must not be redeemed.
    #[error("the state file cannot be written, so no refresh token that rotates is redeemed: see the log")]
    State,
    /// An internal error: a task panicked.
    #[error("internal error in cloakroom: a task panicked, and the log names it; please report this")]
    Fault,
}

/// How a source of one connection stands, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStanding {
    /// The connection's name.
    pub connection: Arc<str>,
    /// The source.
    pub source: Source,
    /// The host that is asked.
    pub host: Arc<str>,
    /// Why the source refuses the daemon, if it does.
    pub fault: Option<SourceFault>,
}

/// Why a source of one connection gives no token, where that is not the user's doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// The connection's name.
    pub connection: Arc<str>,
    /// The problem.
    pub problem: SourceProblem,
}

/// What prevents a source from giving a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceProblem {
    /// An operator has to change something.
    Misconfigured(SourceFault),
    /// The source cannot be asked now.
    Unavailable {
        /// Why.
        failure: SourceFailure,
        /// After how long a retry can help.
        retry_after: Duration,
    },
}

impl SourceError {
    /// Whether the connection's client is refused, which concerns every user.
    pub fn is_about_the_client(&self) -> bool {
        matches!(&self.problem, SourceProblem::Misconfigured(fault) if fault.is_about_the_client())
    }

    /// After how long a retry can help; zero if only an operator can help.
    pub fn retry_after(&self) -> Duration {
        match &self.problem {
            SourceProblem::Misconfigured(_) => Duration::ZERO,
            SourceProblem::Unavailable { retry_after, .. } => *retry_after,
        }
    }

    /// This error, with another time after which a retry can help.
    #[must_use]
    pub fn with_wait(self, wait: Duration) -> Self {
        let problem = match self.problem {
            SourceProblem::Unavailable { failure, .. } => {
                SourceProblem::Unavailable { failure, retry_after: wait }
            }
            misconfigured @ SourceProblem::Misconfigured(_) => misconfigured,
        };
        Self { problem, ..self }
    }
}

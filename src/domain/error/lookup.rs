//! Why a lookup returns no token.

use std::time::Duration;

use crate::domain::freshness::Timestamp;
use crate::domain::identity::Candidate;
use crate::domain::source::{OverReason, SourceError};

use super::Unavailable;

/// Why a lookup returns no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// Auth0 has no such user.
    UserNotFound,
    /// Auth0 has blocked the user.
    UserBlocked,
    /// The user has no such identity; these are the user's connections.
    IdentityNotFound(Vec<String>),
    /// The identity has no token.
    NoToken {
        /// The Management token lacks `read:user_idp_tokens`, so Auth0 leaves out every token without an error.
        withheld: bool,
    },
    /// Several identities have a token; these.
    Ambiguous(Vec<Candidate>),
    /// No source has a token that may be served, and a login brings one.
    LoginRequired {
        /// Why.
        reason: OverReason,
        /// When the token expired, or when it will within `cache.min_ttl`; `None` if that is not the reason.
        expired_at: Option<Timestamp>,
        /// When the sources may be asked again.
        retry_after: Duration,
    },
    /// Token Vault has no account of the user for the connection.
    ConnectRequired {
        /// When Token Vault may be asked again.
        retry_after: Duration,
    },
    /// The token is valid, but not for as long as the client asked, and Auth0 has no newer one.
    MinTtlUnsatisfiable {
        /// For how long it remains valid.
        left: Duration,
        /// When Auth0 may be asked again.
        retry_after: Duration,
    },
    /// The budget has no permit to spare for an optional request.
    RateLimited {
        /// After how long it may have one.
        retry_after: Duration,
    },
    /// Auth0 gave no answer, and the cache has nothing that may be served.
    Unavailable(Unavailable),
    /// What Auth0 stores is over, and another source gave no answer.
    Source(SourceError),
    /// Too many lookups already wait for Auth0.
    Overloaded,
}

impl LookupError {
    /// Whether this is a fact about the user, which may be cached, and not a failure to find out.
    pub fn is_fact(&self) -> bool {
        !matches!(self, Self::Unavailable(_) | Self::Source(_) | Self::Overloaded | Self::RateLimited { .. })
    }
}

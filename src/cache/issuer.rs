//! Where the cache gets tokens that Auth0 does not store: an interface that `sources` implements.

use std::future::Future;
use std::pin::Pin;

use crate::domain::freshness::{Deadline, Moment};
use crate::domain::identity::{ExpiryBasis, IdpToken, LackReason};
use crate::domain::source::{Source, SourceError, SourceFailure, SourceOrder};
use crate::domain::user::UserId;
use crate::secret::{Secret, SecretStr, Tag};

use super::source::ForWhom;

/// The sources of tokens that are asked when what Auth0 stores is over.
pub trait TokenIssuer: Send + Sync + 'static {
    /// Asks the sources that `wanted` names, in their order, at the turn of one of the flows in `for_whom`. Ends within a
    /// bounded time.
    fn issue(&self, wanted: Wanted, for_whom: ForWhom) -> Issuing;

    /// Forgets what a refresh of this user's tokens needs.
    fn forget(&self, user: UserId) -> Forgetting;

    /// Forgets what refreshes need, for all users.
    fn forget_all(&self) -> Forgetting;
}

/// Sources being asked. It owns what it needs, since it outlives the lookup that started it.
pub type Issuing = Pin<Box<dyn Future<Output = Result<SourceAnswer, SourceError>> + Send>>;

/// Something being forgotten.
pub type Forgetting = Pin<Box<dyn Future<Output = Result<(), SourceFailure>> + Send>>;

/// The identity that needs a token, and what Auth0 has said about it.
#[derive(Debug)]
pub struct Wanted {
    /// The user.
    pub user: UserId,
    /// The [`Identity::account`](crate::domain::identity::Identity::account).
    pub account: u64,
    /// The connection's name.
    pub connection: String,
    /// The account's id at the provider; empty if it is not known.
    pub identity_user_id: String,
    /// The sources of the connection.
    pub sources: SourceOrder,
    /// Whether the token that Auth0 stores may be served. Only so if another source comes first.
    pub is_stored_servable: bool,
    /// The refresh token that Auth0 stores.
    pub refresh_token: Option<Secret>,
    /// When Auth0 was asked.
    pub asked: Moment,
}

/// What the sources answer.
#[derive(Debug)]
pub enum SourceAnswer {
    /// A token.
    Token(NewToken),
    /// The token that Auth0 stores is the one to use.
    Stored,
    /// No source has a token.
    Lack(LackReason),
}

/// A token that a source has just issued.
#[derive(Debug)]
pub struct NewToken {
    /// The token.
    pub access_token: Secret,
    /// Identifies the token.
    pub fingerprint: Tag,
    /// When it expires, if that is known.
    pub expires: Option<Deadline>,
    /// Where the expiry comes from.
    pub basis: ExpiryBasis,
    /// The granted scopes, separated by spaces, if they are known.
    pub scopes: Option<String>,
    /// The source.
    pub source: Source,
    /// When the answer arrived.
    pub received: Moment,
    /// Whether a newer token is requested before this one expires. Not so if the source has the same one until then, or
    /// if the newer one makes this one invalid, which clients may still use.
    pub is_renewed_ahead: bool,
}

impl NewToken {
    /// The token as an identity carries it.
    pub fn as_idp_token(&self) -> IdpToken<'_> {
        IdpToken {
            access_token: SecretStr::new(self.access_token.expose()),
            access_token_secret: None,
            expires: self.expires,
            basis: self.basis,
            fingerprint: self.fingerprint,
            source: self.source,
            scopes: self.scopes.as_deref(),
        }
    }
}

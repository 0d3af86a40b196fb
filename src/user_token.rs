//! Whose session is this? Verifies end users' own JWTs, their access and ID tokens, against the tenant's keys.
//!
//! [`jwt`] takes a token apart and checks its signature, `crate::domain::claims` judges what it says, [`keys`] is what
//! it is checked against, and the keyring decides when the keys are asked for. Nobody here knows Auth0: whoever does
//! implements [`KeySource`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::claims::{Expected, InvalidUserToken};
use crate::domain::error::Unavailable;
use crate::domain::freshness::Moment;
use crate::domain::priority::Flow;
use crate::domain::user::UserId;
use crate::secret::Secret;

pub mod jwt;
mod keyring;
pub mod keys;

use jwt::Jwt;
use keyring::Keyring;
use keys::KeySet;

/// Where the tenant's keys come from.
pub trait KeySource: Send + Sync + 'static {
    /// Asks for the key set, within the budget. Ends within `tenant.request_timeout`.
    fn fetch(&self) -> FetchingKeys;
}

/// A key set that is being asked for.
pub type FetchingKeys = Pin<Box<dyn Future<Output = Result<FetchedKeys, Unavailable>> + Send>>;

/// A key set that was asked for.
#[derive(Debug)]
pub struct FetchedKeys {
    /// The keys; never none.
    pub keys: KeySet,
    /// When the request was sent: their age counts from here.
    pub sent: Moment,
}

/// Why there is no user to act for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotVerified {
    /// The token is no good.
    Invalid(InvalidUserToken),
    /// Whether it is good cannot be told: the keys cannot be had.
    Unavailable(Unavailable),
}

/// Verifies user tokens.
pub struct UserTokens {
    expected: Expected,
    keyring: Keyring,
    clock: Clock,
}

impl UserTokens {
    /// Accepts what is `expected` and signed with a key from `source`. Asks for none before there is a token; `seed`
    /// determines the jitter between failed attempts.
    pub fn new(expected: Expected, source: Arc<dyn KeySource>, clock: Clock, seed: u64) -> Self {
        Self { expected, keyring: Keyring::new(source, clock.clone(), seed), clock }
    }

    /// The user whose session `token` is, which a caller of `flow` has sent. Waits only where keys have to be asked for
    /// first.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn verify(&self, token: &Secret, flow: Flow) -> Result<UserId, NotVerified> {
        let jwt = Jwt::parse(token.expose())?;
        // Before the signature: a token that is no good anyhow makes nobody ask the tenant.
        let user = self.expected.judge(&jwt.claims, self.clock.latest_wall())?;
        let key = self.keyring.find(&jwt.key, flow).await?;
        jwt.check(&key)?;
        Ok(user)
    }
}

impl From<InvalidUserToken> for NotVerified {
    fn from(why: InvalidUserToken) -> Self {
        Self::Invalid(why)
    }
}

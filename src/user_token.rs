//! Verifies end users' own JWTs, their access and ID tokens, against the tenant's keys.
//!
//! [`jwt`] parses a token and checks its signature with one of [`keys`], `crate::domain::claims` checks its claims, and
//! the keyring decides when the keys are requested. The module knows nothing of Auth0: `upstream` implements
//! [`KeySource`].

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::claims::Expected;
use crate::domain::priority::Flow;
use crate::domain::user::UserId;
use crate::secret::Secret;

mod error;
pub mod jwt;
mod keyring;
pub mod keys;
mod source;

use jwt::Jwt;
use keyring::Keyring;

pub use error::NotVerified;
pub use source::{FetchedKeys, FetchingKeys, KeySource};

/// Verifies user tokens.
pub struct UserTokens {
    expected: Expected,
    keyring: Keyring,
    clock: Clock,
}

impl UserTokens {
    /// Accepts tokens that are as `expected` and signed with a key from `source`. Requests no key before the first
    /// token. `seed` determines the jitter between failed attempts.
    pub fn new(expected: Expected, source: Arc<dyn KeySource>, clock: Clock, seed: u64) -> Self {
        Self { expected, keyring: Keyring::new(source, clock.clone(), seed), clock }
    }

    /// The user of `token`, which a client of `flow` has sent. Waits only if keys have to be requested first.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn verify(&self, token: &Secret, flow: Flow) -> Result<UserId, NotVerified> {
        let jwt = Jwt::parse(token.expose())?;
        // Checked before the signature, so that no key is requested for an unacceptable token.
        let user = self.expected.judge(&jwt.claims, self.clock.latest_wall())?;
        let key = self.keyring.find(&jwt.key, flow).await?;
        jwt.check(&key)?;
        Ok(user)
    }
}

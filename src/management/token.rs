//! A Management token in use, and the scopes that it needs.

use crate::domain::error::Refusal;
use crate::domain::freshness::{Deadline, Schedule};
use crate::secret::Secret;

/// The scope with which Auth0 puts the tokens of identity providers into answers about users.
pub const IDP_TOKENS_SCOPE: &str = "read:user_idp_tokens";

/// The scopes that reading users takes. Without the second, Auth0 leaves out tokens *silently*.
pub const NEEDED_SCOPES: [&str; 2] = ["read:users", IDP_TOKENS_SCOPE];

/// What the tokens of a keeper are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The daemon reads users: a token should have [`NEEDED_SCOPES`].
    Lookups,
    /// Clients' own calls of the Management API: a token must not have [`IDP_TOKENS_SCOPE`].
    Calls,
}

impl Purpose {
    /// Refuses a token with scopes that must not be used for this. `shows_idp_tokens`: see [`Grant`](super::Grant).
    ///
    /// # Errors
    /// They must not be used, or nothing says which scopes it has.
    pub fn admit(self, shows_idp_tokens: Option<bool>) -> Result<(), Refusal> {
        match (self, shows_idp_tokens) {
            (Self::Lookups, _) | (Self::Calls, Some(false)) => Ok(()),
            (Self::Calls, Some(true)) => Err(Refusal::UserTokensScope),
            (Self::Calls, None) => Err(Refusal::NoScopeStated),
        }
    }

    /// The needed scopes that `granted` lacks.
    pub(super) fn missing(self, granted: Option<&[String]>) -> Vec<&'static str> {
        match self {
            Self::Lookups => missing(granted),
            Self::Calls => Vec::new(),
        }
    }

    /// What log lines name besides, where the token is not the one for lookups.
    pub(super) const fn table(self) -> Option<&'static str> {
        match self {
            Self::Lookups => None,
            Self::Calls => Some("[management_api]"),
        }
    }
}

/// A Management token in use.
#[derive(Debug)]
pub struct ManagementToken {
    pub(super) token: Secret,
    pub(super) schedule: Schedule,
    pub(super) scopes: Option<Vec<String>>,
}

impl ManagementToken {
    /// The token, to be sent to Auth0 and nowhere else.
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// When it expires.
    pub fn expires(&self) -> Option<Deadline> {
        self.schedule.expires
    }

    /// Its scopes; `None` if Auth0 does not state them.
    pub fn scopes(&self) -> Option<&[String]> {
        self.scopes.as_deref()
    }

    /// Whether Auth0 leaves users' tokens out of its answers.
    pub fn tokens_withheld(&self) -> bool {
        missing(self.scopes.as_deref()).contains(&NEEDED_SCOPES[1])
    }
}

/// The needed scopes that `granted` lacks. Empty if Auth0 states none, because then none is known to be missing.
pub fn missing(granted: Option<&[String]>) -> Vec<&'static str> {
    let Some(granted) = granted else { return Vec::new() };
    NEEDED_SCOPES.into_iter().filter(|needed| !granted.iter().any(|scope| scope == needed)).collect()
}

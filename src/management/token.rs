//! A Management token in use, and the scopes that it needs.

use crate::domain::freshness::{Deadline, Schedule};
use crate::secret::Secret;

/// The scopes that reading users takes. Without the second, Auth0 leaves out tokens *silently*.
pub const NEEDED_SCOPES: [&str; 2] = ["read:users", "read:user_idp_tokens"];

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

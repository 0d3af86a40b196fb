//! Why the sources of an identity have no token, and when they may be asked again.

use std::time::Duration;

use crate::domain::freshness::Moment;
use crate::domain::source::{OverReason, SourceError};

/// Why the sources of an identity have no token. Forgotten when Auth0 answers about the user again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The reason.
    pub why: LackReason,
    /// When the sources answered.
    pub since: Moment,
    /// For how long they are not asked again if they have failed.
    pub quiet: Duration,
    /// How many times in a row they have failed.
    pub attempts: usize,
}

/// The reason of a [`Lack`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LackReason {
    /// No source has anything: there is no refresh token, for example. What Auth0 said is the answer.
    Nothing,
    /// Only the user can change it.
    Over(OverReason),
    /// Token Vault has no account of the user for the connection.
    NotConnected,
    /// A source has to know Auth0's newest answer first.
    AskAuth0,
    /// A source could not be asked.
    Failed(SourceError),
}

impl LackReason {
    /// Whether a login can end it.
    pub fn ends_with_a_login(&self) -> bool {
        matches!(self, Self::Nothing | Self::Over(_) | Self::NotConnected)
    }
}

impl Lack {
    /// Whether the sources may be asked at `now`, without asking Auth0 first.
    pub fn may_be_asked(&self, now: Moment) -> bool {
        self.is_failure() && self.since.age(now) >= self.quiet
    }

    /// Whether a source could not be asked.
    pub fn is_failure(&self) -> bool {
        matches!(self.why, LackReason::Failed(_))
    }
}

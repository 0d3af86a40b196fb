//! The state that the keeper and the handles to it share: the token, its failures, and the next attempt.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::config;
use crate::domain::error::{Failure, Refusal};
use crate::domain::freshness::{Freshness, Moment, Timestamp};

use super::token::{ManagementToken, Purpose};

/// What the keeper shares with its handles.
#[derive(Debug)]
pub(super) struct Shared {
    pub state: watch::Sender<KeeperState>,
    /// Wakes the keeper, which checks whether a token is needed early.
    pub wake: Arc<Notify>,
    /// Determines the jitter.
    pub seed: u64,
    /// What the tokens are used for.
    pub purpose: Purpose,
}

/// The state of the keeper and its token.
#[derive(Clone, Debug)]
pub(super) struct KeeperState {
    pub token: Option<Arc<ManagementToken>>,
    pub phase: KeeperPhase,
    /// The last failure and the number of failed attempts in a row; `None` after a success.
    pub failure: Option<(Failure, u64)>,
    pub last_success: Option<Timestamp>,
    /// When a token was last dropped because Auth0 refused it.
    pub last_drop: Option<Moment>,
    /// Why Auth0 refuses new tokens too, and until when none is used.
    pub refusal: Option<(Refusal, Moment)>,
    /// How many times in a row Auth0 has refused a new token.
    pub refusals: usize,
    /// The settings for the next token.
    pub settings: config::Management,
    /// Whether the next attempt is made without backoff, because a change may have ended the failure.
    pub is_urgent: bool,
}

/// What the keeper does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeeperPhase {
    /// A grant is under way.
    Asking,
    /// The next attempt is at `until`.
    Waiting { until: Moment },
}

impl KeeperState {
    /// The token, if it may be used at `now`.
    pub fn usable(&self, now: Moment) -> Option<&Arc<ManagementToken>> {
        self.token.as_ref().filter(|token| token.schedule.at(now) != Freshness::Expired)
    }

    /// The refusal, if the last token was issued with scopes that must not be used.
    pub fn refused_scopes(&self) -> Option<&Refusal> {
        match &self.failure {
            Some((Failure::Denied(refusal), _)) => Some(refusal).filter(|refusal| refusal.is_of_scopes()),
            _ => None,
        }
    }

    /// Whether a token is needed before the scheduled attempt. The backoff after a failure is observed nevertheless.
    pub fn needs_token(&self, now: Moment) -> bool {
        self.failure.is_none() && self.usable(now).is_none()
    }
}

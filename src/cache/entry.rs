//! What is remembered of one user, and what it says to a question at a given moment. Pure.

use std::mem::size_of;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::Negative;
use crate::domain::error::LookupError;
use crate::domain::freshness::{Freshness, Moment, Schedule, Terms};
use crate::domain::identity::{IdpToken, NoSelection, Profile};
use crate::domain::user::{Selector, UserId};

use super::Fetched;

/// What the cache spends on an entry besides its own bytes: moka's nodes, reference counts, the hash table.
const OVERHEAD: usize = 256;

/// One answer of Auth0 about one user, and what is to be remembered besides.
#[derive(Debug)]
pub struct Entry {
    fetched: Fetched,
    /// How many purges had been made when the answer was asked for.
    epoch: u64,
    /// On the elapsed clock, in milliseconds: Auth0 could not be asked, and is not to be asked again before.
    quiet_until: AtomicU64,
}

/// What a caller wants to know of a user.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// The token that a selector means.
    Token(&'a Selector),
    /// All identities.
    Identities,
}

/// How long what is remembered may be used.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// For tokens and identities.
    pub terms: Terms,
    /// For facts that are no token.
    pub negative: Negative,
}

/// What an entry says.
#[derive(Debug)]
pub struct Judgement {
    /// The answer as far as the entry knows. It never offers a dead token.
    pub outcome: Result<(), LookupError>,
    /// Whether that may be answered, or Auth0 has to be asked.
    pub freshness: Freshness,
}

impl Entry {
    /// Wraps an answer that was asked for after `epoch` purges.
    pub fn new(fetched: Fetched, epoch: u64) -> Self {
        Self { fetched, epoch, quiet_until: AtomicU64::new(0) }
    }

    /// The user, or `None` if Auth0 has no such user.
    pub fn profile(&self) -> Option<&Profile> {
        self.fetched.profile.as_ref()
    }

    /// When the request was sent.
    pub fn sent(&self) -> Moment {
        self.fetched.sent
    }

    /// How many purges had been made when it was asked for.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Auth0 could not be asked: leave it alone for `wait`.
    pub fn keep_quiet(&self, now: Moment, wait: Duration) {
        self.quiet_until.store(millis(now.elapsed.saturating_add(wait)), Ordering::Relaxed);
    }

    /// Whether Auth0 is to be left alone for this user.
    pub fn is_quiet(&self, now: Moment) -> bool {
        millis(now.elapsed) < self.quiet_until.load(Ordering::Relaxed)
    }

    /// What the entry says to `question` at `now`.
    pub fn judge(&self, question: Question<'_>, rules: &Rules, now: Moment) -> Judgement {
        match self.find(question, rules, now) {
            Ok(token) => {
                let expires = token.and_then(|token| token.expires);
                let schedule = Schedule { sent: self.sent(), expires, terms: rules.terms };
                Judgement { outcome: Ok(()), freshness: schedule.at(now) }
            }
            Err(fact) => {
                let remembered = match fact {
                    LookupError::UserNotFound => rules.negative.user_not_found,
                    LookupError::LoginRequired { .. } => rules.negative.login_required,
                    _ => rules.negative.no_token,
                };
                let known = self.sent().age(now) < remembered;
                Judgement {
                    outcome: Err(fact),
                    freshness: if known { Freshness::Fresh } else { Freshness::Expired },
                }
            }
        }
    }

    /// The token in question, none where none is asked for, or the fact that is the answer instead.
    fn find(
        &self,
        question: Question<'_>,
        rules: &Rules,
        now: Moment,
    ) -> Result<Option<&IdpToken>, LookupError> {
        let profile = self.profile().ok_or(LookupError::UserNotFound)?;
        let Question::Token(selector) = question else { return Ok(None) };
        if profile.blocked {
            return Err(LookupError::UserBlocked);
        }
        let (_, token) = profile.select(selector).map_err(|why| match why {
            NoSelection::IdentityNotFound(connections) => LookupError::IdentityNotFound(connections),
            NoSelection::NoToken => LookupError::NoToken { withheld: self.fetched.tokens_withheld },
            NoSelection::Ambiguous(connections) => LookupError::Ambiguous(connections),
        })?;
        match token.expires {
            Some(expires) if rules.terms.is_over(expires, now) => Err(LookupError::LoginRequired {
                expired_at: expires.wall(),
                retry_after: rules.negative.login_required.saturating_sub(self.sent().age(now)),
            }),
            _ => Ok(Some(token)),
        }
    }

    /// Bytes that `user` and this entry take in the cache.
    pub fn weight(&self, user: &UserId) -> u32 {
        let profile = self.profile().map_or(0, Profile::weight);
        let bytes = OVERHEAD + size_of::<Self>() + size_of::<UserId>() + user.as_str().len() + profile;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

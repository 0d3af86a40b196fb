//! What is remembered of one user, and what it says to a question at a given moment. Pure.

use std::mem::size_of;
use std::time::Duration;

use crate::config::Negative;
use crate::domain::error::LookupError;
use crate::domain::freshness::{Freshness, Moment, Schedule, Terms};
use crate::domain::identity::{Identity, IdpToken, NoSelection, Profile};
use crate::domain::user::{Selector, UserId};
use crate::secret::Tag;

use super::Fetched;

/// What the cache spends on an entry besides its own bytes: moka's nodes and queues, the hash table, reference
/// counts, and what the allocator rounds up. As measured; `tests/bounded.rs` holds it to that.
const OVERHEAD: usize = 400;

/// One answer of Auth0 about one user, and what is to be remembered besides.
#[derive(Clone, Debug)]
pub struct Entry {
    fetched: Fetched,
    /// Tokens of this answer that were reported as refused by their providers. Almost always absent.
    refused: Option<Box<Refused>>,
}

#[derive(Clone, Debug)]
struct Refused {
    tokens: Vec<Tag>,
    /// When the latest was reported. Until Auth0 has been asked after that, it may hold a newer one.
    at: Moment,
}

/// What a caller wants to know of a user.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// The token that a selector means.
    Token {
        /// Which one.
        selector: &'a Selector,
        /// For how long it has to be valid.
        min_ttl: Duration,
    },
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
    /// The answer as far as the entry knows. It never offers a dead token, nor a refused one.
    pub outcome: Result<(), LookupError>,
    /// Whether that may be answered, or Auth0 has to be asked.
    pub freshness: Freshness,
}

impl Entry {
    /// Wraps an answer.
    pub fn new(fetched: Fetched) -> Self {
        Self { fetched, refused: None }
    }

    /// The user, or `None` if Auth0 has no such user.
    pub fn profile(&self) -> Option<&Profile> {
        self.fetched.profile.as_ref()
    }

    /// When the request was sent.
    pub fn sent(&self) -> Moment {
        self.fetched.sent
    }

    /// Whether one of its tokens has this fingerprint, of those that are `shown`.
    pub fn holds(&self, fingerprint: Tag, shown: &Selector) -> bool {
        self.tokens(shown).any(|token| token.fingerprint == fingerprint)
    }

    /// Whether one of its tokens is `shown` at all.
    pub fn shows_a_token(&self, shown: &Selector) -> bool {
        self.tokens(shown).next().is_some()
    }

    /// The same answer, with one token known to be refused.
    pub fn with_refused(&self, fingerprint: Tag, at: Moment) -> Self {
        let mut tokens = self.refused.as_ref().map(|refused| refused.tokens.clone()).unwrap_or_default();
        if !tokens.contains(&fingerprint) {
            tokens.push(fingerprint);
        }
        Self { refused: Some(Box::new(Refused { tokens, at })), ..self.clone() }
    }

    /// This answer takes the place of `before`: a token that was refused is no better for being sent again.
    pub fn inherit(&mut self, before: &Self) {
        if let Some(refused) = &before.refused {
            let tokens: Vec<_> =
                refused.tokens.iter().copied().filter(|tag| self.holds(*tag, &Selector::default())).collect();
            self.refused = (!tokens.is_empty()).then(|| Box::new(Refused { tokens, at: refused.at }));
        }
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
                let known = self.sent().age(now) < remembered(&fact, rules) && !self.must_ask(&fact);
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
    ) -> Result<Option<IdpToken<'_>>, LookupError> {
        let profile = self.profile().ok_or(LookupError::UserNotFound)?;
        let Question::Token { selector, min_ttl } = question else { return Ok(None) };
        if profile.blocked {
            return Err(LookupError::UserBlocked);
        }
        let (_, token) = profile.select(selector).map_err(|why| match why {
            NoSelection::IdentityNotFound(connections) => LookupError::IdentityNotFound(connections),
            NoSelection::NoToken => LookupError::NoToken { withheld: self.fetched.tokens_withheld },
            NoSelection::Ambiguous(connections) => LookupError::Ambiguous(connections),
        })?;
        // Auth0 may be asked again whether the user has logged in since, but not at every lookup.
        let retry_after = rules.negative.login_required.saturating_sub(self.sent().age(now));
        if self.refused.as_ref().is_some_and(|refused| refused.tokens.contains(&token.fingerprint)) {
            return Err(LookupError::LoginRequired { expired_at: None, retry_after });
        }
        let Some(expires) = token.expires else { return Ok(Some(token)) };
        if rules.terms.is_over(expires, now) {
            return Err(LookupError::LoginRequired { expired_at: Some(expires.wall()), retry_after });
        }
        let left = expires.remaining(now);
        if left < min_ttl {
            return Err(LookupError::MinTtlUnsatisfiable { left, retry_after });
        }
        Ok(Some(token))
    }

    /// Whether the fact is a report that Auth0 has not been asked about yet.
    fn must_ask(&self, fact: &LookupError) -> bool {
        let reported = matches!(fact, LookupError::LoginRequired { expired_at: None, .. });
        reported && self.refused.as_ref().is_some_and(|refused| self.sent().elapsed <= refused.at.elapsed)
    }

    fn tokens(&self, shown: &Selector) -> impl Iterator<Item = IdpToken<'_>> {
        let identities = self.profile().map(|profile| profile.identities.as_slice()).unwrap_or_default();
        let identities = identities.iter().filter(|identity| shown.shows(identity.connection()));
        identities.filter_map(Identity::token)
    }

    /// Bytes that `user` and this entry take in the cache.
    pub fn weight(&self, user: &UserId) -> u32 {
        let profile = self.profile().map_or(0, Profile::apart);
        let refused = self
            .refused
            .as_ref()
            .map_or(0, |refused| size_of::<Refused>() + refused.tokens.len() * size_of::<Tag>());
        let own = size_of::<Self>() + size_of::<UserId>();
        u32::try_from(OVERHEAD + own + user.as_str().len() + profile + refused).unwrap_or(u32::MAX)
    }
}

fn remembered(fact: &LookupError, rules: &Rules) -> Duration {
    match fact {
        LookupError::UserNotFound => rules.negative.user_not_found,
        LookupError::LoginRequired { .. } | LookupError::MinTtlUnsatisfiable { .. } => {
            rules.negative.login_required
        }
        _ => rules.negative.no_token,
    }
}

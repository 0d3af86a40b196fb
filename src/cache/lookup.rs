//! Lookups as values: what a client asks for, what the cache answers, and what a miss has to fetch.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::error::LookupError;
use crate::domain::freshness::Moment;
use crate::domain::identity::{Identity, IdpToken, TokenPlace};
use crate::domain::priority::Flow;
use crate::domain::user::{Selector, UserId};

use super::entry::{Entry, Judgement, Rules, UserState};

/// A lookup of one token.
#[derive(Clone, Debug)]
pub struct Query {
    /// The user.
    pub user: UserId,
    /// Selects the identity.
    pub selector: Selector,
    /// The client's other conditions.
    pub options: LookupOptions,
}

/// Options of a token lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupOptions {
    /// The token has to be valid for this long.
    pub min_ttl: Duration,
    /// Auth0 has to be asked, whatever is cached.
    pub fresh: bool,
}

/// A lookup of a user's identities.
#[derive(Clone, Debug)]
pub struct IdentitiesQuery {
    /// The user.
    pub user: UserId,
}

/// A lookup that an entry can answer.
pub trait Lookup: Send + Sync {
    /// The part of the entry that [`Served`] keeps, so that it is searched for once.
    type Found: Send;

    /// The user that the lookup is about.
    fn user(&self) -> &UserId;

    /// Whether Auth0 has to be asked, whatever is cached.
    fn is_fresh(&self) -> bool;

    /// The token that the lookup is about, and for how long it has to be valid; `None` for a lookup of no token.
    fn token(&self) -> Option<(&Selector, Duration)> {
        None
    }

    /// What `entry` answers at `now`.
    fn judge(&self, entry: &Entry, rules: &Rules, now: Moment) -> Judgement<Self::Found>;
}

impl Lookup for Query {
    type Found = TokenPlace;

    fn user(&self) -> &UserId {
        &self.user
    }

    fn is_fresh(&self) -> bool {
        self.options.fresh
    }

    fn token(&self) -> Option<(&Selector, Duration)> {
        Some((&self.selector, self.options.min_ttl))
    }

    fn judge(&self, entry: &Entry, rules: &Rules, now: Moment) -> Judgement<TokenPlace> {
        entry.judge_token(&self.selector, self.options.min_ttl, rules, now)
    }
}

impl Lookup for IdentitiesQuery {
    type Found = UserState;

    fn user(&self) -> &UserId {
        &self.user
    }

    fn is_fresh(&self) -> bool {
        false
    }

    fn judge(&self, entry: &Entry, rules: &Rules, now: Moment) -> Judgement<UserState> {
        entry.judge_identities(rules, now)
    }
}

/// The cache's result for a lookup, without waiting.
#[derive(Debug)]
pub enum Peeked<Q: Lookup> {
    /// The answer.
    Ready(Result<Served<Q::Found>, LookupError>),
    /// Auth0 has to be asked.
    Miss(Miss<Q>),
}

/// A lookup that the cache cannot answer, on its way to [`super::Cache::fetch`].
#[derive(Debug)]
pub struct Miss<Q> {
    pub(super) query: Q,
    pub(super) flow: Flow,
    /// The entry that was not good enough.
    pub(super) cached: Option<Arc<Entry>>,
    /// `cached` is the answer where Auth0 cannot be asked.
    pub(super) is_stale: bool,
    /// When the lookup began.
    pub(super) begun: Moment,
}

impl<Q: Lookup> Miss<Q> {
    /// The user that the lookup is about.
    pub fn user(&self) -> &UserId {
        self.query.user()
    }
}

/// The answer to a lookup. `F` is what it found: by default a token.
#[derive(Debug)]
pub struct Served<F = TokenPlace> {
    /// The user that was asked about.
    pub user: UserId,
    /// Where the answer came from.
    pub state: CacheState,
    /// When the cache decided that this may be the answer.
    pub now: Moment,
    entry: Arc<Entry>,
    found: F,
}

impl<F> Served<F> {
    /// The answer to `query`, given the `outcome` of `entry`.
    pub(super) fn new<Q: Lookup<Found = F>>(
        query: &Q,
        entry: Arc<Entry>,
        outcome: Result<F, LookupError>,
        state: CacheState,
        now: Moment,
    ) -> Result<Self, LookupError> {
        outcome.map(|found| Self { user: query.user().clone(), state, now, entry, found })
    }

    /// When Auth0 was asked.
    pub fn fetched(&self) -> Moment {
        self.entry.sent()
    }
}

impl Served<TokenPlace> {
    /// The identity that the lookup found, and its token.
    pub fn token(&self) -> (&Identity, IdpToken<'_>) {
        self.found.of(self.entry.identities())
    }
}

impl Served<UserState> {
    /// Whether Auth0 has blocked the user.
    pub fn is_blocked(&self) -> bool {
        self.found.is_blocked
    }

    /// The user's identities, the primary one first.
    pub fn identities(&self) -> &[Identity] {
        self.entry.identities()
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// The cache.
    Hit,
    /// Auth0, asked for this lookup or for another one under way.
    Miss,
    /// The cache, because Auth0 could not be asked.
    Stale,
}

impl CacheState {
    /// The name in headers and audit lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
        }
    }
}

/// The outcome of a report that a provider refused a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The token was cached, and is not served any more.
    Dropped,
    /// Another token is cached.
    AlreadyReplaced,
    /// No token of this user is cached.
    Unknown,
}

//! What callers ask for and what they are given.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::domain::error::LookupError;
use crate::domain::freshness::Moment;
use crate::domain::identity::{Identity, IdpToken, Profile};
use crate::domain::user::Selector;

use super::entry::Entry;

/// What a caller wishes besides a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupOptions {
    /// It has to be valid for this long.
    pub min_ttl: Duration,
    /// Auth0 has to be asked, whatever is held.
    pub fresh: bool,
}

/// What became of a report that a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// It was the one held, and is no more.
    Dropped,
    /// Another one is held.
    AlreadyReplaced,
    /// Nothing is held of this user.
    Unknown,
}

/// A lookup under way. What is known is answered at once, so that a hit has nothing of what a miss needs to carry about.
pub enum Lookup<'a> {
    /// The answer was in the cache; it is taken with the first poll.
    Known(Option<Result<Served, LookupError>>),
    /// Auth0 has to be asked.
    Asked(Pin<Box<dyn Future<Output = Result<Served, LookupError>> + Send + 'a>>),
}

impl Future for Lookup<'_> {
    type Output = Result<Served, LookupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Known(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Self::Asked(asked) => asked.as_mut().poll(cx),
        }
    }
}

/// An answer to a lookup.
#[derive(Debug)]
pub struct Served {
    entry: Arc<Entry>,
    /// Where it came from.
    pub state: CacheState,
    /// When it was decided that it may be served.
    pub now: Moment,
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
    /// As it is written in headers and audit lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
        }
    }
}

/// What a lookup comes to, given what `entry` says.
pub(super) fn served(
    entry: Arc<Entry>,
    outcome: Result<(), LookupError>,
    state: CacheState,
    now: Moment,
) -> Result<Served, LookupError> {
    outcome.map(|()| Served { entry, state, now })
}

impl Served {
    /// The user. `None` cannot happen, since a user that is not there is an error; it is left to the type.
    pub fn profile(&self) -> Option<&Profile> {
        self.entry.profile()
    }

    /// The identity and token that `selector` means: the same that the lookup found.
    pub fn select(&self, selector: &Selector) -> Option<(&Identity, IdpToken<'_>)> {
        self.profile()?.select(selector).ok()
    }

    /// When Auth0 was asked.
    pub fn fetched(&self) -> Moment {
        self.entry.sent()
    }
}

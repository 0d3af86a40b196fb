//! The cache of users: answers lookups from memory, and decides when Auth0 is asked.
//!
//! An entry is a user, not an identity: one answer of Auth0 carries every identity, so one entry, one flight and one
//! refresh serve them all. moka bounds the size; freshness is decided here on every read, because moka's clock stops
//! while the machine sleeps.

use std::sync::Arc;

use moka::ops::compute::Op;

use crate::clock::Clock;
use crate::config;
use crate::domain::error::{LookupError, Unavailable};
use crate::domain::freshness::{Freshness, Moment};
use crate::domain::identity::IdpToken;
use crate::domain::priority::{Flow, Priority};
use crate::domain::source::Source;
use crate::domain::user::{Selector, UserId};
use crate::flight::Flights;
use crate::secret::Tag;
use crate::telemetry::{Counters, UserNames};

mod backoff;
pub mod entry;
mod fetch;
mod issuer;
mod issuing;
mod landing;
mod lookup;
mod refused_tokens;
mod renewal_landing;
mod slot;
mod source;
mod store;

use backoff::UserBackoff;
use entry::{Entry, Judgement, RefusedToken, Rules};
use refused_tokens::{RefusalReport, Refusals};
use renewal_landing::{RenewalKey, Renewed};
use slot::Slot;
use store::Store;

pub use entry::UserState;
pub use issuer::{Forgetting, Issuing, NewToken, SourceAnswer, TokenIssuer, Wanted};
pub use lookup::{
    CacheState, IdentitiesQuery, Lookup, LookupOptions, Miss, Peeked, Query, ReportOutcome, Served,
};
pub use source::{Fetched, Fetching, ForWhom, NotNow, ProfileSource};

/// Flights at a time. A client that leaves does not end its flight, so without a bound a client could pile flights up
/// by asking for one unknown user after another and hanging up. No uid, not even root or the daemon's own, has more
/// flights than it leaves to others.
const MAX_FLIGHTS: usize = 1024;

/// The cache. One instance serves the whole daemon.
pub struct Cache {
    store: Store,
    flights: Flights<UserId, Flow, Result<Arc<Entry>, Unavailable>>,
    renewals: Flights<RenewalKey, Flow, Renewed>,
    backoff: UserBackoff,
    refusals: Refusals,
    source: Arc<dyn ProfileSource>,
    issuer: Arc<dyn TokenIssuer>,
    clock: Clock,
    counters: Arc<Counters>,
    names: UserNames,
}

impl Cache {
    /// An empty cache in front of `source`, and of `issuer` for tokens that Auth0 does not store.
    pub fn new(
        settings: &config::Cache,
        source: Arc<dyn ProfileSource>,
        issuer: Arc<dyn TokenIssuer>,
        clock: Clock,
        counters: Arc<Counters>,
        names: UserNames,
        seed: u64,
    ) -> Self {
        Self {
            store: Store::new(settings, Arc::clone(&counters)),
            flights: Flights::new(MAX_FLIGHTS),
            renewals: Flights::new(MAX_FLIGHTS),
            backoff: UserBackoff::new(seed),
            refusals: Refusals::default(),
            source,
            issuer,
            clock,
            counters,
            names,
        }
    }

    /// Applies these settings from now on. Entries stay, unless `max_bytes` has become less.
    pub fn reconfigure(&self, settings: &config::Cache) {
        self.store.reconfigure(settings);
    }

    fn rules(&self) -> Rules {
        self.store.now().rules
    }

    /// The answer to `query` from the cache, or what [`Cache::fetch`] needs for it. Does not wait, and begins nothing
    /// for a miss. `now` is a reading of this cache's clock, and requests to Auth0 are scheduled in `flow`.
    pub fn peek<Q: Lookup>(&self, query: Q, flow: Flow, now: Moment) -> Peeked<Q> {
        let (cached, judgement) = {
            let store = self.store.now();
            let cached = store.cached(query.user());
            let servable = cached.as_ref().filter(|_| !query.is_fresh());
            let judgement = servable.map(|entry| query.judge(entry, &store.rules, now));
            (cached, judgement)
        };
        let (cached, is_stale) = match (cached, judgement) {
            (
                Some(entry),
                Some(Judgement {
                    freshness: freshness @ (Freshness::Fresh | Freshness::RefreshDue),
                    outcome,
                }),
            ) => {
                if freshness == Freshness::RefreshDue {
                    self.renew_behind(&query, flow, &entry, now);
                }
                let answer = Served::new(&query, entry, outcome, CacheState::Hit, now);
                return Peeked::Ready(self.count(answer, now));
            }
            (cached, judgement) => {
                (cached, judgement.is_some_and(|judgement| judgement.freshness == Freshness::Stale))
            }
        };
        Peeked::Miss(Miss { query, flow, cached, is_stale, begun: now })
    }

    /// Whether `token` may be served at `now`, as far as its expiry is concerned.
    pub fn is_alive(&self, token: &IdpToken<'_>, now: Moment) -> bool {
        token.is_alive(&self.rules().terms, now)
    }

    /// Removes everything about `user` from memory. The next lookup asks Auth0, even if an earlier answer is on its
    /// way.
    pub fn purge(&self, user: &UserId) {
        // In this order, so that a flight that lands in between either knows of the purge, or is removed with the rest.
        self.flights.void(user);
        self.renewals.void_where(|(of, _)| of == user);
        self.refusals.forget(user);
        self.store.now().entries.invalidate(user);
        self.backoff.forget(user);
    }

    /// Forgets what a refresh of this user's tokens needs, besides what [`Cache::purge`] removes.
    pub fn forget(&self, user: &UserId) -> Forgetting {
        self.issuer.forget(user.clone())
    }

    /// Forgets what refreshes need, for all users.
    pub fn forget_all(&self) -> Forgetting {
        self.issuer.forget_all()
    }

    /// Removes all users.
    pub fn purge_all(&self) {
        self.flights.void_all();
        self.renewals.void_all();
        self.refusals.forget_all();
        slot::clear_all(&self.store.now().entries);
        self.backoff.forget_all();
    }

    /// Cached users, and the bytes that they take.
    pub fn size(&self) -> (u64, u64) {
        let entries = &self.store.now().entries;
        entries.run_pending_tasks();
        (entries.entry_count(), entries.weighted_size())
    }

    /// Flights under way. With none, every answer that has arrived is stored.
    pub fn in_flight(&self) -> usize {
        self.flights.len() + self.renewals.len()
    }

    /// `cache.max_bytes`.
    pub fn max_bytes(&self) -> u64 {
        self.store.now().settings.max_bytes
    }

    /// A client reports that a provider refused the token with this fingerprint. The token is dropped if it is still
    /// the cached one, so that a late report about a replaced token does nothing. Tokens that `shown` does not show to
    /// the client do not exist for it. A token that was reported before is dropped, and is not reported again.
    ///
    /// # Errors
    /// [`LookupError::RateLimited`]: the next lookup after a report asks Auth0, so a report takes from the budget.
    pub fn report(
        &self,
        flow: Flow,
        user: &UserId,
        fingerprint: Tag,
        shown: &Selector,
    ) -> Result<ReportOutcome, LookupError> {
        let outcome_for = |entry: Option<&Entry>| match entry {
            Some(entry) if entry.holds(fingerprint, shown) => ReportOutcome::Dropped,
            Some(entry) if entry.shows_a_token(shown) => ReportOutcome::AlreadyReplaced,
            _ => ReportOutcome::Unknown,
        };
        let is_news = |entry: &Arc<Entry>| entry.holds(fingerprint, shown) && !entry.is_refused(fingerprint);
        let cached = self.cached(user);
        if !cached.as_ref().is_some_and(is_news) {
            return Ok(outcome_for(cached.as_deref()));
        }
        self.source.spare(Priority::Fresh).map_err(|retry_after| LookupError::RateLimited { retry_after })?;
        let now = self.clock.now();
        let mut outcome = ReportOutcome::Unknown;
        // A flight under way began before the report, so it does not answer lookups after it.
        self.flights.outdate(user);
        // One step with respect to landing flights: either they see the report, or it sees what they have stored.
        self.store.now().entries.entry_by_ref(user).and_compute_with(|slot| {
            let cached = slot.and_then(|slot| slot.value().entry());
            outcome = outcome_for(cached.as_deref());
            let Some(cached) = cached.filter(is_news) else { return Op::Nop };
            let refused = RefusedToken { fingerprint, at: self.clock.counted() };
            if let Some((account, token)) = cached.find_token(fingerprint) {
                self.refusals.add(
                    user,
                    RefusalReport {
                        refused,
                        flow,
                        account,
                        expires: token.expires,
                        is_issued: token.source != Source::Identities,
                    },
                    now,
                );
            }
            Op::Put(Slot::of(Arc::new(cached.with_refused(refused))))
        });
        Ok(outcome)
    }

    fn cached(&self, user: &UserId) -> Option<Arc<Entry>> {
        self.store.now().cached(user)
    }

    fn count<F>(
        &self,
        answer: Result<Served<F>, LookupError>,
        begun: Moment,
    ) -> Result<Served<F>, LookupError> {
        let (counters, took) = (&self.counters, &self.counters.lookup_durations);
        let (counter, histogram) = match &answer {
            Ok(Served { state: CacheState::Hit, .. }) => (&counters.hits, &took.hit),
            Ok(Served { state: CacheState::Miss, .. }) => (&counters.misses, &took.miss),
            Ok(Served { state: CacheState::Stale, .. }) => (&counters.stale, &took.stale),
            Err(why) if why.is_fact() => (&counters.negatives, &took.negative),
            Err(_) => (&counters.errors, &took.error),
        };
        counter.add();
        histogram.observe(self.clock.since(begun));
        answer
    }
}

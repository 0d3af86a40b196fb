//! Users' entries: look up → decide → join or start a flight → refresh ahead → remember.
//!
//! The record is the user, not the identity: one answer of Auth0 carries every identity, so one entry, one flight
//! and one refresh serve them all. moka bounds the size; freshness is decided here on every read, because
//! moka's clock stands still while the machine sleeps.

use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config;
use crate::domain::error::{Failure, LookupError, Stage, Unavailable};
use crate::domain::freshness::{Freshness, Moment};
use crate::domain::identity::IdpToken;
use crate::domain::priority::{Flow, Priority};
use crate::domain::user::{Selector, UserId};
use crate::flight::{Flight, Flights, NoFlight};
use crate::secret::Tag;
use crate::telemetry::{Counters, UserNames};

mod backoff;
pub mod entry;
mod landing;
mod lookup;
mod refusals;
mod slot;
mod source;
mod store;

use backoff::UserBackoff;
use entry::{Entry, Judgement, Question, Rules};
use landing::Landing;
use lookup::served;
use refusals::{Kept, Refusal, Refusals};
use slot::Slot;
use store::Store;

pub use lookup::{CacheState, Lookup, LookupOptions, ReportOutcome, Served};
pub use source::{Fetched, Fetching, ForWhom, NotNow, ProfileSource};

/// Flights at a time. Callers that leave do not end their flights, so without a bound a caller that asks for one
/// unknown user after another and hangs up could pile them up. No uid, be it root's or the daemon's own, has more of
/// them than are left for others.
const MAX_FLIGHTS: usize = 1024;

/// Between two of our own faults for one user.
const AFTER_A_FAULT: Duration = Duration::from_secs(1);

/// For how long a caller waits for Auth0 although a token is held that is alive, but older than `cache.max_ttl`. Far
/// longer than a tenant that is well takes to answer, and shorter than callers of a local daemon are used to wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// The cache. One instance serves the whole daemon.
pub struct Cache {
    store: Store,
    flights: Flights<UserId, Flow, Result<Arc<Entry>, Unavailable>>,
    backoff: UserBackoff,
    refusals: Refusals,
    source: Arc<dyn ProfileSource>,
    clock: Clock,
    counters: Arc<Counters>,
    names: UserNames,
}

type UserFlight = Flight<Result<Arc<Entry>, Unavailable>>;

impl Cache {
    /// An empty cache in front of `source`.
    pub fn new(
        settings: &config::Cache,
        source: Arc<dyn ProfileSource>,
        clock: Clock,
        counters: Arc<Counters>,
        names: UserNames,
        seed: u64,
    ) -> Self {
        Self {
            store: Store::new(settings, Arc::clone(&counters)),
            flights: Flights::new(MAX_FLIGHTS),
            backoff: UserBackoff::new(seed),
            refusals: Refusals::default(),
            source,
            clock,
            counters,
            names,
        }
    }

    /// Goes by these settings from now on. Nothing is forgotten for it, unless there is less room.
    pub fn reconfigure(&self, settings: &config::Cache) {
        self.store.reconfigure(settings);
    }

    fn rules(&self) -> Rules {
        self.store.now().rules
    }

    /// The token of `user` that `selector` means, valid for as long as `options` says. If Auth0 has to be asked, that is
    /// done in a turn of `flow`.
    pub fn token<'a>(
        &'a self,
        flow: Flow,
        user: &'a UserId,
        selector: &'a Selector,
        options: LookupOptions,
    ) -> Lookup<'a> {
        self.token_at(self.clock.now(), flow, user, selector, options)
    }

    /// The same for whoever has read this cache's clock just now.
    pub fn token_at<'a>(
        &'a self,
        now: Moment,
        flow: Flow,
        user: &'a UserId,
        selector: &'a Selector,
        options: LookupOptions,
    ) -> Lookup<'a> {
        self.lookup(now, flow, user, Question::Token { selector, min_ttl: options.min_ttl }, options.fresh)
    }

    /// The identities of `user`. If Auth0 has to be asked, that is done in a turn of `flow`.
    pub fn identities<'a>(&'a self, flow: Flow, user: &'a UserId) -> Lookup<'a> {
        self.lookup(self.clock.now(), flow, user, Question::Identities, false)
    }

    /// Whether `token` could be served at `now`.
    pub fn is_alive(&self, token: &IdpToken<'_>, now: Moment) -> bool {
        !token.expires.is_some_and(|expires| self.rules().terms.is_over(expires, now))
    }

    /// Forgets `user`, of whom nothing is left in memory then. The next lookup asks Auth0, even if an answer from
    /// before is on its way.
    pub fn purge(&self, user: &UserId) {
        // In this order: an answer that lands in between is either told, or forgotten with the rest.
        self.flights.void(user);
        self.refusals.forget(user);
        self.store.now().entries.invalidate(user);
        self.backoff.forget(user);
    }

    /// Forgets everybody.
    pub fn purge_all(&self) {
        self.flights.void_all();
        self.refusals.forget_all();
        slot::clear_all(&self.store.now().entries);
        self.backoff.forget_all();
    }

    /// Users remembered, and the bytes they take.
    pub fn size(&self) -> (u64, u64) {
        let entries = &self.store.now().entries;
        entries.run_pending_tasks();
        (entries.entry_count(), entries.weighted_size())
    }

    /// Users who are being asked for. Nought means that what came has been stored.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// `cache.max_bytes`.
    pub fn max_bytes(&self) -> u64 {
        self.store.now().settings.max_bytes
    }

    /// A caller says that its provider refused the token with this fingerprint. It is dropped if it is still the
    /// one held, so that a late report about one that was replaced does nothing; and what is not `shown` to the caller
    /// is not there. What has been reported already is dropped, and is not reported again.
    ///
    /// # Errors
    /// [`LookupError::RateLimited`]: a report makes Auth0 be asked, so it spends from the budget.
    pub fn report(
        &self,
        flow: Flow,
        user: &UserId,
        fingerprint: Tag,
        shown: &Selector,
    ) -> Result<ReportOutcome, LookupError> {
        let says = |entry: Option<&Entry>| match entry {
            Some(entry) if entry.holds(fingerprint, shown) => ReportOutcome::Dropped,
            Some(entry) if entry.shows_a_token(shown) => ReportOutcome::AlreadyReplaced,
            _ => ReportOutcome::Unknown,
        };
        let is_news = |entry: &Arc<Entry>| entry.holds(fingerprint, shown) && !entry.is_refused(fingerprint);
        let held = self.held(user);
        if !held.as_ref().is_some_and(is_news) {
            return Ok(says(held.as_deref()));
        }
        self.source.spare(Priority::Fresh).map_err(|retry_after| LookupError::RateLimited { retry_after })?;
        let now = self.clock.now();
        let mut outcome = ReportOutcome::Unknown;
        // A flight that is under way was sent before the report, and is no answer to whoever asks after it.
        self.flights.outdate(user);
        // One step with respect to flights that land: either they see the report, or it sees what they brought.
        self.store.now().entries.entry_by_ref(user).and_compute_with(|held| {
            let held = held.and_then(|held| held.value().entry());
            outcome = says(held.as_deref());
            let Some(held) = held.filter(is_news) else { return Op::Nop };
            let refusal = Refusal { fingerprint, at: self.clock.counted() };
            if let Some((account, token)) = held.find_token(fingerprint) {
                self.refusals.add(user, Kept { refusal, flow, account, expires: token.expires }, now);
            }
            Op::Put(Slot::of(Arc::new(held.with_refused(refusal))))
        });
        Ok(outcome)
    }

    fn held(&self, user: &UserId) -> Option<Arc<Entry>> {
        self.store.now().held(user)
    }

    fn lookup<'a>(
        &'a self,
        now: Moment,
        flow: Flow,
        user: &'a UserId,
        question: Question<'a>,
        fresh: bool,
    ) -> Lookup<'a> {
        let (held, judgement) = {
            let store = self.store.now();
            let held = store.held(user);
            let servable = held.as_ref().filter(|_| !fresh);
            let judgement = servable.map(|entry| entry.judge(question, &store.rules, now));
            (held, judgement)
        };
        let (held, is_stale) = match (held, judgement) {
            (Some(entry), Some(Judgement { freshness: Freshness::Fresh, outcome })) => {
                let answer = served(entry, outcome, CacheState::Hit, now);
                return Lookup::Known(Some(self.count(answer, now)));
            }
            (Some(entry), Some(Judgement { freshness: Freshness::RefreshDue, outcome })) => {
                self.refresh_behind(flow, user, &entry, Priority::Ahead, now);
                let answer = served(entry, outcome, CacheState::Hit, now);
                return Lookup::Known(Some(self.count(answer, now)));
            }
            (held, judgement) => {
                (held, judgement.is_some_and(|judgement| judgement.freshness == Freshness::Stale))
            }
        };
        Lookup::Asked(Box::pin(async move {
            let stale = held.as_ref().filter(|_| is_stale);
            self.count(self.asked(flow, user, question, fresh, held.as_ref(), stale).await, now)
        }))
    }

    /// The answer where what is `held` does not do, or is `stale`.
    async fn asked(
        &self,
        flow: Flow,
        user: &UserId,
        question: Question<'_>,
        fresh: bool,
        held: Option<&Arc<Entry>>,
        stale: Option<&Arc<Entry>>,
    ) -> Result<Served, LookupError> {
        if let Some(entry) = stale
            && let Some(answer) = self.ask_briefly(flow, user, entry, question).await
        {
            return answer;
        }
        if let Some(unavailable) = self.backoff.is_quiet(user, true, self.clock.now()) {
            return Err(LookupError::Unavailable(unavailable));
        }
        let priority = if fresh { Priority::Fresh } else { Priority::Caller };
        let entry = self.ask(flow, user, held, priority).await?;
        self.served_now(entry, question)
    }

    /// What `entry`, which Auth0 was just asked for, says.
    fn served_now(&self, entry: Arc<Entry>, question: Question<'_>) -> Result<Served, LookupError> {
        let now = self.clock.now();
        let outcome = entry.judge(question, &self.rules(), now).outcome;
        served(entry, outcome, CacheState::Miss, now)
    }

    /// Asks Auth0 for `user`, of whom something is held that is stale: if that can be done now, and for no longer
    /// than [`PATIENCE`]. What is held is the answer otherwise; `None` if it dies meanwhile.
    async fn ask_briefly(
        &self,
        flow: Flow,
        user: &UserId,
        held: &Arc<Entry>,
        question: Question<'_>,
    ) -> Option<Result<Served, LookupError>> {
        if self.backoff.is_expected(user) {
            // It is tried again, but nobody waits to see it fail again.
            self.refresh_behind(flow, user, held, Priority::Stale, self.clock.now());
        } else {
            match timeout(PATIENCE, self.ask(flow, user, Some(held), Priority::Stale)).await {
                Ok(Ok(entry)) => return Some(self.served_now(entry, question)),
                Ok(Err(_)) => {}
                Err(_) => self.backoff.expect(),
            }
        }
        let now = self.clock.now();
        let judgement = held.judge(question, &self.rules(), now);
        let servable = judgement.outcome.is_ok() && judgement.freshness != Freshness::Expired;
        servable.then(|| served(Arc::clone(held), Ok(()), CacheState::Stale, now))
    }

    /// Asks Auth0 for `user`, or joins whoever is asking already. `held` is what was not good enough.
    async fn ask(
        &self,
        flow: Flow,
        user: &UserId,
        held: Option<&Arc<Entry>>,
        priority: Priority,
    ) -> Result<Arc<Entry>, LookupError> {
        loop {
            let flight = match self.fly(flow, user, held, priority) {
                Ok(flight) => flight,
                Err(NoFlight::Refused(Instead::Landed(entry))) => return Ok(entry),
                Err(NoFlight::Refused(Instead::NotNow(NotNow::NoRoom(retry_after)))) => {
                    return Err(LookupError::RateLimited { retry_after });
                }
                Err(NoFlight::Refused(Instead::NotNow(NotNow::Unavailable(why)))) => {
                    return Err(LookupError::Unavailable(why));
                }
                Err(NoFlight::Full) => return Err(LookupError::Overloaded),
            };
            if flight.joined() {
                self.counters.flights_joined.add();
            }
            let too_old = flight.is_too_old();
            match flight.landed().await {
                // Asked for before a purge or a report that this lookup came after: once more.
                Some(_) if too_old => {}
                Some(Ok(entry)) => return Ok(entry),
                Some(Err(unavailable)) => return Err(LookupError::Unavailable(unavailable)),
                None => {
                    let (stage, failure) = (Stage::User, Failure::Fault);
                    let fault = Unavailable { stage, failure, retry_after: AFTER_A_FAULT };
                    return Err(LookupError::Unavailable(fault));
                }
            }
        }
    }

    /// Starts a refresh that nobody waits for, unless one is under way, has just failed, or there is no room.
    fn refresh_behind(&self, flow: Flow, user: &UserId, held: &Arc<Entry>, priority: Priority, now: Moment) {
        let is_quiet = self.backoff.is_quiet(user, false, now).is_some();
        if !is_quiet && self.fly(flow, user, Some(held), priority).is_err() {
            tracing::trace!("Not refreshed: there is no room to spare");
        }
    }

    /// Joins or starts the flight for `user`. Its result is remembered whether or not anybody waits for it.
    fn fly(
        &self,
        flow: Flow,
        user: &UserId,
        held: Option<&Arc<Entry>>,
        priority: Priority,
    ) -> Result<UserFlight, NoFlight<Instead>> {
        self.flights.join(user.clone(), flow, |obsolete, for_whom| {
            // With several threads a flight may have landed since the caller looked: then it has what it wants.
            let landed = self.held(user).filter(|now| held.is_none_or(|held| !Arc::ptr_eq(held, now)));
            let landed = landed.filter(|landed| !landed.is_before_a_report());
            if let (Some(entry), Priority::Caller | Priority::Stale) = (landed, priority) {
                return Err(Instead::Landed(entry));
            }
            let fetching = match priority {
                Priority::Management | Priority::Caller => self.source.fetch(user.clone(), for_whom),
                Priority::Stale | Priority::Fresh | Priority::Ahead => {
                    self.source.fetch_if_spare(user.clone(), priority).map_err(Instead::NotNow)?
                }
            };
            let landing = Landing {
                user: user.clone(),
                obsolete,
                store: self.store.clone(),
                backoff: self.backoff.clone(),
                refusals: self.refusals.clone(),
                clock: self.clock.clone(),
                names: self.names.clone(),
            };
            Ok(async move { landing.land(fetching.await) })
        })
    }

    fn count(&self, answer: Result<Served, LookupError>, begun: Moment) -> Result<Served, LookupError> {
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

/// What there is instead of a new flight.
enum Instead {
    /// One has landed since.
    Landed(Arc<Entry>),
    /// None can be begun.
    NotNow(NotNow),
}

//! Users' entries: look up → decide → join or start a flight → refresh ahead → remember.
//!
//! The record is the user, not the identity: one answer of Auth0 carries every identity, so one entry, one flight
//! and one refresh serve them all. moka bounds the size; freshness is decided here on every read, because
//! moka's clock stands still while the machine sleeps.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::config;
use crate::domain::error::{Failure, LookupError, Stage, Unavailable};
use crate::domain::freshness::{Freshness, Moment, Terms};
use crate::domain::identity::{Identity, IdpToken, Profile};
use crate::domain::user::{Selector, UserId};
use crate::flight::{Flight, Flights};
use crate::telemetry::{Counters, UserNames};

pub mod entry;

use entry::{Entry, Question, Rules};

/// Flights at a time. Callers that leave do not end their flights, so without a bound a caller that asks for one
/// unknown user after another and hangs up could pile them up.
const MAX_FLIGHTS: usize = 1024;

/// Between two of our own faults for one user.
const AFTER_A_FAULT: Duration = Duration::from_secs(1);

/// Where profiles come from when the cache has none to serve.
pub trait ProfileSource: Send + Sync + 'static {
    /// Asks for `user`. Ends within `tenant.request_timeout`, retries included.
    fn fetch(&self, user: UserId) -> Fetching;
}

/// A fetch under way; it owns what it needs, since it outlives the caller that wanted it.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Fetched, Unavailable>> + Send>>;

/// What a source knows of a user.
#[derive(Debug)]
pub struct Fetched {
    /// `None`: there is no such user.
    pub profile: Option<Profile>,
    /// When the request was sent; everything ages from then.
    pub sent: Moment,
    /// The source was not allowed to see tokens, so their absence says nothing about the user.
    pub tokens_withheld: bool,
}

/// The cache. One instance serves the whole daemon.
pub struct Cache {
    entries: moka::sync::Cache<UserId, Arc<Entry>>,
    flights: Flights<UserId, Result<Arc<Entry>, Unavailable>>,
    /// How many purges were made. An answer that was asked for before a purge is not remembered after it.
    epoch: Arc<AtomicU64>,
    source: Arc<dyn ProfileSource>,
    clock: Clock,
    rules: Rules,
    max_bytes: u64,
    counters: Arc<Counters>,
    names: UserNames,
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

impl Cache {
    /// An empty cache in front of `source`.
    pub fn new(
        settings: &config::Cache,
        source: Arc<dyn ProfileSource>,
        clock: Clock,
        counters: Arc<Counters>,
        names: UserNames,
    ) -> Self {
        let servable_for = settings.max_ttl.saturating_add(settings.max_stale);
        let refresh_after =
            (settings.refresh_ahead > 0.0).then(|| settings.max_ttl.mul_f64(settings.refresh_ahead));
        Self {
            entries: moka::sync::Cache::builder()
                .max_capacity(settings.max_bytes)
                .weigher(|user: &UserId, entry: &Arc<Entry>| entry.weight(user))
                // Only to give memory back: by then no entry can be served, by our own clock.
                .time_to_live(servable_for.saturating_add(Duration::from_secs(60)))
                .build(),
            flights: Flights::new(MAX_FLIGHTS),
            epoch: Arc::default(),
            source,
            clock,
            rules: Rules {
                terms: Terms {
                    refresh_after,
                    fresh_for: settings.max_ttl,
                    servable_for,
                    min_ttl: settings.min_ttl,
                },
                negative: settings.negative,
            },
            max_bytes: settings.max_bytes,
            counters,
            names,
        }
    }

    /// The token of `user` that `selector` means.
    pub async fn token(&self, user: &UserId, selector: &Selector) -> Result<Served, LookupError> {
        self.count(self.lookup(user, Question::Token(selector)).await)
    }

    /// The identities of `user`.
    pub async fn identities(&self, user: &UserId) -> Result<Served, LookupError> {
        self.count(self.lookup(user, Question::Identities).await)
    }

    /// Whether `token` could be served at `now`.
    pub fn is_alive(&self, token: &IdpToken, now: Moment) -> bool {
        !token.expires.is_some_and(|expires| self.rules.terms.is_over(expires, now))
    }

    /// Forgets `user`. The next lookup asks Auth0, even if an answer from before is on its way.
    pub fn purge(&self, user: &UserId) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate(user);
    }

    /// Forgets everybody.
    pub fn purge_all(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate_all();
    }

    /// Users remembered, and the bytes they take.
    pub fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    /// `cache.max_bytes`.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    async fn lookup(&self, user: &UserId, question: Question<'_>) -> Result<Served, LookupError> {
        let now = self.clock.now();
        let held = self.entries.get(user);
        if let Some(entry) = &held {
            let judgement = entry.judge(question, &self.rules, now);
            match judgement.freshness {
                Freshness::Fresh => return served(entry, judgement.outcome, CacheState::Hit, now),
                Freshness::RefreshDue => {
                    self.refresh_behind(user, entry, now);
                    return served(entry, judgement.outcome, CacheState::Hit, now);
                }
                // Auth0 failed for this user a moment ago: nobody waits for it to fail again.
                Freshness::Stale if entry.is_quiet(now) => {
                    return served(entry, Ok(()), CacheState::Stale, now);
                }
                Freshness::Stale | Freshness::Expired => {}
            }
        }
        match self.ask(user).await {
            Ok(entry) => {
                let now = self.clock.now();
                served(&entry, entry.judge(question, &self.rules, now).outcome, CacheState::Miss, now)
            }
            Err(why) => {
                let now = self.clock.now();
                let stale = held.filter(|entry| is_servable(entry, question, &self.rules, now));
                stale.map_or(Err(why), |entry| served(&entry, Ok(()), CacheState::Stale, now))
            }
        }
    }

    /// Asks Auth0 for `user`, or joins whoever is asking already.
    async fn ask(&self, user: &UserId) -> Result<Arc<Entry>, LookupError> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        loop {
            let flight = self.fly(user).map_err(|_| LookupError::Overloaded)?;
            match flight.landed().await {
                // Asked for before a purge that this lookup came after: once more.
                Some(Ok(entry)) if entry.epoch() < epoch => {}
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

    /// Starts a refresh that nobody waits for, unless one is under way or has just failed.
    fn refresh_behind(&self, user: &UserId, entry: &Arc<Entry>, now: Moment) {
        if !entry.is_quiet(now) && self.fly(user).is_err() {
            tracing::debug!("Not refreshed ahead: too many lookups wait for Auth0");
        }
    }

    /// Joins or starts the flight for `user`. Its result is remembered whether or not anybody waits for it.
    fn fly(&self, user: &UserId) -> Result<Flight<Result<Arc<Entry>, Unavailable>>, crate::flight::Full> {
        self.flights.join(user.clone(), || {
            let (epochs, entries) = (Arc::clone(&self.epoch), self.entries.clone());
            let (clock, names) = (self.clock.clone(), self.names.clone());
            let epoch = epochs.load(Ordering::SeqCst);
            let user = user.clone();
            let fetching = self.source.fetch(user.clone());
            async move {
                match fetching.await {
                    Ok(fetched) => {
                        let entry = Arc::new(Entry::new(fetched, epoch));
                        entries.insert(user.clone(), Arc::clone(&entry));
                        if epochs.load(Ordering::SeqCst) != epoch {
                            entries.invalidate(&user);
                        }
                        Ok(entry)
                    }
                    Err(unavailable) => {
                        if let Some(held) = entries.get(&user) {
                            held.keep_quiet(clock.now(), unavailable.retry_after);
                        }
                        let why = &unavailable.failure;
                        tracing::debug!(user = names.name(&user), %why, "User not read");
                        Err(unavailable)
                    }
                }
            }
        })
    }

    fn count(&self, answer: Result<Served, LookupError>) -> Result<Served, LookupError> {
        let counter = match &answer {
            Ok(Served { state: CacheState::Hit, .. }) => &self.counters.hits,
            Ok(Served { state: CacheState::Miss, .. }) => &self.counters.misses,
            Ok(Served { state: CacheState::Stale, .. }) => &self.counters.stale,
            Err(why) if why.is_fact() => &self.counters.negatives,
            Err(_) => &self.counters.errors,
        };
        counter.add();
        answer
    }
}

/// Whether what is held may still be served although Auth0 cannot be asked. Facts that are no token may not: by
/// now the user may have logged in.
fn is_servable(entry: &Entry, question: Question<'_>, rules: &Rules, now: Moment) -> bool {
    let judgement = entry.judge(question, rules, now);
    judgement.outcome.is_ok() && judgement.freshness != Freshness::Expired
}

fn served(
    entry: &Arc<Entry>,
    outcome: Result<(), LookupError>,
    state: CacheState,
    now: Moment,
) -> Result<Served, LookupError> {
    outcome.map(|()| Served { entry: Arc::clone(entry), state, now })
}

impl Served {
    /// The user. `None` cannot happen, since a user that is not there is an error; it is left to the type.
    pub fn profile(&self) -> Option<&Profile> {
        self.entry.profile()
    }

    /// The identity and token that `selector` means: the same that the lookup found.
    pub fn select(&self, selector: &Selector) -> Option<(&Identity, &IdpToken)> {
        self.profile()?.select(selector).ok()
    }

    /// When Auth0 was asked.
    pub fn fetched(&self) -> Moment {
        self.entry.sent()
    }
}

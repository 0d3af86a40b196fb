//! The cached keys of the tenant, and when they are requested again.
//!
//! Cached keys are used at once, and are renewed in the background while they are in use. They do not expire: while the
//! tenant cannot be asked, the last ones stay in use. This is still bounded, since no user's token is served for longer
//! than `cache.max_ttl` and `cache.max_stale` without the tenant.
//!
//! A token names its key, and any client can invent a name. So the daemon searches for an unknown key at limited
//! intervals for each uid whose clients send such tokens. Names that one uid invents do not keep another uid from a new
//! key. A search that finds its key does not count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::claims::InvalidUserToken;
use crate::domain::error::{Failure, Stage, Unavailable};
use crate::domain::freshness::Moment;
use crate::domain::priority::Flow;
use crate::domain::retry::{Backoff, Waits};
use crate::flight::{Flight, Flights, NoFlight};

use super::error::NotVerified;
use super::keys::Key;
use super::source::{FetchedKeys, KeySource};

/// The age from which keys in use are renewed in the background. Auth0 publishes a new key long before it signs with
/// it. A revoked key is trusted for up to this long.
const REFRESH_AFTER: Duration = Duration::from_secs(600);

/// The age from which keys are renewed before they are used, if the tenant can be asked. Keys only get this old without
/// use.
const FRESH_FOR: Duration = Duration::from_secs(3600);

/// The interval between searches for unknown keys for one uid, as Auth0's staff recommend (community.auth0.com, 17654).
const BETWEEN_SEARCHES: Duration = Duration::from_secs(300);

/// The most uids that may have searched within [`BETWEEN_SEARCHES`]. Searches of further uids are skipped. A daemon has
/// few client uids, and few of them send users' tokens.
const MOST_SEARCHES: usize = 16;

/// Waits between failed attempts.
const AFTER_FAILURES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// The outcome of a request for the key set. The keys themselves are in the state.
type Outcome = Result<(), Unavailable>;

/// The cached keys. Nothing is awaited while the state is locked.
pub(super) struct Keyring {
    inner: Arc<KeyringInner>,
    /// Requests for the key set, at most one at a time.
    flights: Flights<(), (), Outcome>,
}

struct KeyringInner {
    state: Mutex<KeyringState>,
    source: Arc<dyn KeySource>,
    clock: Clock,
    seed: u64,
}

#[derive(Debug, Default)]
struct KeyringState {
    cached: Option<FetchedKeys>,
    failing: Option<Failing>,
    /// Recent searches that found no key: the flow and the time.
    searches: Vec<(Flow, Moment)>,
}

/// The failure of the last attempt.
#[derive(Debug)]
struct Failing {
    why: Unavailable,
    /// When the next attempt may be made.
    until: Moment,
    waits: Waits,
}

/// Why the tenant is not asked now.
enum NotAsked {
    /// The key is cached and recent enough.
    NoNeed,
    /// A recent search did not find it.
    Searched,
    /// The last attempt failed a moment ago.
    Failing(Unavailable),
}

impl Keyring {
    pub fn new(source: Arc<dyn KeySource>, clock: Clock, seed: u64) -> Self {
        let inner = KeyringInner { state: Mutex::default(), source, clock, seed };
        Self { inner: Arc::new(inner), flights: Flights::new(1) }
    }

    /// The key with this `id`, for a client of `flow`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn find(&self, id: &str, flow: Flow) -> Result<Arc<Key>, NotVerified> {
        // Not in the `match`: the state would stay locked in its arms, which lock it again.
        let at_once = self.inner.lock().at_once(id, self.inner.clock.now());
        match at_once {
            Some((key, false)) => return Ok(key),
            Some((key, true)) => {
                // In the background: this call does not wait for the outcome.
                self.ask(id, flow).ok();
                return Ok(key);
            }
            None => {}
        }
        // A flight that was already under way may have been sent before the key was published. A second one was not.
        for _ in 0..2 {
            let flight = match self.ask(id, flow) {
                Ok(flight) => flight,
                Err(NoFlight::Refused(NotAsked::Failing(why))) => {
                    return self.inner.cached(id).ok_or(why.into());
                }
                Err(NoFlight::Refused(NotAsked::NoNeed | NotAsked::Searched) | NoFlight::Full) => break,
            };
            let joined = flight.joined();
            let outcome = flight.landed().await.unwrap_or_else(|| Err(fault()));
            match (self.inner.cached(id), outcome) {
                (Some(key), _) => return Ok(key),
                (None, Err(why)) => return Err(why.into()),
                (None, Ok(())) if joined => {}
                (None, Ok(())) => break,
            }
        }
        self.inner.cached(id).ok_or(InvalidUserToken::UnknownKey.into())
    }

    /// Requests the key set because of the key `id`, or joins the request that is under way.
    fn ask(&self, id: &str, flow: Flow) -> Result<Flight<Outcome>, NoFlight<NotAsked>> {
        self.flights.join((), (), |_, _| {
            self.inner.lock().may_ask(id, flow, self.inner.clock.now())?;
            let (inner, id) = (Arc::clone(&self.inner), id.to_owned());
            Ok(async move {
                let outcome = inner.source.fetch().await;
                inner.land(outcome, &id, flow)
            })
        })
    }
}

impl KeyringInner {
    fn lock(&self) -> MutexGuard<'_, KeyringState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached(&self, id: &str) -> Option<Arc<Key>> {
        self.lock().cached.as_ref()?.keys.find(id)
    }

    /// Stores the outcome of a request that was made because of the key `id`, for a client of `flow`.
    fn land(&self, outcome: Result<FetchedKeys, Unavailable>, id: &str, flow: Flow) -> Outcome {
        let now = self.clock.now();
        let mut state = self.lock();
        if outcome.as_ref().map_or(true, |fetched| fetched.keys.find(id).is_some()) {
            // The search found the key, or failed, and does not count.
            state.searches.retain(|(of, _)| *of != flow);
        }
        match outcome {
            Ok(fetched) => {
                state.cached = Some(fetched);
                state.failing = None;
                Ok(())
            }
            Err(why) => {
                let before = state.failing.take().map(|failing| failing.waits);
                let mut waits = before.unwrap_or_else(|| AFTER_FAILURES.waits(self.seed));
                let wait =
                    waits.next().unwrap_or_default().max(why.failure.asks_to_wait().unwrap_or_default());
                let why = Unavailable { retry_after: wait, ..why };
                state.failing = Some(Failing { why: why.clone(), until: now.after(wait), waits });
                Err(why)
            }
        }
    }
}

impl KeyringState {
    /// The key `id` if it can be used without waiting, and whether it should be renewed in the background.
    fn at_once(&self, id: &str, now: Moment) -> Option<(Arc<Key>, bool)> {
        let cached = self.cached.as_ref()?;
        let age = cached.sent.age(now);
        // While renewal fails, the key is used at once, whatever its age: only one client has to wait for the failure.
        let at_once = age < FRESH_FOR || self.failing.is_some();
        cached.keys.find(id).filter(|_| at_once).map(|key| (key, age >= REFRESH_AFTER))
    }

    /// Whether the tenant may be asked because of the key `id`, for a client of `flow`. Called while no request is
    /// under way.
    fn may_ask(&mut self, id: &str, flow: Flow, now: Moment) -> Result<(), NotAsked> {
        if let Some(failing) = self.failing.as_ref().filter(|failing| failing.until.elapsed > now.elapsed) {
            let retry_after = now.age(failing.until);
            return Err(NotAsked::Failing(Unavailable { retry_after, ..failing.why.clone() }));
        }
        let Some(cached) = &self.cached else { return Ok(()) };
        match cached.keys.find(id) {
            Some(_) if cached.sent.age(now) < REFRESH_AFTER => Err(NotAsked::NoNeed),
            Some(_) => Ok(()),
            None => {
                self.searches.retain(|(_, at)| at.age(now) < BETWEEN_SEARCHES);
                let has_searched = self.searches.iter().any(|(of, _)| *of == flow);
                if has_searched || self.searches.len() >= MOST_SEARCHES {
                    return Err(NotAsked::Searched);
                }
                self.searches.push((flow, now));
                Ok(())
            }
        }
    }
}

fn fault() -> Unavailable {
    Unavailable { stage: Stage::Keys, failure: Failure::Fault, retry_after: Duration::from_secs(1) }
}

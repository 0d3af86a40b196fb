//! The tenant's keys as they are held, and when they are asked for again.
//!
//! Keys that are held serve at once, and are replaced in the background while they are in use. They have no end: while
//! the tenant cannot be asked, the last ones serve on. That is bounded all the same, since no user's token is served
//! longer than `cache.max_ttl` and `cache.max_stale` without the tenant.
//!
//! A token chooses the id of its key, and anybody can make one up. So an id that is not known makes us look for it
//! once in a while for each uid whose callers send such tokens, and no more often: what one uid makes up keeps no other
//! from a key that is new. A search that finds its key does not count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::claims::InvalidUserToken;
use crate::domain::error::{Failure, Stage, Unavailable};
use crate::domain::freshness::Moment;
use crate::domain::priority::Flow;
use crate::domain::retry::{Backoff, Waits};
use crate::flight::{Flight, Flights, NoFlight};

use super::keys::Key;
use super::{FetchedKeys, KeySource, NotVerified};

/// From this age on, keys in use are replaced in the background. Auth0 asks for no more than that: a new key is
/// published long before it signs. A key that was revoked is trusted for so long.
const REFRESH_AFTER: Duration = Duration::from_secs(600);

/// Older keys, which nobody has used for a while, are replaced before they are used again, if that can be done.
const FRESH_FOR: Duration = Duration::from_secs(3600);

/// Between two looks for a key that is not known, for one uid. Auth0's staff recommend as much (community.auth0.com, 17654).
const BETWEEN_SEARCHES: Duration = Duration::from_secs(300);

/// Uids that may have looked within [`BETWEEN_SEARCHES`]: all of them together ask no more often than this, one after the
/// other, and further ones not at all. A daemon has few callers, and few of these send users' tokens.
const MOST_SEARCHES: usize = 16;

/// Between attempts that fail.
const AFTER_FAILURES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// How an attempt ended; what it brought is in the state.
type Asked = Result<(), Unavailable>;

/// The keys. Nothing is awaited while the state is locked.
pub(super) struct Keyring {
    shared: Arc<Shared>,
    /// Of one thing, the key set.
    flights: Flights<(), (), Asked>,
}

struct Shared {
    state: Mutex<State>,
    source: Arc<dyn KeySource>,
    clock: Clock,
    seed: u64,
}

#[derive(Debug, Default)]
struct State {
    held: Option<FetchedKeys>,
    failing: Option<Failing>,
    /// Whose callers had an unknown key looked for in vain, and when; not those for which that is long ago.
    searches: Vec<(Flow, Moment)>,
}

/// The last attempt failed.
#[derive(Debug)]
struct Failing {
    why: Unavailable,
    /// The next is made from then on.
    until: Moment,
    waits: Waits,
}

/// Why the tenant is not asked now.
enum Hold {
    /// The key is there, and young enough.
    NoNeed,
    /// It has just been looked for.
    Searched,
    /// The last attempt failed a moment ago.
    Failing(Unavailable),
}

impl Keyring {
    pub fn new(source: Arc<dyn KeySource>, clock: Clock, seed: u64) -> Self {
        let shared = Shared { state: Mutex::default(), source, clock, seed };
        Self { shared: Arc::new(shared), flights: Flights::new(1) }
    }

    /// The key called `id`, for a caller of `flow`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn find(&self, id: &str, flow: Flow) -> Result<Arc<Key>, NotVerified> {
        // Not in the match: it would stay locked in its arms, which lock it again.
        let at_once = self.shared.lock().at_once(id, self.shared.clock.now());
        match at_once {
            Some((key, false)) => return Ok(key),
            Some((key, true)) => {
                // Nobody waits for it.
                self.ask(id, flow).ok();
                return Ok(key);
            }
            None => {}
        }
        // A flight that was under way may have been sent before the key was there; the next has not.
        for _ in 0..2 {
            let flight = match self.ask(id, flow) {
                Ok(flight) => flight,
                Err(NoFlight::Refused(Hold::Failing(why))) => return self.shared.held(id).ok_or(why.into()),
                Err(NoFlight::Refused(Hold::NoNeed | Hold::Searched) | NoFlight::Full) => break,
            };
            let joined = flight.joined();
            let outcome = flight.landed().await.unwrap_or_else(|| Err(fault()));
            match (self.shared.held(id), outcome) {
                (Some(key), _) => return Ok(key),
                (None, Err(why)) => return Err(why.into()),
                (None, Ok(())) if joined => {}
                (None, Ok(())) => break,
            }
        }
        self.shared.held(id).ok_or(InvalidUserToken::UnknownKey.into())
    }

    /// Asks the tenant for the sake of the key `id`, or joins those who do already.
    fn ask(&self, id: &str, flow: Flow) -> Result<Flight<Asked>, NoFlight<Hold>> {
        self.flights.join((), (), |_, _| {
            self.shared.lock().may_ask(id, flow, self.shared.clock.now())?;
            let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
            Ok(async move {
                let outcome = shared.source.fetch().await;
                shared.land(outcome, &id, flow)
            })
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, id: &str) -> Option<Arc<Key>> {
        self.lock().held.as_ref()?.keys.find(id)
    }

    /// What was asked for the sake of the key `id`, for a caller of `flow`, has come to this.
    fn land(&self, outcome: Result<FetchedKeys, Unavailable>, id: &str, flow: Flow) -> Asked {
        let now = self.clock.now();
        let mut state = self.lock();
        if outcome.as_ref().map_or(true, |fetched| fetched.keys.find(id).is_some()) {
            // It was found, or not looked for after all.
            state.searches.retain(|(of, _)| *of != flow);
        }
        match outcome {
            Ok(fetched) => {
                state.held = Some(fetched);
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

impl State {
    /// The key `id` if nobody has to wait for it, and whether the tenant should be asked behind it.
    fn at_once(&self, id: &str, now: Moment) -> Option<(Arc<Key>, bool)> {
        let held = self.held.as_ref()?;
        let age = held.sent.age(now);
        // While it fails to be had anew it is used at once, whatever its age: one caller's wait was enough.
        let at_once = age < FRESH_FOR || self.failing.is_some();
        held.keys.find(id).filter(|_| at_once).map(|key| (key, age >= REFRESH_AFTER))
    }

    /// Whether the tenant may be asked for the sake of the key `id`, for a caller of `flow`. Called while no search is under way.
    fn may_ask(&mut self, id: &str, flow: Flow, now: Moment) -> Result<(), Hold> {
        if let Some(failing) = self.failing.as_ref().filter(|failing| failing.until.elapsed > now.elapsed) {
            let retry_after = now.age(failing.until);
            return Err(Hold::Failing(Unavailable { retry_after, ..failing.why.clone() }));
        }
        let Some(held) = &self.held else { return Ok(()) };
        match held.keys.find(id) {
            Some(_) if held.sent.age(now) < REFRESH_AFTER => Err(Hold::NoNeed),
            Some(_) => Ok(()),
            None => {
                self.searches.retain(|(_, at)| at.age(now) < BETWEEN_SEARCHES);
                let has_searched = self.searches.iter().any(|(of, _)| *of == flow);
                if has_searched || self.searches.len() >= MOST_SEARCHES {
                    return Err(Hold::Searched);
                }
                self.searches.push((flow, now));
                Ok(())
            }
        }
    }
}

impl From<Unavailable> for NotVerified {
    fn from(why: Unavailable) -> Self {
        Self::Unavailable(why)
    }
}

fn fault() -> Unavailable {
    Unavailable { stage: Stage::Keys, failure: Failure::Fault, retry_after: Duration::from_secs(1) }
}

//! Flights to Auth0, which a lookup waits for when the cache has no answer; with a stale entry, only briefly.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::domain::error::{Failure, LookupError, Stage, Unavailable};
use crate::domain::freshness::{Freshness, Moment};
use crate::domain::priority::{Flow, Priority};
use crate::domain::user::UserId;
use crate::flight::{Flight, NoFlight};
use crate::task;

use super::Cache;
use super::entry::Entry;
use super::landing::Landing;
use super::lookup::{CacheState, Lookup, Miss, Peeked, Served};
use super::source::NotNow;

/// When a client may retry after a fault of the daemon itself.
const AFTER_A_FAULT: Duration = Duration::from_secs(1);

/// How long a lookup waits for Auth0 although a valid token is cached, because that is older than `cache.max_ttl`. Far
/// longer than Auth0 usually takes, and shorter than clients of a local daemon are prepared to wait.
const STALE_TIMEOUT: Duration = Duration::from_secs(1);

type UserFlight = Flight<Result<Arc<Entry>, Unavailable>>;

/// Why no flight was joined or started.
enum Instead {
    /// Another flight has landed since; its entry is the answer.
    Landed(Arc<Entry>),
    /// Auth0 cannot be asked now.
    NotNow(NotNow),
}

impl Cache {
    /// The answer to `query`. If Auth0 has to be asked, the request is scheduled in `flow`.
    pub async fn look_up<Q: Lookup>(&self, query: Q, flow: Flow) -> Result<Served<Q::Found>, LookupError> {
        match self.peek(query, flow, self.clock.now()) {
            Peeked::Ready(answer) => answer,
            Peeked::Miss(miss) => self.fetch(miss).await,
        }
    }

    /// The answer to a lookup that [`Cache::peek`] had none for.
    pub async fn fetch<Q: Lookup>(&self, miss: Miss<Q>) -> Result<Served<Q::Found>, LookupError> {
        let answer = self.asked(&miss).await;
        self.count(answer, miss.begun)
    }

    async fn asked<Q: Lookup>(&self, miss: &Miss<Q>) -> Result<Served<Q::Found>, LookupError> {
        let Miss { query, flow, cached, is_stale, begun } = miss;
        if let Some(entry) = cached
            && !query.is_fresh()
            && self.is_recent(entry, *begun)
            && self.wanted(query, entry, *begun).is_some()
        {
            // What Auth0 stores is known to be over, so only the sources are asked.
            let entry = self.renewed(query, *flow, Arc::clone(entry)).await?;
            return self.served_now(query, entry);
        }
        if let Some(entry) = cached
            && *is_stale
            && let Some(answer) = self.ask_briefly(*flow, query, entry).await
        {
            return answer;
        }
        if let Some(unavailable) = self.backoff.is_quiet(query.user(), true, self.clock.now()) {
            return Err(LookupError::Unavailable(unavailable));
        }
        let priority = if query.is_fresh() { Priority::Fresh } else { Priority::Caller };
        let entry = self.ask(*flow, query.user(), cached.as_ref(), priority).await?;
        let entry = self.renewed(query, *flow, entry).await?;
        self.served_now(query, entry)
    }

    /// The answer of `entry`, which was just fetched.
    fn served_now<Q: Lookup>(&self, query: &Q, entry: Arc<Entry>) -> Result<Served<Q::Found>, LookupError> {
        let now = self.clock.now();
        let outcome = query.judge(&entry, &self.rules(), now).outcome;
        Served::new(query, entry, outcome, CacheState::Miss, now)
    }

    /// Asks Auth0 about a user whose entry is stale, if that can be done now, and for [`STALE_TIMEOUT`] at most. The
    /// answer is the stale entry otherwise; `None` if its token expires meanwhile.
    async fn ask_briefly<Q: Lookup>(
        &self,
        flow: Flow,
        query: &Q,
        stale: &Arc<Entry>,
    ) -> Option<Result<Served<Q::Found>, LookupError>> {
        if self.backoff.is_expected(query.user()) {
            // Auth0 is tried again, but no client waits for another failure.
            self.refresh_behind(flow, query.user(), stale, Priority::Stale, self.clock.now());
        } else {
            match timeout(STALE_TIMEOUT, self.ask(flow, query.user(), Some(stale), Priority::Stale)).await {
                Ok(Ok(entry)) => {
                    let renewed = self.renewed(query, flow, entry).await;
                    return Some(renewed.and_then(|entry| self.served_now(query, entry)));
                }
                Ok(Err(_)) => {}
                Err(_) => self.backoff.expect(),
            }
        }
        let now = self.clock.now();
        let judgement = query.judge(stale, &self.rules(), now);
        let servable = judgement.outcome.is_ok() && judgement.freshness != Freshness::Expired;
        servable.then(|| Served::new(query, Arc::clone(stale), judgement.outcome, CacheState::Stale, now))
    }

    /// Asks Auth0 about `user`, or joins the flight under way. `cached` is the entry that was not good enough.
    pub(super) async fn ask(
        &self,
        flow: Flow,
        user: &UserId,
        cached: Option<&Arc<Entry>>,
        priority: Priority,
    ) -> Result<Arc<Entry>, LookupError> {
        loop {
            let flight = match self.fly(flow, user, cached, priority) {
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
                // The flight began before a purge or a report, and this lookup after it: try again.
                Some(_) if too_old => {}
                Some(Ok(entry)) => return Ok(entry),
                Some(Err(unavailable)) => return Err(LookupError::Unavailable(unavailable)),
                None => return Err(lost_to_a_fault()),
            }
        }
    }

    /// Starts a refresh that no client waits for, unless one is under way or has just failed, or the budget has no
    /// room.
    pub(super) fn refresh_behind(
        &self,
        flow: Flow,
        user: &UserId,
        cached: &Arc<Entry>,
        priority: Priority,
        now: Moment,
    ) {
        let is_quiet = self.backoff.is_quiet(user, false, now).is_some();
        if !is_quiet && self.fly(flow, user, Some(cached), priority).is_err() {
            tracing::trace!("Not refreshed: there is no room to spare");
        }
    }

    /// Joins or starts the flight for `user`. Its result is cached whether or not a client waits for it.
    fn fly(
        &self,
        flow: Flow,
        user: &UserId,
        cached: Option<&Arc<Entry>>,
        priority: Priority,
    ) -> Result<UserFlight, NoFlight<Instead>> {
        self.flights.join(user.clone(), flow, |obsolete, for_whom| {
            // With several threads a flight may have landed since the lookup read the cache: its entry is the answer.
            let landed =
                self.cached(user).filter(|now| cached.is_none_or(|cached| !Arc::ptr_eq(cached, now)));
            let landed = landed.filter(|landed| !landed.is_before_a_report());
            if let (Some(entry), Priority::Caller | Priority::Stale) = (landed, priority) {
                return Err(Instead::Landed(entry));
            }
            let fetching = match priority {
                Priority::Management | Priority::Caller => self.source.fetch(user.clone(), for_whom),
                Priority::Stale | Priority::Fresh | Priority::Ahead | Priority::Proxied => {
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
            let issuer = Arc::clone(&self.issuer);
            Ok(async move {
                let user = landing.user.clone();
                let outcome = landing.land(fetching.await);
                if outcome.as_ref().is_ok_and(|entry| !entry.has_user()) {
                    let forgetting = issuer.forget(user);
                    // No answer waits for a disk because a user was deleted.
                    task::spawn("forget", async move {
                        if forgetting.await.is_err() {
                            tracing::debug!("The refresh tokens of a deleted user are still kept");
                        }
                    });
                }
                outcome
            })
        })
    }
}

/// The answer to lookups whose flight has panicked.
pub(super) fn lost_to_a_fault() -> LookupError {
    let (stage, failure) = (Stage::User, Failure::Fault);
    LookupError::Unavailable(Unavailable { stage, failure, retry_after: AFTER_A_FAULT })
}

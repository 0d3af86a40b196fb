//! The one place through which every request to the tenant passes: rate, burst, concurrency, and the gate that a
//! 429 closes for everything.
//!
//! The Management API allows a tenant a few requests per second, shared with everything else that the tenant
//! runs. Who may go is decided by priority first; then flows take turns (`src/upstream/fair_queue.rs`), and each goes by order
//! of arrival. What somebody could do without (the renewal of something in hand, a caller's options for a fresh answer)
//! never queues: it goes if there is room to spare, or not at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::cache::ForWhom;
use crate::clock::Clock;
use crate::config;
use crate::domain::freshness::Moment;
use crate::domain::priority::{Flow, Priority};
use crate::telemetry::BudgetStanding;

use super::fair_queue::{FairQueue, Ticket};
use super::pace::Pace;

/// Why a request may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetError {
    /// The gate is closed for this long, which is longer than can be waited.
    Gate(Duration),
    /// Too many came before; after this long there may be room.
    Busy(Duration),
}

/// The tenant's budget. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    settings: config::Upstream,
    pace: Pace,
    under_way: u32,
    turns: FairQueue,
    /// Those who wait, each with what wakes it. Only the next one need be woken, lest a thousand look in vain
    /// whenever one goes.
    waiting: BTreeMap<Ticket, Arc<Notify>>,
    arrivals: Ticket,
}

/// Leave to send one request. BudgetError while the request is under way.
#[derive(Debug)]
pub struct Permit(Arc<Inner>);

impl Budget {
    /// A budget of which nothing is spent.
    pub fn new(settings: config::Upstream, clock: Clock) -> Self {
        let pace = Pace::new(settings.requests_per_second, settings.burst, clock.now());
        let state = State {
            settings,
            pace,
            under_way: 0,
            turns: FairQueue::default(),
            waiting: BTreeMap::new(),
            arrivals: 0,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), clock }))
    }

    /// Goes by these settings from now on. What was spent is spent, and who waits goes on waiting.
    pub fn reconfigure(&self, settings: config::Upstream) {
        let (mut state, now) = (self.0.lock(), self.0.clock.now());
        state.settings = settings;
        state.pace.reconfigure(settings.requests_per_second, settings.burst, now);
        state.wake_the_next();
    }

    /// Waits for leave, for at most `patience`, in the turns of those `for_whom` it is.
    ///
    /// Nobody waits in vain: while the gate is closed for longer than that the answer comes at once, and so it does
    /// for a flow that has more waiting already than can go by then, were there no other.
    pub async fn acquire(
        &self,
        priority: Priority,
        mut for_whom: ForWhom,
        patience: Duration,
    ) -> Result<Permit, BudgetError> {
        let inner = &self.0;
        let begun = inner.clock.now();
        let mut place = Place::new(inner, priority, for_whom.so_far(), patience)?;
        loop {
            let now = inner.clock.now();
            let left = patience.saturating_sub(begun.age(now));
            let wait = match inner.lock().try_go(place.ticket, now) {
                Ok(()) => return Ok(Permit(Arc::clone(inner))),
                Err(BudgetError::Gate(wait)) if wait > left => return Err(BudgetError::Gate(wait)),
                Err(held) if left.is_zero() => return Err(held),
                Err(BudgetError::Gate(wait) | BudgetError::Busy(wait)) => wait.min(left),
            };
            tokio::select! {
                () = place.change.notified() => {}
                () = for_whom.joined() => place.join(for_whom.so_far()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// The same for what the daemon asks for by itself.
    pub async fn acquire_for_itself(
        &self,
        priority: Priority,
        patience: Duration,
    ) -> Result<Permit, BudgetError> {
        self.acquire(priority, ForWhom::only(Flow::Daemon), patience).await
    }

    /// Leave now or not at all, and only if that takes nothing from anybody more urgent.
    pub fn try_acquire(&self, priority: Priority) -> Result<Permit, BudgetError> {
        let inner = &self.0;
        let now = inner.clock.now();
        let mut state = inner.lock();
        if !state.waiting.is_empty() {
            return Err(BudgetError::Busy(Duration::from_secs(1)));
        }
        if priority == Priority::Ahead && state.pace.is_thrifty(now) {
            return Err(BudgetError::Busy(Duration::from_secs(5)));
        }
        // Of what only is a options, a part of the burst is kept for those who are more urgent, and half of the
        // concurrency.
        let (burst, concurrency) = (state.settings.burst.saturating_sub(1), state.settings.max_concurrency);
        let (reserve, concurrency) = match priority {
            Priority::Management | Priority::Caller | Priority::Stale => (0, concurrency),
            Priority::Fresh => (burst / 4, concurrency.div_ceil(2)),
            Priority::Ahead => (burst / 2, concurrency.div_ceil(2)),
        };
        if state.under_way >= concurrency {
            return Err(BudgetError::Busy(Duration::from_secs(1)));
        }
        state.pace.take(reserve, now)?;
        state.under_way = state.under_way.saturating_add(1);
        Ok(Permit(Arc::clone(inner)))
    }

    /// Changes what is known of the tenant's own limits, and lets those who wait see it.
    pub fn learn(&self, change: impl FnOnce(&mut Pace, Moment)) {
        let (mut state, now) = (self.0.lock(), self.0.clock.now());
        change(&mut state.pace, now);
        if state.pace.gate_closed_for(now).is_some() {
            // Whoever cannot wait for as long is told so.
            state.waiting.values().for_each(|waiting| waiting.notify_one());
        }
    }

    /// What there is to know at `now`.
    pub fn standing(&self, now: Moment) -> BudgetStanding {
        let state = self.0.lock();
        BudgetStanding {
            gate_closed_for: state.pace.gate_closed_for(now),
            waiting: state.waiting.len(),
            under_way: state.under_way,
            remaining: state.pace.said().map(|(left, _)| left),
            limit: state.pace.said().map(|(_, of)| of),
            thrifty: state.pace.is_thrifty(now),
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Spends for `ticket` if it is its turn and there is room.
    fn try_go(&mut self, ticket: Ticket, now: Moment) -> Result<(), BudgetError> {
        if let Some(wait) = self.pace.gate_closed_for(now) {
            return Err(BudgetError::Gate(wait));
        }
        if self.turns.next() != Some(ticket) || self.under_way >= self.settings.max_concurrency {
            // Whoever is before it, or ends, wakes the next.
            return Err(BudgetError::Busy(Duration::from_secs(1)));
        }
        self.pace.take(0, now)?;
        self.turns.take();
        self.under_way = self.under_way.saturating_add(1);
        Ok(())
    }

    fn wake_the_next(&self) {
        if let Some(next) = self.turns.next().and_then(|next| self.waiting.get(&next)) {
            next.notify_one();
        }
    }
}

/// A place in the queues of those for whom it is, given up however the wait ends.
struct Place<'a> {
    inner: &'a Inner,
    priority: Priority,
    flows: Vec<Flow>,
    ticket: Ticket,
    change: Arc<Notify>,
}

impl<'a> Place<'a> {
    fn new(
        inner: &'a Inner,
        priority: Priority,
        flows: Vec<Flow>,
        patience: Duration,
    ) -> Result<Self, BudgetError> {
        let mut state = inner.lock();
        let ahead = flows.iter().map(|flow| state.turns.waiting(priority, *flow)).min().unwrap_or(0) as f64;
        if ahead >= state.pace.within(patience, inner.clock.now()).max(1.0) {
            let wait = ahead / state.settings.requests_per_second;
            return Err(BudgetError::Busy(Duration::from_secs_f64(wait)));
        }
        state.arrivals = state.arrivals.wrapping_add(1);
        let (ticket, change) = (state.arrivals, Arc::default());
        state.waiting.insert(ticket, Arc::clone(&change));
        drop(state);
        let mut place = Self { inner, priority, flows: Vec::new(), ticket, change };
        place.join(flows);
        Ok(place)
    }

    /// Waits in the turns of `flows` as well.
    fn join(&mut self, flows: Vec<Flow>) {
        let mut state = self.inner.lock();
        flows.iter().for_each(|flow| state.turns.join(self.priority, *flow, self.ticket));
        self.flows = flows;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.turns.leave(self.priority, &self.flows, self.ticket);
        state.waiting.remove(&self.ticket);
        state.wake_the_next();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.under_way = state.under_way.saturating_sub(1);
        state.wake_the_next();
    }
}

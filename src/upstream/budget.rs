//! The budget that every request to the tenant takes a permit from: rate, burst, concurrency, and the gate that a 429
//! closes for all requests.
//!
//! The Management API allows a tenant a few requests per second, shared with every other program that uses the tenant.
//! Priority decides first who may go, then flows take turns (`src/domain/fair_queue.rs`), and within a flow the order
//! is that of arrival. Optional requests (renewal of an entry that is still usable, a client's request for a fresh
//! answer) never queue: they go if there is capacity to spare, or not at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::cache::ForWhom;
use crate::clock::Clock;
use crate::config;
use crate::domain::fair_queue::{FairQueue, Ticket};
use crate::domain::freshness::Moment;
use crate::domain::priority::{Flow, Priority};
use crate::telemetry::BudgetStanding;

use super::pace::{BudgetError, Pace};

/// The tenant's budget. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget(Arc<BudgetInner>);

#[derive(Debug)]
struct BudgetInner {
    state: Mutex<BudgetState>,
    clock: Clock,
}

#[derive(Debug)]
struct BudgetState {
    settings: config::Upstream,
    pace: Pace,
    under_way: u32,
    /// How many of them are calls of clients.
    proxied: u32,
    queue: FairQueue,
    /// How to wake each waiting request. Only the next one is woken, so that a thousand do not wake in vain whenever
    /// one goes.
    waiting: BTreeMap<Ticket, Arc<Notify>>,
    last_ticket: Ticket,
}

/// Permission to send one request. Held while the request is under way.
#[derive(Debug)]
pub struct BudgetPermit {
    inner: Arc<BudgetInner>,
    priority: Priority,
}

impl Budget {
    /// A full budget.
    pub fn new(settings: config::Upstream, clock: Clock) -> Self {
        let pace = Pace::new(settings.requests_per_second, settings.burst, clock.now());
        let state = BudgetState {
            settings,
            pace,
            under_way: 0,
            proxied: 0,
            queue: FairQueue::default(),
            waiting: BTreeMap::new(),
            last_ticket: 0,
        };
        Self(Arc::new(BudgetInner { state: Mutex::new(state), clock }))
    }

    /// Replaces the settings. The bucket keeps its level, and waiting requests keep waiting.
    pub fn reconfigure(&self, settings: config::Upstream) {
        let (mut state, now) = (self.0.lock(), self.0.clock.now());
        state.settings = settings;
        state.pace.reconfigure(settings.requests_per_second, settings.burst, now);
        state.wake_the_next();
    }

    /// Waits for a permit, for at most `timeout`, in the turns of the flows that `for_whom` names.
    ///
    /// Fails at once if waiting is pointless: while the gate is closed for longer than `timeout`, and for a flow that
    /// already has more requests waiting than the rate would allow it within `timeout` without any other flow.
    pub async fn acquire(
        &self,
        priority: Priority,
        mut for_whom: ForWhom,
        timeout: Duration,
    ) -> Result<BudgetPermit, BudgetError> {
        let inner = &self.0;
        let begun = inner.clock.now();
        let mut waiter = Waiter::new(inner, priority, for_whom.so_far(), timeout)?;
        loop {
            let now = inner.clock.now();
            let left = timeout.saturating_sub(begun.age(now));
            let wait = match inner.lock().try_go(priority, waiter.ticket, now) {
                Ok(()) => return Ok(BudgetPermit { inner: Arc::clone(inner), priority }),
                Err(BudgetError::Gate(wait)) if wait > left => return Err(BudgetError::Gate(wait)),
                Err(error) if left.is_zero() => return Err(error),
                Err(BudgetError::Gate(wait) | BudgetError::Busy(wait)) => wait.min(left),
            };
            tokio::select! {
                () = waiter.change.notified() => {}
                () = for_whom.joined() => waiter.join(for_whom.so_far()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// [`Budget::acquire`] for a request of the daemon itself.
    pub async fn acquire_for_itself(
        &self,
        priority: Priority,
        timeout: Duration,
    ) -> Result<BudgetPermit, BudgetError> {
        self.acquire(priority, ForWhom::only(Flow::Daemon), timeout).await
    }

    /// Takes a permit without waiting, and only if no request of a higher priority needs it.
    pub fn try_acquire(&self, priority: Priority) -> Result<BudgetPermit, BudgetError> {
        let inner = &self.0;
        let now = inner.clock.now();
        let mut state = inner.lock();
        if state.queue.next_priority().is_some_and(|next| next <= priority) {
            return Err(BudgetError::Busy(Duration::from_secs(1)));
        }
        if priority == Priority::Ahead && state.pace.is_thrifty(now) {
            return Err(BudgetError::Busy(Duration::from_secs(5)));
        }
        if !state.has_room(priority) {
            return Err(BudgetError::Busy(Duration::from_secs(1)));
        }
        let reserve = state.reserve(priority);
        state.pace.take(reserve, now)?;
        state.begin(priority);
        Ok(BudgetPermit { inner: Arc::clone(inner), priority })
    }

    /// Updates what is known of the tenant's own limits. If the gate is closed afterwards, wakes all waiting requests.
    pub fn learn(&self, change: impl FnOnce(&mut Pace, Moment)) {
        let (mut state, now) = (self.0.lock(), self.0.clock.now());
        change(&mut state.pace, now);
        if state.pace.gate_closed_for(now).is_some() {
            // A request that cannot wait that long fails at once.
            state.waiting.values().for_each(|waiting| waiting.notify_one());
        }
    }

    /// The budget's state at `now`, for status and metrics.
    pub fn standing(&self, now: Moment) -> BudgetStanding {
        let state = self.0.lock();
        BudgetStanding {
            gate_closed_for: state.pace.gate_closed_for(now),
            waiting: state.waiting.len(),
            under_way: state.under_way,
            remaining: state.pace.reported().map(|(left, _)| left),
            limit: state.pace.reported().map(|(_, of)| of),
            thrifty: state.pace.is_thrifty(now),
        }
    }
}

impl BudgetInner {
    fn lock(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BudgetState {
    /// How much of the burst requests of this priority leave to more urgent ones.
    fn reserve(&self, priority: Priority) -> u32 {
        let burst = self.settings.burst.saturating_sub(1);
        match priority {
            Priority::Management | Priority::Caller | Priority::Stale => 0,
            Priority::Fresh => burst / 4,
            Priority::Ahead => burst / 2,
            // One more than for renewals ahead of time: calls that keep waiting use up whatever is beyond it, so that a
            // renewal always finds one.
            Priority::Proxied => (burst / 2).saturating_add(1).min(burst),
        }
    }

    /// Whether one more request of this priority may be under way.
    fn has_room(&self, priority: Priority) -> bool {
        let most = self.settings.max_concurrency;
        match priority {
            Priority::Management | Priority::Caller | Priority::Stale => self.under_way < most,
            Priority::Fresh | Priority::Ahead => self.under_way < most.div_ceil(2),
            // A client decides how long its call takes, so calls never take what optional requests need.
            Priority::Proxied => self.under_way < most && self.proxied < most.div_ceil(4),
        }
    }

    fn begin(&mut self, priority: Priority) {
        self.under_way = self.under_way.saturating_add(1);
        if priority == Priority::Proxied {
            self.proxied = self.proxied.saturating_add(1);
        }
    }

    /// Starts the request of `ticket` if it is its turn and there is capacity for this priority.
    fn try_go(&mut self, priority: Priority, ticket: Ticket, now: Moment) -> Result<(), BudgetError> {
        if let Some(wait) = self.pace.gate_closed_for(now) {
            return Err(BudgetError::Gate(wait));
        }
        if self.queue.next() != Some(ticket) || !self.has_room(priority) {
            // The request that goes or ends before it wakes the next one.
            return Err(BudgetError::Busy(Duration::from_secs(1)));
        }
        self.pace.take(self.reserve(priority), now)?;
        self.queue.end_turn();
        self.begin(priority);
        Ok(())
    }

    fn wake_the_next(&self) {
        if let Some(next) = self.queue.next().and_then(|next| self.waiting.get(&next)) {
            next.notify_one();
        }
    }
}

/// A waiting request in the queues of its flows. Leaves them when it is dropped, however the wait ends.
struct Waiter<'a> {
    inner: &'a BudgetInner,
    priority: Priority,
    flows: Vec<Flow>,
    ticket: Ticket,
    change: Arc<Notify>,
}

impl<'a> Waiter<'a> {
    fn new(
        inner: &'a BudgetInner,
        priority: Priority,
        flows: Vec<Flow>,
        timeout: Duration,
    ) -> Result<Self, BudgetError> {
        let mut state = inner.lock();
        let ahead = flows.iter().map(|flow| state.queue.waiting(priority, *flow)).min().unwrap_or(0) as f64;
        if ahead >= state.pace.within(timeout, inner.clock.now()).max(1.0) {
            let wait = ahead / state.settings.requests_per_second;
            return Err(BudgetError::Busy(Duration::from_secs_f64(wait)));
        }
        state.last_ticket = state.last_ticket.wrapping_add(1);
        let (ticket, change) = (state.last_ticket, Arc::default());
        state.waiting.insert(ticket, Arc::clone(&change));
        drop(state);
        let mut waiter = Self { inner, priority, flows: Vec::new(), ticket, change };
        waiter.join(flows);
        Ok(waiter)
    }

    /// Joins the queues of `flows`.
    fn join(&mut self, flows: Vec<Flow>) {
        let mut state = self.inner.lock();
        flows.iter().for_each(|flow| state.queue.join(self.priority, *flow, self.ticket));
        self.flows = flows;
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.queue.leave(self.priority, &self.flows, self.ticket);
        state.waiting.remove(&self.ticket);
        state.wake_the_next();
    }
}

impl Drop for BudgetPermit {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.under_way = state.under_way.saturating_sub(1);
        if self.priority == Priority::Proxied {
            state.proxied = state.proxied.saturating_sub(1);
        }
        state.wake_the_next();
    }
}

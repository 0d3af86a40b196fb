//! The one place through which every request to the tenant passes: rate, burst, concurrency, and the gate that a
//! 429 closes for everything.
//!
//! The Management API allows a tenant a few requests per second, shared with everything else that the tenant
//! runs. Who may go is decided by urgency first and by order of arrival second. What somebody could do without (the
//! renewal of something in hand, a caller's wish for a fresh answer) never queues: it goes if there is room to spare, or
//! not at all.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config;
use crate::domain::freshness::Moment;
use crate::domain::urgency::Urgency;
use crate::telemetry::BudgetStanding;

use super::pace::Pace;

/// Why a request may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
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
    /// Told whenever somebody who waits might go.
    change: Notify,
    settings: config::Upstream,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    under_way: u32,
    /// Those who wait, the next one first.
    queue: BTreeSet<(Urgency, u64)>,
    arrivals: u64,
}

/// Leave to send one request. Held while the request is under way.
#[derive(Debug)]
pub struct Permit(Arc<Inner>);

impl Budget {
    /// A budget of which nothing is spent.
    pub fn new(settings: config::Upstream, clock: Clock) -> Self {
        let pace = Pace::new(settings.requests_per_second, settings.burst, clock.now());
        let state = State { pace, under_way: 0, queue: BTreeSet::new(), arrivals: 0 };
        Self(Arc::new(Inner { state: Mutex::new(state), change: Notify::new(), settings, clock }))
    }

    /// Waits for leave, for at most `patience`.
    ///
    /// While the gate is closed for longer than that the answer comes at once: nobody waits in vain.
    pub async fn leave(&self, urgency: Urgency, patience: Duration) -> Result<Permit, Held> {
        let inner = &self.0;
        let begun = inner.clock.now();
        let place = Place::new(inner, urgency);
        loop {
            let changed = inner.change.notified();
            tokio::pin!(changed);
            // Registered before the state is looked at, so that no change in between is lost.
            changed.as_mut().enable();
            let now = inner.clock.now();
            let left = patience.saturating_sub(begun.age(now));
            let wait = match inner.lock().try_go(place.ticket, &inner.settings, now) {
                Ok(()) => return Ok(Permit(Arc::clone(inner))),
                Err(Held::Gate(wait)) if wait > left => return Err(Held::Gate(wait)),
                Err(held) if left.is_zero() => return Err(held),
                Err(Held::Gate(wait) | Held::Busy(wait)) => wait.min(left),
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Leave now or not at all, and only if that takes nothing from anybody more urgent.
    pub fn leave_if_spare(&self, urgency: Urgency) -> Result<Permit, Held> {
        let inner = &self.0;
        let now = inner.clock.now();
        let mut state = inner.lock();
        if !state.queue.is_empty() {
            return Err(Held::Busy(Duration::from_secs(1)));
        }
        if urgency == Urgency::Ahead && state.pace.is_thrifty(now) {
            return Err(Held::Busy(Duration::from_secs(5)));
        }
        // Of what only is a wish, a part of the burst is kept for those who are more urgent, and half of the
        // concurrency.
        let (burst, concurrency) = (inner.settings.burst.saturating_sub(1), inner.settings.max_concurrency);
        let (reserve, concurrency) = match urgency {
            Urgency::Management | Urgency::Caller | Urgency::Stale => (0, concurrency),
            Urgency::Fresh => (burst / 4, concurrency.div_ceil(2)),
            Urgency::Ahead => (burst / 2, concurrency.div_ceil(2)),
        };
        if state.under_way >= concurrency {
            return Err(Held::Busy(Duration::from_secs(1)));
        }
        state.pace.take(reserve, now)?;
        state.under_way = state.under_way.saturating_add(1);
        Ok(Permit(Arc::clone(inner)))
    }

    /// Changes what is known of the tenant's own limits, and lets those who wait see it.
    pub fn learn(&self, change: impl FnOnce(&mut Pace, Moment)) {
        change(&mut self.0.lock().pace, self.0.clock.now());
        self.0.change.notify_waiters();
    }

    /// What there is to know at `now`.
    pub fn standing(&self, now: Moment) -> BudgetStanding {
        let state = self.0.lock();
        BudgetStanding {
            gate_closed_for: state.pace.gate_closed_for(now),
            waiting: state.queue.len(),
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
    fn try_go(
        &mut self,
        ticket: (Urgency, u64),
        settings: &config::Upstream,
        now: Moment,
    ) -> Result<(), Held> {
        if let Some(wait) = self.pace.gate_closed_for(now) {
            return Err(Held::Gate(wait));
        }
        if self.queue.first() != Some(&ticket) || self.under_way >= settings.max_concurrency {
            // Whoever is before it, or ends, tells of the change.
            return Err(Held::Busy(Duration::from_secs(1)));
        }
        self.pace.take(0, now)?;
        self.under_way = self.under_way.saturating_add(1);
        Ok(())
    }
}

/// A place in the queue, given up however the wait ends.
struct Place<'a> {
    inner: &'a Inner,
    ticket: (Urgency, u64),
}

impl<'a> Place<'a> {
    fn new(inner: &'a Inner, urgency: Urgency) -> Self {
        let mut state = inner.lock();
        state.arrivals = state.arrivals.wrapping_add(1);
        let ticket = (urgency, state.arrivals);
        state.queue.insert(ticket);
        Self { inner, ticket }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.inner.lock().queue.remove(&self.ticket);
        self.inner.change.notify_waiters();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.under_way = state.under_way.saturating_sub(1);
        drop(state);
        self.0.change.notify_waiters();
    }
}

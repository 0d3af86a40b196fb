//! How many connections each caller may hold, so that none can keep the others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::domain::policy::{Caller, Standing};

/// A listener's room for `max_connections`.
///
/// Who is at the other end is known only once a connection has been accepted. So those of others than root and the
/// daemon's own uid, if there is no room for them, are closed, not left in the kernel's queue: there they would stand in
/// the way of the daemon's own people, to whom a part of the room belongs. What waits in the queue waits for the listener
/// as a whole.
pub struct ConnectionLimits {
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
    /// Of all together that are not the daemon's own.
    most: usize,
    /// Of one of them.
    most_each: usize,
    /// Of strangers together.
    most_strangers: usize,
}

/// Connections that are not the daemon's own.
#[derive(Default)]
struct Taken {
    /// By uid; none without any.
    by_uid: HashMap<u32, usize>,
    all: usize,
    strangers: usize,
}

/// ConnectionLimits for one connection, whoever it turns out to be. The semaphore is never closed; were it, there would be no
/// bound, but a daemon still.
pub type Permit = Result<OwnedSemaphorePermit, AcquireError>;

/// One connection's permit, given back when it is dropped.
pub struct ConnectionSlot {
    _permit: Permit,
    limits: Arc<ConnectionLimits>,
    uid: u32,
    standing: Standing,
}

impl ConnectionLimits {
    /// A quarter is for root and the daemon's own uid alone, but if there is one permit, it is anybody's. Of the
    /// places, no other uid has more than half, so that another can get in; also one that rules name, since half is
    /// more than any has use for: a connection is busy only for as long as its one request takes. Those whom rules leave
    /// out, and who can ask for nothing but probes, have a quarter together, so that those whom they name get in.
    pub fn new(max_connections: usize) -> Arc<Self> {
        let quarter = (max_connections / 4).max(1);
        Arc::new(Self {
            free: Arc::new(Semaphore::new(max_connections)),
            taken: Mutex::default(),
            most: max_connections.saturating_sub(quarter).max(1),
            most_each: (max_connections / 2).max(1),
            most_strangers: quarter,
        })
    }

    /// Waits until there is room for anybody at all.
    pub async fn permit(&self) -> Permit {
        Arc::clone(&self.free).acquire_owned().await
    }

    /// A permit, if one is free.
    pub fn free_permit(&self) -> Option<Permit> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(Ok)
    }

    /// Gives `place` to `caller`, unless those like it have all that they may have; then it is free again.
    pub fn slot(
        self: &Arc<Self>,
        permit: Permit,
        caller: Caller,
        standing: Standing,
    ) -> Option<ConnectionSlot> {
        let uid = caller.uid;
        if standing != Standing::Own {
            let mut taken = self.taken();
            let own = taken.by_uid.get(&uid).copied().unwrap_or(0);
            let is_stranger = standing == Standing::Stranger;
            if taken.all >= self.most
                || own >= self.most_each
                || (is_stranger && taken.strangers >= self.most_strangers)
            {
                return None;
            }
            taken.by_uid.insert(uid, own + 1);
            taken.all += 1;
            taken.strangers += usize::from(is_stranger);
        }
        Some(ConnectionSlot { _permit: permit, limits: Arc::clone(self), uid, standing })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if self.standing == Standing::Own {
            return;
        }
        let mut taken = self.limits.taken();
        taken.all = taken.all.saturating_sub(1);
        if self.standing == Standing::Stranger {
            taken.strangers = taken.strangers.saturating_sub(1);
        }
        if let Some(own) = taken.by_uid.get_mut(&self.uid) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_uid.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who gets in, in this order; `None` is root, and uids from 100 on are strangers.
    async fn admitted_slots(
        limits: &Arc<ConnectionLimits>,
        callers: &[Option<u32>],
    ) -> Vec<Option<ConnectionSlot>> {
        let mut slots = Vec::new();
        for caller in callers {
            let permit = limits.permit().await;
            let uid = caller.unwrap_or(0);
            let standing = match caller {
                None => Standing::Own,
                Some(100..) => Standing::Stranger,
                Some(_) => Standing::Named,
            };
            slots.push(limits.slot(permit, Caller { uid, gid: uid }, standing));
        }
        slots
    }

    fn admitted(slots: &[Option<ConnectionSlot>]) -> Vec<bool> {
        slots.iter().map(Option::is_some).collect()
    }

    #[tokio::test]
    async fn nobody_has_more_than_half_and_all_of_them_leave_a_quarter() {
        let limits = ConnectionLimits::new(8);
        let slots = admitted_slots(&limits, &[Some(1); 6]).await;
        assert_eq!(admitted(&slots), [true, true, true, true, false, false]);
        let others = admitted_slots(&limits, &[Some(2), Some(3), Some(2)]).await;
        assert_eq!(admitted(&others), [true, true, false]);
        let own = admitted_slots(&limits, &[None, None]).await;
        assert_eq!(admitted(&own), [true, true]);
        let full = tokio::time::timeout(std::time::Duration::ZERO, limits.permit()).await;
        assert!(full.is_err(), "root waits, too, where everything is taken");
        drop(slots);
        let again = admitted_slots(&limits, &[Some(2), Some(1)]).await;
        assert_eq!(admitted(&again), [true, true]);
        drop((others, own, again));
        assert!(limits.taken().by_uid.is_empty() && limits.free.available_permits() == 8);
        assert_eq!(limits.taken().all, 0);
    }

    #[tokio::test]
    async fn whom_no_rule_names_gives_way_to_those_whom_one_does() {
        let limits = ConnectionLimits::new(8);
        let strangers = admitted_slots(&limits, &[Some(100), Some(101), Some(100), Some(102)]).await;
        assert_eq!(admitted(&strangers), [true, true, false, false]);
        let named = admitted_slots(&limits, &[Some(1), Some(1), Some(1), Some(1), Some(1), Some(2)]).await;
        assert_eq!(admitted(&named), [true, true, true, true, false, false]);
        drop(strangers);
        assert_eq!(
            admitted(&admitted_slots(&limits, &[Some(2), Some(100), Some(100)]).await),
            [true, true, false]
        );
    }

    #[tokio::test]
    async fn even_the_smallest_listener_answers_everybody_in_turn() {
        for (max, strangers) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
            let limits = ConnectionLimits::new(max);
            for _ in 0..2 {
                let slots: Vec<_> = admitted_slots(&limits, &vec![Some(1); strangers]).await;
                assert!(slots.iter().all(Option::is_some), "{max}");
                if max > 1 {
                    let more = admitted_slots(&limits, &[Some(1), None]).await;
                    assert_eq!(admitted(&more), [false, true], "{max}");
                }
            }
        }
    }
}

//! Limits of one listener, of its connections or of its streams: in total, for each uid, and for uids that no rule names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::domain::policy::{Caller, Standing};

/// The limits of a listener with `max_connections`.
///
/// The kernel names a client only once its connection is accepted. A connection above its uid's limit is therefore
/// closed and not left in the kernel's backlog: there it would delay root and the daemon's own uid, for which a part of
/// the limit is reserved. Connections wait in the backlog only while the whole listener is at its limit.
pub struct ConnectionLimits {
    free: Arc<Semaphore>,
    counts: Mutex<ConnectionCounts>,
    /// The limit on all uids together, except root and the daemon's own.
    max_all: usize,
    /// The limit on one such uid.
    max_per_uid: usize,
    /// The limit on all uids together that no rule names.
    max_strangers: usize,
}

/// Open connections of all uids except root and the daemon's own.
#[derive(Default)]
struct ConnectionCounts {
    /// Connections of each uid that has any.
    by_uid: HashMap<u32, usize>,
    all: usize,
    strangers: usize,
}

/// Permission to accept one connection, taken before its client is known. The semaphore is never closed. If it were,
/// the daemon would go on without a limit.
pub type Permit = Result<OwnedSemaphorePermit, AcquireError>;

/// The permit and the counts of one connection, both returned on drop.
pub struct ConnectionSlot {
    _permit: Permit,
    limits: Arc<ConnectionLimits>,
    caller: Caller,
    standing: Standing,
}

impl ConnectionSlot {
    /// A slot of the same client under `limits`, if there is one.
    pub fn another(&self, limits: &Arc<ConnectionLimits>) -> Option<Self> {
        limits.free_slot(self.caller, self.standing)
    }

    /// The limits that the slot counts against.
    pub fn limits(&self) -> &Arc<ConnectionLimits> {
        &self.limits
    }
}

impl ConnectionLimits {
    /// Divides `max_connections`:
    ///
    /// - A quarter is reserved for root and the daemon's own uid, except that a single permit is open to all uids.
    /// - No other uid has more than half of the connections, so that a further uid can connect. That holds for uids
    ///   that rules name as well: a connection is busy only during its one request, so half is more than a client uses.
    /// - Uids that no rule names have a quarter together, so that uids that rules name can connect. Only probes are
    ///   open to them.
    pub fn new(max_connections: usize) -> Arc<Self> {
        let quarter = (max_connections / 4).max(1);
        Arc::new(Self {
            free: Arc::new(Semaphore::new(max_connections)),
            counts: Mutex::default(),
            max_all: max_connections.saturating_sub(quarter).max(1),
            max_per_uid: (max_connections / 2).max(1),
            max_strangers: quarter,
        })
    }

    /// Waits until the listener is below its total limit.
    pub async fn permit(&self) -> Permit {
        Arc::clone(&self.free).acquire_owned().await
    }

    /// A slot for `caller`; `None` if the total limit or a limit of its uid is reached.
    pub fn free_slot(self: &Arc<Self>, caller: Caller, standing: Standing) -> Option<ConnectionSlot> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok().map(Ok)?;
        self.slot(permit, caller, standing)
    }

    /// A slot for `caller`; `None` if a limit of its uid is reached, which returns `permit`.
    pub fn slot(
        self: &Arc<Self>,
        permit: Permit,
        caller: Caller,
        standing: Standing,
    ) -> Option<ConnectionSlot> {
        let uid = caller.uid;
        if standing != Standing::Own {
            let mut counts = self.counts();
            let of_uid = counts.by_uid.get(&uid).copied().unwrap_or(0);
            let is_stranger = standing == Standing::Stranger;
            if counts.all >= self.max_all
                || of_uid >= self.max_per_uid
                || (is_stranger && counts.strangers >= self.max_strangers)
            {
                return None;
            }
            counts.by_uid.insert(uid, of_uid + 1);
            counts.all += 1;
            counts.strangers += usize::from(is_stranger);
        }
        Some(ConnectionSlot { _permit: permit, limits: Arc::clone(self), caller, standing })
    }

    fn counts(&self) -> MutexGuard<'_, ConnectionCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if self.standing == Standing::Own {
            return;
        }
        let mut counts = self.limits.counts();
        counts.all = counts.all.saturating_sub(1);
        if self.standing == Standing::Stranger {
            counts.strangers = counts.strangers.saturating_sub(1);
        }
        if let Some(of_uid) = counts.by_uid.get_mut(&self.caller.uid) {
            *of_uid = of_uid.saturating_sub(1);
            if *of_uid == 0 {
                counts.by_uid.remove(&self.caller.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connects clients in this order: `None` is root, uids from 100 on are named by no rule.
    async fn connect(limits: &Arc<ConnectionLimits>, callers: &[Option<u32>]) -> Vec<Option<ConnectionSlot>> {
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
    async fn no_uid_has_more_than_half_and_all_of_them_leave_a_quarter() {
        let limits = ConnectionLimits::new(8);
        let slots = connect(&limits, &[Some(1); 6]).await;
        assert_eq!(admitted(&slots), [true, true, true, true, false, false]);
        let others = connect(&limits, &[Some(2), Some(3), Some(2)]).await;
        assert_eq!(admitted(&others), [true, true, false]);
        let own = connect(&limits, &[None, None]).await;
        assert_eq!(admitted(&own), [true, true]);
        let full = tokio::time::timeout(std::time::Duration::ZERO, limits.permit()).await;
        assert!(full.is_err(), "root waits, too, while all permits are taken");
        drop(slots);
        let again = connect(&limits, &[Some(2), Some(1)]).await;
        assert_eq!(admitted(&again), [true, true]);
        drop((others, own, again));
        assert!(limits.counts().by_uid.is_empty() && limits.free.available_permits() == 8);
        assert_eq!(limits.counts().all, 0);
    }

    #[tokio::test]
    async fn uids_that_no_rule_names_leave_room_for_those_that_rules_name() {
        let limits = ConnectionLimits::new(8);
        let strangers = connect(&limits, &[Some(100), Some(101), Some(100), Some(102)]).await;
        assert_eq!(admitted(&strangers), [true, true, false, false]);
        let named = connect(&limits, &[Some(1), Some(1), Some(1), Some(1), Some(1), Some(2)]).await;
        assert_eq!(admitted(&named), [true, true, true, true, false, false]);
        drop(strangers);
        assert_eq!(admitted(&connect(&limits, &[Some(2), Some(100), Some(100)]).await), [true, true, false]);
    }

    #[tokio::test]
    async fn even_the_smallest_listener_admits_every_uid_in_turn() {
        for (max, strangers) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
            let limits = ConnectionLimits::new(max);
            for _ in 0..2 {
                let slots: Vec<_> = connect(&limits, &vec![Some(1); strangers]).await;
                assert!(slots.iter().all(Option::is_some), "{max}");
                if max > 1 {
                    let more = connect(&limits, &[Some(1), None]).await;
                    assert_eq!(admitted(&more), [false, true], "{max}");
                }
            }
        }
    }
}

//! How many connections each caller may hold, so that none can keep the others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::domain::policy::Caller;

/// A listener's room for `max_connections`.
///
/// Who is at the other end is known only once a connection has been accepted. So those of strangers for whom there
/// is no room are closed, not left in the kernel's queue: there they would stand in the way of the daemon's own
/// people, to whom a part of the room belongs. What waits in the queue waits for the listener as a whole.
pub struct Room {
    free: Arc<Semaphore>,
    /// Strangers' connections by uid; none without any. A stranger is neither root nor the daemon's own uid.
    strangers: Mutex<HashMap<u32, usize>>,
    /// Of all strangers together.
    most: usize,
    /// Of one of them.
    most_each: usize,
}

/// Room for one connection, whoever it turns out to be. The semaphore is never closed; were it, there would be no
/// bound, but a daemon still.
pub type Place = Result<OwnedSemaphorePermit, AcquireError>;

/// One connection's place, given back when it is dropped.
pub struct Seat {
    _place: Place,
    room: Arc<Room>,
    stranger: Option<u32>,
}

impl Room {
    /// A quarter is for root and the daemon's own uid alone, but if there is one place, it is anybody's. Of the
    /// places, no stranger has more than half, so that another can get in.
    pub fn new(max_connections: usize) -> Arc<Self> {
        let reserved = (max_connections / 4).max(1);
        Arc::new(Self {
            free: Arc::new(Semaphore::new(max_connections)),
            strangers: Mutex::default(),
            most: max_connections.saturating_sub(reserved).max(1),
            most_each: (max_connections / 2).max(1),
        })
    }

    /// Waits until there is room for anybody at all.
    pub async fn place(&self) -> Place {
        Arc::clone(&self.free).acquire_owned().await
    }

    /// Gives `place` to `caller`, unless those like it have all that they may have; then it is free again.
    pub fn seat(self: &Arc<Self>, place: Place, caller: Caller, is_stranger: bool) -> Option<Seat> {
        if is_stranger {
            let mut strangers = self.strangers();
            let all: usize = strangers.values().sum();
            let own = strangers.get(&caller.uid).copied().unwrap_or(0);
            if all >= self.most || own >= self.most_each {
                return None;
            }
            strangers.insert(caller.uid, own + 1);
        }
        let stranger = is_stranger.then_some(caller.uid);
        Some(Seat { _place: place, room: Arc::clone(self), stranger })
    }

    fn strangers(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(uid) = self.stranger else { return };
        let mut strangers = self.room.strangers();
        if let Some(own) = strangers.get_mut(&uid) {
            *own = own.saturating_sub(1);
        }
        strangers.retain(|_, own| *own > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who gets in, in this order; `None` is root.
    async fn seated(room: &Arc<Room>, callers: &[Option<u32>]) -> Vec<Option<Seat>> {
        let mut seats = Vec::new();
        for caller in callers {
            let place = room.place().await;
            let uid = caller.unwrap_or(0);
            seats.push(room.seat(place, Caller { uid, gid: uid }, caller.is_some()));
        }
        seats
    }

    fn admitted(seats: &[Option<Seat>]) -> Vec<bool> {
        seats.iter().map(Option::is_some).collect()
    }

    #[tokio::test]
    async fn no_stranger_has_more_than_half_and_all_of_them_leave_a_quarter() {
        let room = Room::new(8);
        let seats = seated(&room, &[Some(1); 6]).await;
        assert_eq!(admitted(&seats), [true, true, true, true, false, false]);
        let others = seated(&room, &[Some(2), Some(3), Some(2)]).await;
        assert_eq!(admitted(&others), [true, true, false]);
        let own = seated(&room, &[None, None]).await;
        assert_eq!(admitted(&own), [true, true]);
        let full = tokio::time::timeout(std::time::Duration::ZERO, room.place()).await;
        assert!(full.is_err(), "root waits, too, where everything is taken");
        drop(seats);
        let again = seated(&room, &[Some(2), Some(1)]).await;
        assert_eq!(admitted(&again), [true, true]);
        drop((others, own, again));
        assert!(room.strangers().is_empty() && room.free.available_permits() == 8);
    }

    #[tokio::test]
    async fn even_the_smallest_listener_answers_everybody_in_turn() {
        for (max, strangers) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
            let room = Room::new(max);
            for _ in 0..2 {
                let seats: Vec<_> = seated(&room, &vec![Some(1); strangers]).await;
                assert!(seats.iter().all(Option::is_some), "{max}");
                if max > 1 {
                    let more = seated(&room, &[Some(1), None]).await;
                    assert_eq!(admitted(&more), [false, true], "{max}");
                }
            }
        }
    }
}

//! Where callers of several uids are connected, the connections of each are served one after the other, so that a
//! thousand of them keep nobody else's waiting.
//!
//! The runtime runs whatever is ready, in turn: with hundreds of connections that always have something to say,
//! everybody else's next answer would come after all of those. So of each uid only one connection at a time stands in the
//! runtime's queue, and after a step it stands at its end; the others wait for that. A connection that waits for Auth0
//! has nothing to do, so it holds nobody up. While there is but one uid, as in most pods, nobody has to wait for
//! anybody.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The turnstile of each uid that has a connection, on whichever listener.
#[derive(Clone, Debug, Default)]
pub struct Turnstiles(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    lanes: Mutex<HashMap<u32, Lane>>,
    /// How many lanes there are.
    uids: AtomicUsize,
}

/// One uid's.
#[derive(Debug)]
struct Lane {
    turn: Arc<Semaphore>,
    connections: usize,
}

impl Turnstiles {
    /// A connection of `uid`, on its way to that uid's turnstile.
    pub fn of(&self, uid: u32) -> Turnstile {
        let mut lanes = self.0.lanes();
        let new = || Lane { turn: Arc::new(Semaphore::new(1)), connections: 0 };
        let lane = lanes.entry(uid).or_insert_with(new);
        lane.connections = lane.connections.saturating_add(1);
        let turn = Arc::clone(&lane.turn);
        self.0.uids.store(lanes.len(), Ordering::Relaxed);
        drop(lanes);
        Turnstile { all: Arc::clone(&self.0), uid, turn, waiting: None, taken: None }
    }
}

impl Inner {
    fn lanes(&self) -> MutexGuard<'_, HashMap<u32, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never fails, since the semaphore is never closed; were it, everybody would pass.
type Turn = Result<OwnedSemaphorePermit, AcquireError>;

/// One connection before its uid's turnstile.
pub struct Turnstile {
    all: Arc<Inner>,
    uid: u32,
    turn: Arc<Semaphore>,
    waiting: Option<Pin<Box<dyn Future<Output = Turn> + Send>>>,
    /// For as long as whatever else was ready when the last step was made has not run.
    taken: Option<Turn>,
}

impl Turnstile {
    /// Makes a step once it is its turn. The step says whether it came to anything, besides what it came to: if it did,
    /// the next one of the same uid, be it by this connection, has to let all others go first.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        step: impl FnOnce(&mut Context<'_>) -> (Poll<T>, bool),
    ) -> Poll<T> {
        self.taken = None;
        if self.waiting.is_none() && self.all.uids.load(Ordering::Relaxed) <= 1 {
            return step(cx).0;
        }
        let turn = match self.waiting.as_mut() {
            Some(waiting) => ready!(waiting.as_mut().poll(cx)),
            None => match Arc::clone(&self.turn).try_acquire_owned() {
                Ok(turn) => Ok(turn),
                Err(_) => {
                    let wait = Box::pin(Arc::clone(&self.turn).acquire_owned());
                    ready!(self.waiting.insert(wait).as_mut().poll(cx))
                }
            },
        };
        self.waiting = None;
        let (outcome, came_to_anything) = step(cx);
        if came_to_anything {
            self.taken = Some(turn);
            cx.waker().wake_by_ref();
        }
        outcome
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        let mut lanes = self.all.lanes();
        if let Some(lane) = lanes.get_mut(&self.uid) {
            lane.connections = lane.connections.saturating_sub(1);
            if lane.connections == 0 {
                lanes.remove(&self.uid);
            }
        }
        self.all.uids.store(lanes.len(), Ordering::Relaxed);
    }
}

/// Lets whatever else is ready go first. Unlike tokio's `yield_now` it does not ask the kernel for more.
pub async fn step_back() {
    let mut stepped = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who steps in which order, of connections that are all ready at once and have two steps to make.
    async fn steps(uids: &[u32]) -> Vec<u32> {
        let (turnstiles, steps) = (Turnstiles::default(), Arc::new(Mutex::new(Vec::new())));
        let mut connections = tokio::task::JoinSet::new();
        for uid in uids {
            let (mut turnstile, steps, uid) = (turnstiles.of(*uid), Arc::clone(&steps), *uid);
            let mut left = 2;
            connections.spawn(std::future::poll_fn(move |cx| {
                turnstile.poll(cx, |_| {
                    steps.lock().unwrap().push(uid);
                    left -= 1;
                    (if left == 0 { Poll::Ready(()) } else { Poll::Pending }, true)
                })
            }));
        }
        connections.join_all().await;
        Arc::into_inner(steps).unwrap().into_inner().unwrap()
    }

    #[tokio::test]
    async fn who_comes_last_is_not_behind_a_thousand_of_another() {
        let mut connections = vec![1; 1000];
        connections.extend([2, 2, 3]);
        let order = steps(&connections).await;
        assert_eq!(order.len(), 2006);
        let last = order.iter().rposition(|uid| *uid != 1).unwrap();
        assert!(last <= 12, "{:?}", &order[..=last]);
    }

    #[tokio::test]
    async fn a_step_that_comes_to_nothing_takes_no_turn() {
        let turnstiles = Turnstiles::default();
        let _another = turnstiles.of(2);
        let (mut idle, mut busy) = (turnstiles.of(1), turnstiles.of(1));
        std::future::poll_fn(|cx| {
            assert!(idle.poll::<()>(cx, |_| (Poll::Pending, false)).is_pending());
            assert!(busy.poll(cx, |_| (Poll::Ready(()), true)).is_ready());
            assert!(idle.poll::<()>(cx, |_| panic!("it is not its turn")).is_pending());
            drop(busy.taken.take());
            idle.poll(cx, |_| (Poll::Ready(()), true))
        })
        .await;
    }

    #[tokio::test]
    async fn where_there_is_but_one_uid_nobody_waits() {
        let turnstiles = Turnstiles::default();
        let (mut one, mut other) = (turnstiles.of(1), turnstiles.of(1));
        std::future::poll_fn(|cx| {
            for _ in 0..2 {
                assert!(one.poll(cx, |_| (Poll::Ready(()), true)).is_ready());
                assert!(other.poll(cx, |_| (Poll::Ready(()), true)).is_ready());
            }
            Poll::Ready(())
        })
        .await;
    }

    #[test]
    fn uids_that_are_gone_are_forgotten() {
        let turnstiles = Turnstiles::default();
        let held = turnstiles.of(7);
        for uid in 1000..10_000 {
            turnstiles.of(uid);
        }
        assert_eq!(turnstiles.0.uids.load(Ordering::Relaxed), 1);
        assert!(Arc::ptr_eq(&held.turn, &turnstiles.of(7).turn));
        drop(held);
        assert!(turnstiles.0.lanes().is_empty());
    }
}

//! Where callers of several uids are connected, the connections of each are served one after the other, so that a
//! thousand of them keep nobody else's waiting.
//!
//! The runtime runs whatever is ready, in turn: with hundreds of connections that always have something to say,
//! everybody else's next answer would come after all of those. So of each uid only one connection at a time stands in the
//! runtime's queue, and after a step it stands at its end; the others wait for that. A connection that waits for Auth0
//! has nothing to do, so it holds nobody up.
//!
//! Where a single uid has a few connections, as in most pods, there are no turns: they cost something. With many there
//! are, even so: a connection of another uid may be in the kernel's queue, and the accept loop stands in the runtime's
//! queue like everything else.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::domain::policy::{Caller, Policy, Standing};

/// With more connections than this, those of a single group take turns, too. Until then a new connection waits for one
/// step of each at most, of which most take some ten microseconds.
const FEW: usize = 64;

/// Connections to `admin.address` that cause no turns by themselves: a scraper's that is kept, and probes.
const FEW_FOR_PROBES: usize = 4;

/// Whose connections take turns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// One uid that is root's, the daemon's own, or named by a rule.
    Uid(u32),
    /// All other uids: having many of them gains nothing.
    Strangers,
    /// Those to `admin.address`, where the kernel names no uid.
    Probes,
}

impl Group {
    /// That of `caller` on a listener with this policy.
    pub fn of(caller: Caller, policy: &Policy) -> Self {
        match policy.standing(caller) {
            Standing::Own => Self::Uid(caller.uid),
            Standing::Named if !policy.rules().is_empty() => Self::Uid(caller.uid),
            // Without rules, too, it can ask for probes alone.
            Standing::Named | Standing::Stranger => Self::Strangers,
        }
    }
}

/// The scheduled of each group that has a connection, on whichever listener.
#[derive(Clone, Debug, Default)]
pub struct FairScheduler(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    queues: Mutex<Queues>,
    has_turns: AtomicBool,
}

#[derive(Debug, Default)]
struct Queues {
    by_group: HashMap<Group, GroupQueue>,
    /// Of all groups.
    connections: usize,
}

impl Queues {
    fn has_turns(&self) -> bool {
        let probes = self.by_group.get(&Group::Probes);
        let callers = self.by_group.len() - usize::from(probes.is_some());
        callers > 1
            || self.connections > FEW
            || probes.is_some_and(|queue| queue.connections > FEW_FOR_PROBES)
    }
}

/// One group's.
#[derive(Debug)]
struct GroupQueue {
    turn: Arc<Semaphore>,
    connections: usize,
}

impl FairScheduler {
    /// A connection of `group`, on its way to that group's scheduled.
    pub fn of(&self, group: Group) -> ScheduledConnection {
        let mut queues = self.0.queues();
        let new = || GroupQueue { turn: Arc::new(Semaphore::new(1)), connections: 0 };
        let queue = queues.by_group.entry(group).or_insert_with(new);
        queue.connections = queue.connections.saturating_add(1);
        let turn = Arc::clone(&queue.turn);
        queues.connections = queues.connections.saturating_add(1);
        self.0.has_turns.store(queues.has_turns(), Ordering::Relaxed);
        drop(queues);
        ScheduledConnection { all: Arc::clone(&self.0), group, turn, waiting: None, taken: None }
    }
}

impl Inner {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never fails, since the semaphore is never closed; were it, everybody would pass.
type Turn = Result<OwnedSemaphorePermit, AcquireError>;

/// One connection before its group's scheduled.
pub struct ScheduledConnection {
    all: Arc<Inner>,
    group: Group,
    turn: Arc<Semaphore>,
    waiting: Option<Pin<Box<dyn Future<Output = Turn> + Send>>>,
    /// For as long as whatever else was ready when the last step was made has not run.
    taken: Option<Turn>,
}

impl ScheduledConnection {
    /// Makes a step once it is its turn. The step says whether it came to anything, besides what it came to: if it did,
    /// the next one of the same group, be it by this connection, has to let all others go first.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        step: impl FnOnce(&mut Context<'_>) -> (Poll<T>, bool),
    ) -> Poll<T> {
        self.taken = None;
        if self.waiting.is_none() && !self.all.has_turns.load(Ordering::Relaxed) {
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

    /// Whether there is something to do that has not had its turn yet.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }
}

impl Drop for ScheduledConnection {
    fn drop(&mut self) {
        let mut queues = self.all.queues();
        if let Some(queue) = queues.by_group.get_mut(&self.group) {
            queue.connections = queue.connections.saturating_sub(1);
            if queue.connections == 0 {
                queues.by_group.remove(&self.group);
            }
        }
        queues.connections = queues.connections.saturating_sub(1);
        self.all.has_turns.store(queues.has_turns(), Ordering::Relaxed);
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
    use crate::domain::policy::{OVERFLOW_ID, Rule};

    use super::*;

    /// Who steps in which order, of connections that are all ready at once and have two steps to make.
    async fn steps(uids: &[u32]) -> Vec<u32> {
        let (scheduler, steps) = (FairScheduler::default(), Arc::new(Mutex::new(Vec::new())));
        let mut connections = tokio::task::JoinSet::new();
        for uid in uids {
            let (mut scheduled, steps, uid) = (scheduler.of(Group::Uid(*uid)), Arc::clone(&steps), *uid);
            let mut left = 2;
            connections.spawn(std::future::poll_fn(move |cx| {
                scheduled.poll(cx, |_| {
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
        let scheduler = FairScheduler::default();
        let _another = scheduler.of(Group::Uid(2));
        let (mut idle, mut busy) = (scheduler.of(Group::Uid(1)), scheduler.of(Group::Uid(1)));
        std::future::poll_fn(|cx| {
            assert!(idle.poll::<()>(cx, |_| (Poll::Pending, false)).is_pending());
            assert!(busy.poll(cx, |_| (Poll::Ready(()), true)).is_ready());
            assert!(idle.poll::<()>(cx, |_| panic!("it is not its turn")).is_pending());
            drop(busy.taken.take());
            idle.poll(cx, |_| (Poll::Ready(()), true))
        })
        .await;
    }

    /// What has come into the kernel's queue is waited for by a task that stands in the runtime's queue with all others.
    #[tokio::test]
    async fn a_single_uid_with_many_connections_leaves_every_other_step_to_others() {
        let scheduler = FairScheduler::default();
        let steps = Arc::new(Mutex::new(0));
        let mut connections = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let (mut scheduled, steps) = (scheduler.of(Group::Strangers), Arc::clone(&steps));
            connections.spawn(std::future::poll_fn(move |cx| {
                scheduled.poll::<()>(cx, |cx| {
                    *steps.lock().unwrap() += 1;
                    // It always has something to say.
                    cx.waker().wake_by_ref();
                    (Poll::Pending, true)
                })
            }));
        }
        // In a task, as the runtime polls what is not one whenever it likes.
        let mut accepting = tokio::task::JoinSet::new();
        accepting.spawn(async move {
            // All of them are in the queue once.
            step_back().await;
            for _ in 0..10 {
                let before = *steps.lock().unwrap();
                step_back().await;
                let between = *steps.lock().unwrap() - before;
                assert!(between <= 2, "{between} steps");
            }
        });
        accepting.join_all().await;
    }

    #[test]
    fn whom_no_rule_names_stands_in_one_line_with_all_like_it() {
        let rule = Rule { uid: Some(7), ..Rule::default() };
        let group = |policy: &Policy, uid| Group::of(Caller { uid, gid: uid }, policy);
        let ruled = Policy::new(5, vec![rule]);
        assert_eq!([0, 5, 7].map(|uid| group(&ruled, uid)), [0, 5, 7].map(Group::Uid));
        assert_eq!([8, 9, OVERFLOW_ID].map(|uid| group(&ruled, uid)), [Group::Strangers; 3]);
        let none = Policy::new(5, Vec::new());
        assert_eq!([0, 5].map(|uid| group(&none, uid)), [0, 5].map(Group::Uid));
        assert_eq!([7, 8, OVERFLOW_ID].map(|uid| group(&none, uid)), [Group::Strangers; 3]);
    }

    #[test]
    fn turns_begin_with_a_second_group_with_many_connections_or_with_many_probes() {
        let scheduler = FairScheduler::default();
        let has_turns = || scheduler.0.has_turns.load(Ordering::Relaxed);
        let many = |group, count| (0..count).map(|_| scheduler.of(group)).collect::<Vec<_>>();
        let few = many(Group::Uid(1), FEW - FEW_FOR_PROBES);
        let probes = many(Group::Probes, FEW_FOR_PROBES);
        assert!(!has_turns());
        for group in [Group::Uid(2), Group::Strangers, Group::Probes, Group::Uid(1)] {
            let one_more = scheduler.of(group);
            assert!(has_turns(), "{group:?}");
            drop(one_more);
            assert!(!has_turns(), "{group:?}");
        }
        drop((few, probes));
        assert_eq!(scheduler.0.queues().connections, 0);
    }

    #[tokio::test]
    async fn where_a_single_uid_has_few_connections_nobody_waits() {
        let scheduler = FairScheduler::default();
        let (mut one, mut other) = (scheduler.of(Group::Uid(1)), scheduler.of(Group::Uid(1)));
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
        let scheduler = FairScheduler::default();
        let held = scheduler.of(Group::Uid(7));
        for uid in 1000..10_000 {
            scheduler.of(Group::Uid(uid));
        }
        assert_eq!(scheduler.0.queues().by_group.len(), 1);
        assert!(Arc::ptr_eq(&held.turn, &scheduler.of(Group::Uid(7)).turn));
        drop(held);
        assert!(scheduler.0.queues().by_group.is_empty());
    }
}

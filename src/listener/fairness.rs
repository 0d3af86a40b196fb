//! Fair scheduling between uids: while clients of several uids are connected, the connections of each uid run one after
//! the other.
//!
//! The runtime polls ready tasks in turn. With hundreds of connections of one uid that always have work, the next
//! response to another uid would come after a step of each of them. So only one connection of each uid is in the
//! runtime's run queue at a time, and goes to its end after a step; the other connections of that uid wait. While a
//! connection waits for Auth0 it is not ready, and delays no other connection.
//!
//! Proxied calls of a uid take turns of their own, so that its lookups do not wait for all of its streams. After each step
//! such a connection rests until every other ready task has run and the runtime has looked for new events: a stream
//! nearly always has work, and would leave new requests unnoticed.
//!
//! A single uid with a few connections, as in most pods, is not scheduled, because scheduling has a cost. A single uid
//! with many is: a connection of another uid may be in the kernel's backlog, and the accept loop is in the same run
//! queue as the connections.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::rest::Rest;
use crate::domain::policy::{Caller, Policy, Standing};

/// The most connections of a single group that are not scheduled. Up to this number, a new connection waits for at most
/// one step of each, most of which take some ten microseconds.
const MAX_UNSCHEDULED: usize = 64;

/// The most connections to `admin.address` that do not start scheduling: those of probes, and one that a scraper keeps
/// open.
const MAX_UNSCHEDULED_PROBES: usize = 4;

/// Connections that share one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// One uid: root's, the daemon's own, or one that a rule names.
    Uid(u32),
    /// All other uids together, so that a client gains nothing from having many of them.
    Strangers,
    /// All connections to `admin.address`, where the kernel names no uid.
    Probes,
}

impl Group {
    /// The group of `caller` on a listener with this policy.
    pub fn of(caller: Caller, policy: &Policy) -> Self {
        match policy.standing(caller) {
            Standing::Own => Self::Uid(caller.uid),
            Standing::Named if !policy.rules().is_empty() => Self::Uid(caller.uid),
            // Without rules, too, only probes are open to other uids.
            Standing::Named | Standing::Stranger => Self::Strangers,
        }
    }
}

/// The scheduler of the connections of all listeners.
#[derive(Clone, Debug, Default)]
pub struct FairScheduler(Arc<SchedulerState>);

#[derive(Debug, Default)]
struct SchedulerState {
    queues: Mutex<Queues>,
    /// [`Queues::is_scheduling`], readable without the lock.
    is_scheduling: AtomicBool,
}

#[derive(Debug, Default)]
struct Queues {
    by_group: HashMap<Group, GroupQueue>,
    /// Connections of all groups.
    connections: usize,
    /// Those of them that proxy a call.
    streams: usize,
}

impl Queues {
    fn is_scheduling(&self) -> bool {
        let probes = self.by_group.get(&Group::Probes);
        let other_groups = self.by_group.len() - usize::from(probes.is_some());
        other_groups > 1
            || self.streams > 0
            || self.connections > MAX_UNSCHEDULED
            || probes.is_some_and(|queue| queue.connections > MAX_UNSCHEDULED_PROBES)
    }
}

/// The queue of one group.
#[derive(Debug)]
struct GroupQueue {
    /// Has one permit: the group's turn.
    turn: Arc<Semaphore>,
    /// The turn of those connections that proxy a call.
    stream_turn: Arc<Semaphore>,
    connections: usize,
}

impl FairScheduler {
    /// Registers a connection of `group`, until the returned value is dropped.
    pub fn register(&self, group: Group) -> ScheduledConnection {
        let mut queues = self.0.queues();
        let turn = || Arc::new(Semaphore::new(1));
        let new = || GroupQueue { turn: turn(), stream_turn: turn(), connections: 0 };
        let queue = queues.by_group.entry(group).or_insert_with(new);
        queue.connections = queue.connections.saturating_add(1);
        let turn = Arc::clone(&queue.turn);
        queues.connections = queues.connections.saturating_add(1);
        self.0.is_scheduling.store(queues.is_scheduling(), Ordering::Relaxed);
        drop(queues);
        ScheduledConnection {
            scheduler: Arc::clone(&self.0),
            group,
            turn,
            waiting: None,
            held: None,
            is_streaming: false,
            rest: None,
        }
    }
}

impl SchedulerState {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group's turn. Always `Ok`, because the semaphore is never closed. If it were, connections would run unscheduled.
type Turn = Result<OwnedSemaphorePermit, AcquireError>;

/// A connection that makes its steps in its group's turn.
pub struct ScheduledConnection {
    scheduler: Arc<SchedulerState>,
    group: Group,
    turn: Arc<Semaphore>,
    waiting: Option<Pin<Box<dyn Future<Output = Turn> + Send>>>,
    /// The turn of the last step, until all tasks that were ready at that step have run.
    held: Option<Turn>,
    /// Whether the connection proxies a call.
    is_streaming: bool,
    /// The rest after a step of a stream; `None` before the first one.
    rest: Option<Arc<Rest>>,
}

impl ScheduledConnection {
    /// Makes a step in the group's turn. The step returns its outcome and whether it did any work. If it did, the next
    /// step of this group, be it of this connection or another, comes after all other tasks that are ready.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        step: impl FnOnce(&mut Context<'_>) -> (Poll<T>, bool),
    ) -> Poll<T> {
        if self.rest.as_ref().is_some_and(|rest| rest.goes_on(cx)) {
            return Poll::Pending;
        }
        self.held = None;
        if self.waiting.is_none() && !self.scheduler.is_scheduling.load(Ordering::Relaxed) {
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
        let (outcome, did_work) = step(cx);
        if did_work {
            self.held = Some(turn);
            if self.is_streaming {
                self.rest.get_or_insert_default().begin(cx);
            } else {
                cx.waker().wake_by_ref();
            }
        }
        outcome
    }

    /// Lets the connection take the turns of its group's streams, or those of its other connections again.
    pub fn set_streaming(&mut self, is_streaming: bool) {
        if self.is_streaming == is_streaming {
            return;
        }
        self.is_streaming = is_streaming;
        self.waiting = None;
        let mut queues = self.scheduler.queues();
        if let Some(queue) = queues.by_group.get(&self.group) {
            self.turn = Arc::clone(if is_streaming { &queue.stream_turn } else { &queue.turn });
        }
        queues.streams =
            if is_streaming { queues.streams.saturating_add(1) } else { queues.streams.saturating_sub(1) };
        self.scheduler.is_scheduling.store(queues.is_scheduling(), Ordering::Relaxed);
    }

    /// Whether the last step did work, so that the connection is woken for another.
    pub fn is_woken(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the connection has work and waits for its group's turn.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }
}

impl Drop for ScheduledConnection {
    fn drop(&mut self) {
        self.set_streaming(false);
        let mut queues = self.scheduler.queues();
        if let Some(queue) = queues.by_group.get_mut(&self.group) {
            queue.connections = queue.connections.saturating_sub(1);
            if queue.connections == 0 {
                queues.by_group.remove(&self.group);
            }
        }
        queues.connections = queues.connections.saturating_sub(1);
        self.scheduler.is_scheduling.store(queues.is_scheduling(), Ordering::Relaxed);
    }
}

/// Yields to all other ready tasks. Unlike tokio's `yield_now`, it does not make the runtime poll the kernel for
/// events.
pub async fn yield_to_ready() {
    let mut has_yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
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

    /// The uids of steps, in order, where one connection of each of `uids` is ready at once and makes two steps.
    async fn steps(uids: &[u32]) -> Vec<u32> {
        let (scheduler, steps) = (FairScheduler::default(), Arc::new(Mutex::new(Vec::new())));
        let mut connections = tokio::task::JoinSet::new();
        for uid in uids {
            let (mut scheduled, steps, uid) =
                (scheduler.register(Group::Uid(*uid)), Arc::clone(&steps), *uid);
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
    async fn the_last_to_connect_does_not_wait_for_a_thousand_of_another_uid() {
        let mut connections = vec![1; 1000];
        connections.extend([2, 2, 3]);
        let order = steps(&connections).await;
        assert_eq!(order.len(), 2006);
        let last = order.iter().rposition(|uid| *uid != 1).unwrap();
        assert!(last <= 12, "{:?}", &order[..=last]);
    }

    #[tokio::test]
    async fn a_step_without_work_takes_no_turn() {
        let scheduler = FairScheduler::default();
        let _another = scheduler.register(Group::Uid(2));
        let (mut idle, mut busy) = (scheduler.register(Group::Uid(1)), scheduler.register(Group::Uid(1)));
        std::future::poll_fn(|cx| {
            assert!(idle.poll::<()>(cx, |_| (Poll::Pending, false)).is_pending());
            assert!(busy.poll(cx, |_| (Poll::Ready(()), true)).is_ready());
            assert!(idle.poll::<()>(cx, |_| panic!("it is not its turn")).is_pending());
            drop(busy.held.take());
            idle.poll(cx, |_| (Poll::Ready(()), true))
        })
        .await;
    }

    /// The accept loop, which takes connections from the kernel's backlog, is one task in the runtime's run queue.
    #[tokio::test]
    async fn a_single_uid_with_many_connections_leaves_every_other_step_to_other_tasks() {
        let scheduler = FairScheduler::default();
        let steps = Arc::new(Mutex::new(0));
        let mut connections = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let (mut scheduled, steps) = (scheduler.register(Group::Strangers), Arc::clone(&steps));
            connections.spawn(std::future::poll_fn(move |cx| {
                scheduled.poll::<()>(cx, |cx| {
                    *steps.lock().unwrap() += 1;
                    // It always has work.
                    cx.waker().wake_by_ref();
                    (Poll::Pending, true)
                })
            }));
        }
        // In a task, because the runtime polls the future of `block_on` at any time.
        let mut accepting = tokio::task::JoinSet::new();
        accepting.spawn(async move {
            // Every connection has been in the run queue once.
            yield_to_ready().await;
            for _ in 0..10 {
                let before = *steps.lock().unwrap();
                yield_to_ready().await;
                let between = *steps.lock().unwrap() - before;
                assert!(between <= 2, "{between} steps");
            }
        });
        accepting.join_all().await;
    }

    #[test]
    fn all_uids_that_no_rule_names_are_one_group() {
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
    fn scheduling_begins_with_a_second_group_with_many_connections_or_with_many_probes() {
        let scheduler = FairScheduler::default();
        let is_scheduling = || scheduler.0.is_scheduling.load(Ordering::Relaxed);
        let many = |group, count| (0..count).map(|_| scheduler.register(group)).collect::<Vec<_>>();
        let few = many(Group::Uid(1), MAX_UNSCHEDULED - MAX_UNSCHEDULED_PROBES);
        let probes = many(Group::Probes, MAX_UNSCHEDULED_PROBES);
        assert!(!is_scheduling());
        for group in [Group::Uid(2), Group::Strangers, Group::Probes, Group::Uid(1)] {
            let one_more = scheduler.register(group);
            assert!(is_scheduling(), "{group:?}");
            drop(one_more);
            assert!(!is_scheduling(), "{group:?}");
        }
        drop((few, probes));
        assert_eq!(scheduler.0.queues().connections, 0);
    }

    #[tokio::test]
    async fn the_few_connections_of_a_single_uid_do_not_wait() {
        let scheduler = FairScheduler::default();
        let (mut one, mut other) = (scheduler.register(Group::Uid(1)), scheduler.register(Group::Uid(1)));
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
    fn groups_without_connections_are_removed() {
        let scheduler = FairScheduler::default();
        let held = scheduler.register(Group::Uid(7));
        for uid in 1000..10_000 {
            scheduler.register(Group::Uid(uid));
        }
        assert_eq!(scheduler.0.queues().by_group.len(), 1);
        assert!(Arc::ptr_eq(&held.turn, &scheduler.register(Group::Uid(7)).turn));
        drop(held);
        assert!(scheduler.0.queues().by_group.is_empty());
    }
}

//! The rest that a stream takes after each step: until all ready tasks have run and the kernel was asked for events.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use tokio::task::yield_now;

/// A rest of one task. The task may be woken meanwhile, as a provider's next frame does, and goes on resting then.
#[derive(Debug, Default)]
pub(super) struct Rest {
    is_resting: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Rest {
    /// Begins a rest, at the end of which the task of `cx` is woken.
    pub fn begin(self: &Arc<Self>, cx: &Context<'_>) {
        self.set_task(cx);
        self.is_resting.store(true, Ordering::Relaxed);
        let end = Waker::from(Arc::clone(self));
        // tokio wakes what yields after it has polled the kernel.
        if pin!(yield_now()).poll(&mut Context::from_waker(&end)).is_ready() {
            end.wake();
        }
    }

    /// Whether the rest goes on. At its end the task of `cx` is woken.
    pub fn goes_on(&self, cx: &Context<'_>) -> bool {
        let is_resting = self.is_resting.load(Ordering::Relaxed);
        if is_resting {
            self.set_task(cx);
        }
        is_resting
    }

    fn set_task(&self, cx: &Context<'_>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match task.as_mut() {
            Some(task) => task.clone_from(cx.waker()),
            None => *task = Some(cx.waker().clone()),
        }
    }
}

impl Wake for Rest {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_resting.store(false, Ordering::Relaxed);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::task::Poll;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::task::JoinSet;

    use super::*;
    use crate::listener::fairness::{FairScheduler, Group};

    /// For each of twenty requests of uid 1, how many steps its streams make until it is answered. Every stream is
    /// always woken, as by a provider's next frame.
    async fn steps_meanwhile(streams: &[Group]) -> Vec<usize> {
        let (scheduler, steps) = (FairScheduler::default(), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for group in streams {
            let (mut scheduled, steps) = (scheduler.register(*group), Arc::clone(&steps));
            scheduled.set_streaming(true);
            tasks.spawn(poll_fn(move |cx| {
                scheduled.poll::<()>(cx, |cx| {
                    steps.fetch_add(1, Ordering::Relaxed);
                    cx.waker().wake_by_ref();
                    (Poll::Pending, true)
                })
            }));
        }
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut lookups = scheduler.register(Group::Uid(1));
        tasks.spawn(poll_fn(move |cx| {
            lookups.poll::<()>(cx, |cx| {
                let mut did_work = false;
                while server.poll_read_ready(cx).is_ready() {
                    if server.try_read(&mut [0; 1]).is_ok() {
                        server.try_write(b"x").unwrap();
                        did_work = true;
                    }
                }
                (Poll::Pending, did_work)
            })
        }));
        let mut requests = JoinSet::new();
        requests.spawn(async move {
            let mut meanwhile = Vec::new();
            for _ in 0..20 {
                let before = steps.load(Ordering::Relaxed);
                client.write_all(b"x").await.unwrap();
                client.read_exact(&mut [0; 1]).await.unwrap();
                meanwhile.push(steps.load(Ordering::Relaxed) - before);
            }
            meanwhile
        });
        requests.join_next().await.unwrap().unwrap()
    }

    /// Once they are under way: at first each of them has just been woken.
    fn most(meanwhile: &[usize]) -> usize {
        *meanwhile[5..].iter().max().unwrap()
    }

    #[tokio::test]
    async fn a_request_waits_for_hardly_any_of_its_uids_two_hundred_streams() {
        let meanwhile = steps_meanwhile(&[Group::Uid(1); 200]).await;
        assert!(most(&meanwhile) <= 4, "{meanwhile:?}");
        let alone = steps_meanwhile(&[Group::Uid(1)]).await;
        assert!(most(&alone) <= 4, "{alone:?}");
    }

    #[tokio::test]
    async fn a_request_waits_for_hardly_any_of_another_uids_streams() {
        let meanwhile = steps_meanwhile(&[Group::Uid(2); 200]).await;
        assert!(most(&meanwhile) <= 4, "{meanwhile:?}");
    }

    #[tokio::test]
    async fn streams_go_on_while_there_are_always_requests() {
        let (scheduler, steps) = (FairScheduler::default(), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for is_streaming in [false, false, true] {
            let (mut scheduled, steps) = (scheduler.register(Group::Uid(1)), Arc::clone(&steps));
            scheduled.set_streaming(is_streaming);
            tasks.spawn(poll_fn(move |cx| {
                scheduled.poll(cx, |_| {
                    let made = steps.fetch_add(usize::from(is_streaming), Ordering::Relaxed);
                    (if made < 20 { Poll::Pending } else { Poll::Ready(()) }, true)
                })
            }));
        }
        tasks.join_all().await;
        assert!(steps.load(Ordering::Relaxed) > 20);
    }
}

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

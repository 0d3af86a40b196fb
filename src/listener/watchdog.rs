//! Liveness of the accept loops, for the service manager's watchdog: every loop has to respond to a check.
//!
//! The watchdog ends a daemon whose loops are stuck. A daemon under load still responds, because a check needs neither
//! a connection nor a slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Checks that all accept loops run.
#[derive(Debug)]
pub struct Watchdog {
    /// The number of the current check.
    check: watch::Sender<u64>,
    responded: Arc<Notify>,
    /// For each loop, the number of the last check that it responded to.
    responses: Vec<Arc<AtomicU64>>,
}

/// One accept loop's end of the [`Watchdog`].
#[derive(Debug)]
pub struct Heartbeat {
    check: watch::Receiver<u64>,
    responded: Arc<Notify>,
    response: Arc<AtomicU64>,
}

impl Watchdog {
    /// A watchdog over this many loops, with a heartbeat for each.
    pub fn new(loops: usize) -> (Self, Vec<Heartbeat>) {
        let (check, responded) = (watch::Sender::new(0), Arc::new(Notify::new()));
        let responses: Vec<_> = (0..loops).map(|_| Arc::default()).collect();
        let heartbeat = |response: &Arc<AtomicU64>| Heartbeat {
            check: check.subscribe(),
            responded: Arc::clone(&responded),
            response: Arc::clone(response),
        };
        let heartbeats = responses.iter().map(heartbeat).collect();
        (Self { check, responded, responses }, heartbeats)
    }

    /// Starts a check, and returns whether all loops respond within `time_limit`. One check at a time.
    pub async fn all_respond(&self, time_limit: Duration) -> bool {
        let mut current = 0;
        self.check.send_modify(|check| {
            *check = check.wrapping_add(1);
            current = *check;
        });
        let all = async {
            while self.responses.iter().any(|response| response.load(Ordering::Relaxed) != current) {
                // A response since the last look has left a permit, so this returns at once.
                self.responded.notified().await;
            }
        };
        timeout(time_limit, all).await.is_ok()
    }
}

impl Heartbeat {
    /// Waits for the next check, and responds to it. Cancel safe.
    pub async fn beat(&mut self) {
        if self.check.changed().await.is_err() {
            // The watchdog was dropped, so there are no further checks.
            return std::future::pending().await;
        }
        self.response.store(*self.check.borrow_and_update(), Ordering::Relaxed);
        self.responded.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_respond_while_every_loop_runs() {
        let (watchdog, heartbeats) = Watchdog::new(2);
        let mut running: Vec<_> = heartbeats
            .into_iter()
            .map(|mut heartbeat| {
                let mut one = tokio::task::JoinSet::new();
                one.spawn(async move {
                    loop {
                        heartbeat.beat().await;
                    }
                });
                one
            })
            .collect();
        for _ in 0..3 {
            assert!(watchdog.all_respond(Duration::from_secs(1)).await);
        }
        running.pop();
        for _ in 0..2 {
            assert!(!watchdog.all_respond(Duration::from_secs(1)).await);
        }
        assert!(Watchdog::new(0).0.all_respond(Duration::ZERO).await);
    }
}

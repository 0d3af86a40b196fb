//! Whether every listener's loop still turns: asked, it answers. For a watchdog, which has to end a daemon that is
//! stuck, and must not end one that only has a lot to do: no connection is made for it, and no place taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// The question, and who has answered it.
#[derive(Debug)]
pub struct Watchdog {
    asked: watch::Sender<u64>,
    answered: Arc<Notify>,
    answers: Vec<Arc<AtomicU64>>,
}

/// One loop's part in it.
#[derive(Debug)]
pub struct Heartbeat {
    asked: watch::Receiver<u64>,
    answered: Arc<Notify>,
    answer: Arc<AtomicU64>,
}

impl Watchdog {
    /// Of this many loops.
    pub fn of(loops: usize) -> (Self, Vec<Heartbeat>) {
        let (asked, answered) = (watch::Sender::new(0), Arc::new(Notify::new()));
        let answers: Vec<_> = (0..loops).map(|_| Arc::default()).collect();
        let heartbeat = |answer: &Arc<AtomicU64>| Heartbeat {
            asked: asked.subscribe(),
            answered: Arc::clone(&answered),
            answer: Arc::clone(answer),
        };
        let heartbeats = answers.iter().map(heartbeat).collect();
        (Self { asked, answered, answers }, heartbeats)
    }

    /// Asks, and waits until all have answered, for at most `patience`. One question at a time.
    pub async fn all_answer(&self, patience: Duration) -> bool {
        let mut question = 0;
        self.asked.send_modify(|asked| {
            *asked = asked.wrapping_add(1);
            question = *asked;
        });
        let all = async {
            while self.answers.iter().any(|answer| answer.load(Ordering::Relaxed) != question) {
                // One that comes in between has left a permit.
                self.answered.notified().await;
            }
        };
        timeout(patience, all).await.is_ok()
    }
}

impl Heartbeat {
    /// Waits for the question, and answers it. May be dropped at any time.
    pub async fn answer(&mut self) {
        if self.asked.changed().await.is_err() {
            // Nobody is left who could ask.
            return std::future::pending().await;
        }
        self.answer.store(*self.asked.borrow_and_update(), Ordering::Relaxed);
        self.answered.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_felt_while_every_loop_turns() {
        let (watchdog, heartbeats) = Watchdog::of(2);
        let mut turning: Vec<_> = heartbeats
            .into_iter()
            .map(|mut heartbeat| {
                let mut one = tokio::task::JoinSet::new();
                one.spawn(async move {
                    loop {
                        heartbeat.answer().await;
                    }
                });
                one
            })
            .collect();
        for _ in 0..3 {
            assert!(watchdog.all_answer(Duration::from_secs(1)).await);
        }
        turning.pop();
        for _ in 0..2 {
            assert!(!watchdog.all_answer(Duration::from_secs(1)).await);
        }
        assert!(Watchdog::of(0).0.all_answer(Duration::ZERO).await);
    }
}

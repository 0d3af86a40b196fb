//! Keeps the service manager told: when the daemon has started, how it is, and that it lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::api::Services;
use crate::listener::watchdog::Watchdog;
use crate::process::notify::ServiceManager;

/// For how long the start waits for the first Management token. While Auth0 cannot be reached a daemon that is up and
/// says so is worth more than one that is started over and over: callers are told why, and need not be told that it is
/// back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at how it is, where nobody wants to hear more often that it lives.
const LOOK: Duration = Duration::from_secs(10);

/// Tells for as long as it is not dropped.
pub async fn keep_told(services: Arc<Services>, watchdog: Watchdog, manager: ServiceManager) {
    let watchdog_interval = manager.watchdog_interval();
    let begun = Instant::now();
    let first = timeout(PATIENCE, services.management.obtained());
    if first.await.is_err() {
        tracing::warn!(
            "Still no Management token; the start goes on without, and lookups fail until there is one"
        );
    }
    tracing::debug!(after = ?begun.elapsed(), "Telling that the daemon has started");
    if services.is_draining() {
        return;
    }
    let mut told = services.sentence();
    manager.started(told.clone());
    let every = watchdog_interval.unwrap_or(LOOK).min(LOOK);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Then the manager waits for the end, however long loops that have ended are silent.
        if services.is_draining() {
            return;
        }
        if watchdog_interval.is_some() {
            match watchdog.all_answer(every).await {
                true => manager.alive(),
                // Said once a tick for as long as it lasts, which the manager makes short.
                false => tracing::error!(
                    "A listener's loop does not turn any more; the watchdog is left to end this"
                ),
            }
        }
        let sentence = services.sentence();
        if sentence != told {
            manager.status(sentence.clone());
            told = sentence;
        }
    }
}

//! Notifies the service manager of the daemon's start, its status, and for its watchdog.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::api::Services;
use crate::listener::watchdog::Watchdog;
use crate::process::notify::ServiceManager;

/// How long the start waits for the first Management token. If Auth0 cannot be reached, a running daemon is worth more
/// than one that is restarted again and again: clients get the reason, and need not reconnect when Auth0 is back.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval of status checks, if the watchdog does not need a shorter one.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Sends notifications until the future is dropped.
pub async fn notify(services: Arc<Services>, watchdog: Watchdog, manager: ServiceManager) {
    let watchdog_interval = manager.watchdog_interval();
    let begun = Instant::now();
    let first = timeout(START_TIMEOUT, services.management.obtained());
    if first.await.is_err() {
        tracing::warn!(
            "Still no Management token; the daemon starts without one, and lookups fail until there is one"
        );
    }
    tracing::debug!(after = ?begun.elapsed(), "Notifying the service manager that the daemon has started");
    if services.is_draining() {
        return;
    }
    let mut sent = services.sentence();
    manager.started(sent.clone());
    let every = watchdog_interval.unwrap_or(CHECK_INTERVAL).min(CHECK_INTERVAL);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // While the daemon stops, the manager waits for its end, and needs no watchdog notification.
        if services.is_draining() {
            return;
        }
        if watchdog_interval.is_some() {
            match watchdog.all_respond(every).await {
                true => manager.alive(),
                // Logged at each tick, until the manager kills the daemon.
                false => tracing::error!(
                    "A listener's accept loop is stuck; the service manager's watchdog will end the daemon"
                ),
            }
        }
        let sentence = services.sentence();
        if sentence != sent {
            manager.status(sentence.clone());
            sent = sentence;
        }
    }
}

//! Notifications to the service manager (sd_notify(3)): ready, reloading, stopping, status, and watchdog.
//!
//! Without a service manager (in a container, for example) every call is a no-op. A dedicated thread sends the
//! notifications, so that a manager that does not read delays no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

/// Capacity of the queue. Further notifications are dropped: each describes the current state, and is sent again.
const QUEUE: usize = 16;

/// The service manager, if there is one. Clones share its queue.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    /// To the thread that sends, once it is started.
    queue: Option<SyncSender<Notification>>,
    has_socket: bool,
    /// Whether the manager was notified that the daemon has started, and not yet that it stops.
    is_up: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Notification {
    Ready(String),
    Reloading,
    Stopping(String),
    Status(String),
    Alive,
}

impl ServiceManager {
    /// The service manager, if `has_socket`: it set `NOTIFY_SOCKET`. Sends nothing before
    /// [`ServiceManager::with_thread`].
    pub fn found(has_socket: bool) -> Self {
        Self { has_socket, ..Self::default() }
    }

    /// No service manager.
    pub fn none() -> Self {
        Self::default()
    }

    /// Starts the thread that sends. Call it after entering the sandbox, which then includes the thread.
    #[must_use]
    pub fn with_thread(mut self) -> Self {
        if self.has_socket {
            let (queue, notifications) = sync_channel::<Notification>(QUEUE);
            let send = move || notifications.into_iter().for_each(|notification| notification.send());
            match thread::Builder::new().name("manager".into()).spawn(send) {
                Ok(_) => self.queue = Some(queue),
                Err(cause) => tracing::warn!(%cause, "The service manager cannot be notified"),
            }
        }
        self
    }

    /// Returns whether notifications are sent.
    pub fn is_notified(&self) -> bool {
        self.queue.is_some()
    }

    /// How often to send the watchdog notification: half of the manager's timeout, after which it kills the daemon.
    /// `None` if the manager's watchdog is off.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.is_notified().then(sd_notify::watchdog_enabled).flatten().map(|timeout| timeout / 2)
    }

    /// Notifies that the daemon has started.
    pub fn started(&self, status: String) {
        self.is_up.store(true, Ordering::Relaxed);
        self.put(Notification::Ready(status));
    }

    /// Notifies that a reload begins; [`ServiceManager::reloaded`] ends it. Not sent while the daemon starts or stops,
    /// because the manager would take the end of the reload for the end of the start.
    pub fn reloading(&self) {
        if self.is_up.load(Ordering::Relaxed) {
            self.put(Notification::Reloading);
        }
    }

    /// Notifies that a reload has ended, successfully or not.
    pub fn reloaded(&self, status: String) {
        if self.is_up.load(Ordering::Relaxed) {
            self.put(Notification::Ready(status));
        }
    }

    /// Notifies that the daemon stops.
    pub fn stopping(&self, status: String) {
        self.is_up.store(false, Ordering::Relaxed);
        self.put(Notification::Stopping(status));
    }

    /// Sets the status text that `systemctl status` shows.
    pub fn status(&self, status: String) {
        self.put(Notification::Status(status));
    }

    /// Sends the watchdog notification.
    pub fn alive(&self) {
        self.put(Notification::Alive);
    }

    fn put(&self, notification: Notification) {
        if let Some(queue) = &self.queue
            && queue.try_send(notification).is_err()
        {
            tracing::debug!("The service manager does not read its notifications");
        }
    }
}

impl Notification {
    /// Sends the notification. Blocks while the manager's queue is full.
    fn send(&self) {
        let sent = match self {
            Self::Ready(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
            Self::Stopping(status) => {
                sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(status)])
            }
            Self::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
            Self::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
            Self::Reloading => match NotifyState::monotonic_usec_now() {
                // systemd requires the time from version 253 on; earlier versions ignore it.
                Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now]),
                Err(_) => sd_notify::notify(&[NotifyState::Reloading]),
            },
        };
        if let Err(cause) = sent {
            tracing::debug!(%cause, "A notification to the service manager failed");
        }
    }
}

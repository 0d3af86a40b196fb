//! What a service manager is told (sd_notify(3)): that the daemon is ready, reloads, ends, lives, and how it is.
//!
//! Without one, as in a container, nothing is told to nobody. A thread of its own does the telling: a manager that does
//! not listen must not keep callers waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

/// What may wait to be told. Beyond that it is left out: what is told is how things are, and they will be told again.
const QUEUE: usize = 16;

/// The service manager, if there is one. Clones tell the same one.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    /// To the thread that tells, once there is one.
    queue: Option<SyncSender<News>>,
    is_there: bool,
    /// It has been told that the daemon has started, and not yet that it ends.
    is_up: Arc<AtomicBool>,
}

#[derive(Debug)]
enum News {
    Ready(String),
    Reloading,
    Stopping(String),
    Status(String),
    Alive,
}

impl ServiceManager {
    /// Whoever set `NOTIFY_SOCKET`; `has_socket` says whether somebody did. Nothing is told before
    /// [`ServiceManager::listening`].
    pub fn found(has_socket: bool) -> Self {
        Self { is_there: has_socket, ..Self::default() }
    }

    /// Nobody.
    pub fn none() -> Self {
        Self::default()
    }

    /// The same, with a thread that tells. Meant for after the sandbox was entered, in which the thread is then, too.
    #[must_use]
    pub fn listening(mut self) -> Self {
        if self.is_there {
            let (queue, news) = sync_channel::<News>(QUEUE);
            let tell = move || news.into_iter().for_each(|news| news.tell());
            match thread::Builder::new().name("manager".into()).spawn(tell) {
                Ok(_) => self.queue = Some(queue),
                Err(cause) => tracing::warn!(%cause, "The service manager cannot be told anything"),
            }
        }
        self
    }

    /// Whether there is one that is told.
    pub fn is_there(&self) -> bool {
        self.queue.is_some()
    }

    /// How often it wants to hear that the daemon lives, or it ends it: half the time that it waits.
    pub fn wants_to_hear_every(&self) -> Option<Duration> {
        self.is_there().then(sd_notify::watchdog_enabled).flatten().map(|patience| patience / 2)
    }

    /// The daemon has started.
    pub fn started(&self, status: String) {
        self.is_up.store(true, Ordering::Relaxed);
        self.tell(News::Ready(status));
    }

    /// The configuration is about to be read again; [`ServiceManager::reloaded`] says that it has been. Not told while the
    /// daemon starts or ends, which would be over by that.
    pub fn reloading(&self) {
        if self.is_up.load(Ordering::Relaxed) {
            self.tell(News::Reloading);
        }
    }

    /// It has been read, whatever came of it.
    pub fn reloaded(&self, status: String) {
        if self.is_up.load(Ordering::Relaxed) {
            self.tell(News::Ready(status));
        }
    }

    /// The daemon is about to end.
    pub fn stopping(&self, status: String) {
        self.is_up.store(false, Ordering::Relaxed);
        self.tell(News::Stopping(status));
    }

    /// How it is, for whoever reads `systemctl status`.
    pub fn status(&self, status: String) {
        self.tell(News::Status(status));
    }

    /// It lives.
    pub fn alive(&self) {
        self.tell(News::Alive);
    }

    fn tell(&self, news: News) {
        if let Some(queue) = &self.queue
            && queue.try_send(news).is_err()
        {
            tracing::debug!("The service manager does not listen");
        }
    }
}

impl News {
    /// Blocks for as long as the manager's queue is full.
    fn tell(&self) {
        let told = match self {
            Self::Ready(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
            Self::Stopping(status) => {
                sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(status)])
            }
            Self::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
            Self::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
            Self::Reloading => match NotifyState::monotonic_usec_now() {
                // systemd from 253 on waits for the second, earlier ones leave it alone.
                Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now]),
                Err(_) => sd_notify::notify(&[NotifyState::Reloading]),
            },
        };
        if let Err(cause) = told {
            tracing::debug!(%cause, "The service manager cannot be told");
        }
    }
}

//! What a service manager is told (sd_notify(3)): that the daemon is ready, reloads, ends, lives, and how it is.
//!
//! Without one, as in a container, nothing is told to nobody.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Manager {
    is_there: bool,
}

impl Manager {
    /// Whoever set `NOTIFY_SOCKET`; `has_socket` says whether somebody did.
    pub fn found(has_socket: bool) -> Self {
        Self { is_there: has_socket }
    }

    /// Nobody.
    pub fn none() -> Self {
        Self { is_there: false }
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// How often it wants to hear that the daemon lives, or it ends it: half the time that it waits.
    pub fn wants_to_hear_every(&self) -> Option<Duration> {
        self.is_there.then(sd_notify::watchdog_enabled).flatten().map(|patience| patience / 2)
    }

    /// The daemon has started, or reloaded.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is about to be read again; [`Manager::ready`] says that it has been.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            // systemd from 253 on waits for the second, earlier ones leave it alone.
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// The daemon is about to end.
    pub fn stopping(&self, status: &str) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// How it is, for whoever reads `systemctl status`.
    pub fn status(&self, status: &str) {
        self.tell(&[NotifyState::Status(status)]);
    }

    /// It lives.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&self, what: &[NotifyState<'_>]) {
        if !self.is_there {
            return;
        }
        if let Err(cause) = sd_notify::notify(what) {
            tracing::debug!(%cause, "The service manager cannot be told");
        }
    }
}

//! Receives signals: SIGTERM and SIGINT end the daemon, SIGHUP asks for a reload (done in `cli::serve` and
//! `app::reload`).
//!
//! The first SIGTERM or SIGINT asks for an orderly end, the second ends the process at once. SIGXFSZ, SIGUSR1 and
//! SIGUSR2, which end a process by default, have no effect.
//!
//! Handlers are registered before anything else, so that a signal during start-up is not lost. Signals that the parent
//! blocked or ignored are received as well, although both settings are inherited across exec(2).

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::{flag, low_level};
use tokio::io::AsyncReadExt;

/// Exit code of a process that a second signal ends.
const SECOND_SIGNAL: i32 = 1;

/// Signals that would end the process without a handler. The kernel sends SIGXFSZ for a write beyond `RLIMIT_FSIZE`;
/// with a handler the write fails with `EFBIG`, as on a full disk. Scripts for log rotation send the other two.
const WITHOUT_EFFECT: [i32; 3] = [SIGXFSZ, SIGUSR1, SIGUSR2];

/// Every signal that has a handler.
const HANDLED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGXFSZ, Signal::SIGUSR1, Signal::SIGUSR2];

/// The registered signals, before a runtime exists.
#[derive(Debug)]
pub struct Signals {
    end: UnixStream,
    reload: UnixStream,
}

/// The registered signals within a tokio runtime.
#[derive(Debug)]
pub struct Received {
    end: tokio::net::UnixStream,
    reload: tokio::net::UnixStream,
}

/// The request that a signal makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalRequest {
    /// An orderly end.
    End,
    /// A reload of the configuration.
    Reload,
}

impl Signals {
    /// Registers a handler for every signal. Needs no runtime. Call it before other threads start, because they inherit
    /// the signal mask of this one.
    pub fn register() -> io::Result<Self> {
        let (end, send) = pipe()?;
        let once = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag unset, sets it, and the second finds it set.
            flag::register_conditional_shutdown(signal, SECOND_SIGNAL, Arc::clone(&once))?;
            flag::register(signal, Arc::clone(&once))?;
            low_level::pipe::register(signal, send.try_clone()?)?;
        }
        let (reload, send) = pipe()?;
        low_level::pipe::register(SIGHUP, send)?;
        for signal in WITHOUT_EFFECT {
            flag::register(signal, Arc::default())?;
        }
        // Last, because a pending signal is delivered at once.
        HANDLED.into_iter().collect::<SigSet>().thread_unblock()?;
        Ok(Self { end, reload })
    }

    /// Waits for a signal that ends the daemon, for at most `timeout`. Returns whether one came. Needs no runtime.
    pub fn end_within(&self, timeout: Duration) -> io::Result<bool> {
        self.end.set_nonblocking(false)?;
        self.end.set_read_timeout(Some(timeout))?;
        let read = loop {
            match (&self.end).read(&mut [0]) {
                // Interrupted by the awaited signal, or by another one.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.end.set_nonblocking(true)?;
        match read {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Moves the signals into the runtime. Signals that came earlier are not lost.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn receive(self) -> io::Result<Received> {
        let from_std = tokio::net::UnixStream::from_std;
        Ok(Received { end: from_std(self.end)?, reload: from_std(self.reload)? })
    }

    /// Waits for a signal that ends the daemon; one that came earlier counts.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn first(self) -> io::Result<()> {
        self.receive()?.end.read_u8().await.map(|_| ())
    }
}

impl Received {
    /// Waits for the next signal. The future may be dropped at any time.
    pub async fn next(&mut self) -> io::Result<SignalRequest> {
        // Several signals of a kind that come together are one request.
        let (mut end, mut reload) = ([0; 64], [0; 64]);
        let (request, read) = tokio::select! {
            biased;
            read = self.end.read(&mut end) => (SignalRequest::End, read?),
            read = self.reload.read(&mut reload) => (SignalRequest::Reload, read?),
        };
        match read {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(request),
        }
    }
}

fn pipe() -> io::Result<(UnixStream, UnixStream)> {
    let (receive, send) = UnixStream::pair()?;
    receive.set_nonblocking(true)?;
    Ok((receive, send))
}

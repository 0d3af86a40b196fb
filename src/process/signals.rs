//! SIGTERM and SIGINT: the first asks for an orderly end, the second ends the process at once. SIGHUP asks for the
//! configuration to be read again. SIGXFSZ, SIGUSR1 and SIGUSR2, which end a process by default, change nothing.
//!
//! Registered before anything else happens, so that a signal during start-up is not lost. What the parent blocked or
//! ignored is received all the same: both are inherited across exec(2).

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::{flag, low_level};
use tokio::io::AsyncReadExt;

/// The exit code when a second signal does not wait for the orderly end.
const IMPATIENT: i32 = 1;

/// Without a handler each of these ends the process. The kernel sends SIGXFSZ with a write beyond `RLIMIT_FSIZE`, which
/// then fails with `EFBIG` as on a full disk; the other two come from scripts that rotate another program's log.
const WITHOUT_EFFECT: [i32; 3] = [SIGXFSZ, SIGUSR1, SIGUSR2];

/// Every signal that has a handler.
const HANDLED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGXFSZ, Signal::SIGUSR1, Signal::SIGUSR2];

/// The signals that the daemon heeds.
#[derive(Debug)]
pub struct Signals {
    end: UnixStream,
    reload: UnixStream,
}

/// The same within a runtime.
#[derive(Debug)]
pub struct Received {
    end: tokio::net::UnixStream,
    reload: tokio::net::UnixStream,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupOptions {
    /// An orderly end.
    End,
    /// The configuration to be read again.
    Reload,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT, SIGHUP, and those that are to have no effect. Needs no runtime. Meant for
    /// before there are other threads, which inherit what this one has unblocked.
    pub fn register() -> io::Result<Self> {
        let (end, send) = pipe()?;
        let once = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag unset, sets it, and the second finds it set.
            flag::register_conditional_shutdown(signal, IMPATIENT, Arc::clone(&once))?;
            flag::register(signal, Arc::clone(&once))?;
            low_level::pipe::register(signal, send.try_clone()?)?;
        }
        let (reload, send) = pipe()?;
        low_level::pipe::register(SIGHUP, send)?;
        for signal in WITHOUT_EFFECT {
            flag::register(signal, Arc::default())?;
        }
        // Last, because one that is pending is delivered at once.
        HANDLED.into_iter().collect::<SigSet>().thread_unblock()?;
        Ok(Self { end, reload })
    }

    /// Waits for a signal that ends the daemon, at most for `patience`, and says whether one came. Needs no runtime.
    pub fn end_within(&self, patience: Duration) -> io::Result<bool> {
        self.end.set_nonblocking(false)?;
        self.end.set_read_timeout(Some(patience))?;
        let read = loop {
            match (&self.end).read(&mut [0]) {
                // By the very signal, or by one that ends nothing.
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

    /// Ready to be waited for; those that have come are not lost.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn receive(self) -> io::Result<Received> {
        let from_std = tokio::net::UnixStream::from_std;
        Ok(Received { end: from_std(self.end)?, reload: from_std(self.reload)? })
    }

    /// Waits for the first that ends the daemon, also if it came before this was called.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn first(self) -> io::Result<()> {
        self.receive()?.end.read_u8().await.map(|_| ())
    }
}

impl Received {
    /// Waits for the next one. May be dropped at any time.
    pub async fn next(&mut self) -> io::Result<LookupOptions> {
        // Several that come together are one options.
        let (mut end, mut reload) = ([0; 64], [0; 64]);
        let (options, read) = tokio::select! {
            biased;
            read = self.end.read(&mut end) => (LookupOptions::End, read?),
            read = self.reload.read(&mut reload) => (LookupOptions::Reload, read?),
        };
        match read {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(options),
        }
    }
}

fn pipe() -> io::Result<(UnixStream, UnixStream)> {
    let (came, send) = UnixStream::pair()?;
    came.set_nonblocking(true)?;
    Ok((came, send))
}

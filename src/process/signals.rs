//! SIGTERM and SIGINT: the first asks for an orderly end, the second ends the process at once.
//!
//! Registered before anything else happens, so that a signal during start-up is not lost.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use tokio::io::AsyncReadExt;

/// The exit code when a second signal does not wait for the orderly end.
const IMPATIENT: i32 = 1;

/// The signals that end the daemon.
#[derive(Debug)]
pub struct Signals {
    came: UnixStream,
}

impl Signals {
    /// Takes SIGTERM and SIGINT over. Needs no runtime.
    pub fn register() -> io::Result<Self> {
        let (came, send) = UnixStream::pair()?;
        came.set_nonblocking(true)?;
        let once = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag unset, sets it, and the second finds it set.
            flag::register_conditional_shutdown(signal, IMPATIENT, Arc::clone(&once))?;
            flag::register(signal, Arc::clone(&once))?;
            low_level::pipe::register(signal, send.try_clone()?)?;
        }
        Ok(Self { came })
    }

    /// Waits for the first of them, also if it came before this was called.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn first(self) -> io::Result<()> {
        let mut came = tokio::net::UnixStream::from_std(self.came)?;
        came.read_u8().await.map(|_| ())
    }
}

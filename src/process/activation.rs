//! Sockets that a service manager has made and hands over (sd_listen_fds(3)): it keeps them while the daemon is
//! restarted, so that whoever connects meanwhile waits in their queue.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use listenfd::ListenFd;

/// A socket, and the path at which callers find it.
#[derive(Debug)]
pub struct Passed {
    /// Its path.
    pub path: PathBuf,
    /// The socket itself, which listens already.
    pub listener: UnixListener,
}

/// Why what was handed over cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// Only callers whom the kernel names can be served.
    #[error("socket {0} of those that the service manager passed is no Unix stream socket: {1}")]
    Kind(usize, io::Error),
    /// Callers find a socket, and the configuration names it, by its path.
    #[error(
        "socket {0} of those that the service manager passed has no path: use ListenStream=/an/absolute/path"
    )]
    NoPath(usize),
}

/// Everything that was handed over to this process; nothing if it was not started that way. Meant for before there are
/// threads.
pub fn take() -> Result<Vec<Passed>, ActivationError> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for number in 0..passed.len() {
        let taken =
            passed.take_unix_listener(number).map_err(|cause| ActivationError::Kind(number, cause))?;
        let Some(listener) = taken else { continue };
        let address = listener.local_addr().map_err(|cause| ActivationError::Kind(number, cause))?;
        let path = address.as_pathname().ok_or(ActivationError::NoPath(number))?.to_owned();
        sockets.push(Passed { path, listener });
    }
    Ok(sockets)
}

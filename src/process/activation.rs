//! Socket activation (sd_listen_fds(3)): a service manager makes the sockets and passes them. It keeps them while the
//! daemon is restarted, so that clients that connect meanwhile wait in their queue.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use listenfd::ListenFd;

/// A passed socket, and the path at which clients find it.
#[derive(Debug)]
pub struct Passed {
    /// Path of the socket.
    pub path: PathBuf,
    /// The socket, which already listens.
    pub listener: UnixListener,
}

/// Why a passed socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The socket is of another kind. Only a Unix stream socket identifies its clients by uid.
    #[error("socket {0} of those that the service manager passed is not a Unix stream socket: {1}")]
    Kind(usize, io::Error),
    /// The socket has no path, by which clients find it and the configuration names it.
    #[error(
        "socket {0} of those that the service manager passed has no path: use ListenStream=/an/absolute/path"
    )]
    NoPath(usize),
}

/// Takes the sockets that the service manager passed; none without socket activation. Call it before threads start.
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

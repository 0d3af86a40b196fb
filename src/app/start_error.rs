//! Why the daemon does not start.

use std::path::PathBuf;

use crate::admin::AdminError;
use crate::listener::socket::SocketError;
use crate::secret::NoRandomness;
use crate::state::StateError;
use crate::telemetry::audit::OutputError;
use crate::transport::TransportError;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket cannot be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The service manager passed a socket that no listener names.
    #[error("the service manager has passed the socket {}, and no [[listener]] has that path: set one's path to it", .0.display())]
    Unclaimed(PathBuf),
    /// The listener for probes and metrics cannot be made.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A bound socket cannot be served.
    #[error("the socket cannot be served: {0}")]
    Listen(#[from] std::io::Error),
    /// The file of `[state]` cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A transport cannot be made.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The audit log's output cannot be used.
    #[error(transparent)]
    Audit(#[from] OutputError),
    /// The keys of fingerprints and of users' names cannot be drawn.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

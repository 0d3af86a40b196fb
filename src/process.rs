//! The operating system's interfaces to the process: signals, the service manager, the sandbox, limits, file watches.

pub mod activation;
pub mod hardening;
pub mod limits;
pub mod notify;
pub mod panics;
pub mod path_resolution;
pub mod sandbox;
pub mod signals;
pub mod watch;

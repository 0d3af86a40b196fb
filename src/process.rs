//! The process around the daemon: signals, the service manager, and what it keeps to itself.

pub mod activation;
pub mod hardening;
pub mod limits;
pub mod links;
pub mod notify;
pub mod panics;
pub mod sandbox;
pub mod signals;
pub mod watch;

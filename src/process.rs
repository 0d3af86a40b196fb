//! The process around the daemon: signals, and what it keeps to itself.

pub mod hardening;
pub mod panics;
pub mod sandbox;
pub mod signals;

//! The process around the daemon: signals.

pub mod signals;

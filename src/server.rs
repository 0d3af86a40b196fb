//! Speaks to callers over Unix sockets.
pub mod answers;

//! The state file itself: who may use it, with which keys, and what becomes of it under the daemon.

//! Guarantee 7, who may ask: real callers under real uids and gids, against the real binary.
//!
//! `callers` is what the others stand on. Everything here starts as root, for only root can be somebody else.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests stop at the first surprise, and use the part of the support that they need"
)]

#[path = "../support"]
mod support {
    pub mod deployment;
    pub mod process;
    pub mod world;
}

mod callers;
mod kernel;
mod requests;
mod room;
mod rules;
mod sockets;
mod table;

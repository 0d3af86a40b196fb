//! Guarantee 7, who may ask: real clients under real uids and gids, against the real binary.
//!
//! `callers` is shared by the others. These tests start as root, because only root can take another uid.

mod callers;
mod calls;
mod kernel;
mod requests;
mod room;
mod rules;
mod sockets;
mod table;

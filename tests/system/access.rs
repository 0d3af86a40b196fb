//! Guarantee 7, who may ask: real callers under real uids and gids, against the real binary.
//!
//! `callers` is what the others stand on. Everything here starts as root, for only root can be somebody else.

mod callers;
mod kernel;
mod requests;
mod room;
mod rules;
mod sockets;
mod table;

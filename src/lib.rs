//! cloakroom: the map of the crate.
pub mod clock;
pub mod config;
pub mod domain;
pub mod secret;
pub mod server;
pub mod task;

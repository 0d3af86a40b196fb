//! cloakroom: the map of the crate.
pub mod app;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod domain;
pub mod flight;
pub mod management;
pub mod process;
pub mod secret;
pub mod server;
pub mod task;
pub mod telemetry;
pub mod upstream;

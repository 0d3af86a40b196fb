//! What runs in the test's own process: parts of the library, and whole daemons that `app::start` starts, most of them
//! in virtual time.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests stop at the first surprise"
)]

mod support {
    #[path = "../../support/audit_lines.rs"]
    pub mod audit_lines;
    #[path = "../../support/configuration.rs"]
    pub mod configuration;
    #[path = "../../support/exchange.rs"]
    pub mod exchange;
    pub mod futures;
    #[path = "../../support/in_memory.rs"]
    pub mod in_memory;
    pub mod log;
    #[path = "../../support/providers.rs"]
    pub mod providers;
    #[path = "../../support/required.rs"]
    pub mod required;
    pub mod world;
}

mod api;
mod audit;
mod caching;
mod certificates;
mod clients;
mod config;
mod credentials;
mod edge;
mod fairness;
mod identities;
mod interop;
mod management_api;
mod matrix;
mod me;
mod outage;
mod panics;
mod properties;
mod providers;
mod proxy;
mod reload;
mod renewal;
mod state;
mod tenant;
mod tokens;
mod vault;

//! What runs the real binary: as a daemon, and as the commands that talk to one.

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
    #[path = "../../support/api_calls.rs"]
    pub mod api_calls;
    #[path = "../../support/audit_lines.rs"]
    pub mod audit_lines;
    #[path = "../../support/caller.rs"]
    pub mod caller;
    pub mod command;
    #[path = "../../support/configuration.rs"]
    pub mod configuration;
    #[path = "../../support/deployment.rs"]
    pub mod deployment;
    pub mod memory;
    #[path = "../../support/process.rs"]
    pub mod process;
    pub mod renewing;
    #[path = "../../support/required.rs"]
    pub mod required;
    pub mod standin;
}

mod access;
mod audit;
mod calls;
mod canary;
mod check;
mod cli;
mod clock;
mod cmd;
mod commands;
mod demo;
mod faults;
mod forgotten;
mod hardening;
mod keys;
mod lifecycle;
mod limits;
mod log;
mod manager;
mod readme;
mod reload;
mod renewal;
mod start;
mod state;
mod user_tokens;

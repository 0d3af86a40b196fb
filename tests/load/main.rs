//! The real binary under load, and under callers that abuse it. What is timed here is compared with a calm run, so
//! nothing else runs beside it: each test waits for its turn.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests stop at the first surprise, and these read the clock and the environment"
)]

#[path = "../support"]
mod support {
    #[allow(dead_code, reason = "other tests use the rest")]
    pub mod api_calls;
    #[allow(dead_code, reason = "other tests use the rest")]
    pub mod caller;
    pub mod configuration;
    pub mod deployment;
    pub mod process;
}

mod abuse;
mod answers;
mod audit;
mod calls;
mod crowd;
mod descriptors;
mod hostile;
mod memory;
mod soak;
mod stage;
mod streams;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test runs, and lets none begin until this is dropped.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed measures nothing any more.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

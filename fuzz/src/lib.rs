//! What the fuzz targets do with their bytes. Each is a function that takes any bytes and panics if something does
//! not hold; `fuzz_targets/` only hands them to libFuzzer. README.md says how an input is written in each.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "to stop at the first surprise is what a fuzz target is for"
)]

pub mod config;
mod daemon;
pub mod discovery;
mod http;
pub mod jwks;
pub mod pattern;
pub mod provider;
pub mod proxy;
pub mod request;
pub mod state_record;
pub mod target;
pub mod upstream;
pub mod user_id;
pub mod user_token;
pub mod vault;
pub mod verdict;

/// Whether `needle` stands somewhere in `bytes`. Not by comparing slices: libFuzzer watches those, and would learn from
/// them what it is not to know.
fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && memchr::memmem::find(bytes, needle).is_some()
}

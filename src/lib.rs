//! cloakroom: a daemon that keeps an Auth0 Management API token fresh, caches the access tokens that users' identity
//! providers issued, and answers lookups over a Unix socket.
//!
//! README.md is for operators, `docs/internals/architecture.md` for engineers who change the crate. This is the map.
//!
//! | module | what it is |
//! |---|---|
//! | [`domain`] | the pure core: users, identities, freshness, rights, what can go wrong |
//! | [`secret`] | text that cannot be printed, and names for it that tell nothing |
//! | [`clock`] | the only reader of time |
//! | [`config`] | a file and the environment in; a checked configuration or every problem out |
//! | [`telemetry`] | log lines, the audit log, and the numbers behind `status` |
//! | [`task`] | the named spawn |
//! | [`json`] | objects, and nothing else in their place |
//! | [`flight`] | one fetch at a time, however many wait for it |
//! | [`cache`] | users' entries: who is asked, and when |
//! | [`management`] | keeps the Management token |
//! | [`user_token`] | whose session it is: verifies end users' own JWTs |
//! | [`upstream`] | speaks to Auth0 |
//! | [`server`] | speaks to callers |
//! | [`process`] | signals, and what the process keeps to itself |
//! | [`demo`] | the simulated tenant behind `cloakroom demo` and the tests |
//! | [`app`] | the composition root: [`app::start`] serves production, the demo and the tests |
//! | [`cli`] | the command line; `main` only turns its result into an exit code |
//!
//! # Invariants
//!
//! - `domain` waits for nothing, reads no clock and no environment, does no I/O and logs nothing: `now` is an argument.
//! - Only `clock` reads the time, and only `main` the environment.
//! - `cache`, `management` and `user_token` own the traits they ask through, [`cache::ProfileSource`],
//!   [`management::GrantSource`] and [`user_token::KeySource`]; `upstream` implements all three. `server` knows nothing
//!   of Auth0, `upstream` nothing of sockets.
//! - A token is served only while both clocks say that it is alive ([`domain::freshness`]).
//! - A fetch runs in a task of its own; a caller that leaves aborts nothing ([`flight`]).
//! - A secret is a [`secret::Secret`] from the moment it is read, and [`secret::Secret::expose`] is its one door.
//! - Texts of errors are made of our own configuration and a fixed set of causes, never of what a peer sent
//!   ([`domain::error`]); `server/reply.rs` alone chooses status codes.
//! - There is no plain-text way to Auth0, not even in tests.
//! - No code but test modules knows whether it is being tested.
//!
//! `tests/tidy/architecture.rs` holds the crate to those that can be read off its text.

pub mod admin;
pub mod api;
pub mod app;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod fake_auth0;
pub mod flight;
pub mod json;
pub mod listener;
pub mod management;
pub mod process;
pub mod secret;
pub mod task;
pub mod telemetry;
pub mod upstream;
pub mod user_token;

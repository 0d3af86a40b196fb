//! cloakroom: a daemon that keeps an Auth0 Management API token valid, caches the access tokens that users' identity
//! providers issued, and answers lookups over a Unix socket.
//!
//! README.md is for operators, `docs/internals/architecture.md` for engineers who change the crate. The modules:
//!
//! | module | what it is |
//! |---|---|
//! | [`domain`] | the pure core: users, identities, freshness, access rules, errors |
//! | [`secret`] | secret texts, and keyed hashes that identify them |
//! | [`signing`] | the application's RSA key, and the JWTs that it signs |
//! | [`clock`] | reads the system's clocks, or simulates them |
//! | [`config`] | reads a file and the environment into a checked configuration, or reports every problem |
//! | [`telemetry`] | log lines, the audit log, and the numbers of `status` |
//! | [`task`] | starts named tasks |
//! | [`json`] | reads JSON objects, and rejects arrays in their place |
//! | [`flight`] | one fetch per key at a time, shared by all who wait for it |
//! | [`cache`] | users' entries: when the tenant is asked, and what is served |
//! | [`management`] | keeps the Management token valid |
//! | [`user_token`] | verifies end users' own JWTs |
//! | [`transport`] | one HTTPS request and its answer |
//! | [`state`] | refresh tokens that rotate: redeemed in a safe order, and stored |
//! | [`upstream`] | the client of Auth0 |
//! | [`providers`] | the client of identity providers: redeems refresh tokens |
//! | [`sources`] | which source answers for an identity, and in which order |
//! | [`api`] | the HTTP interface |
//! | [`listener`] | connections over Unix sockets |
//! | [`admin`] | the TCP listener for probes and metrics |
//! | [`process`] | signals, the service manager, and hardening of the process |
//! | [`fake_auth0`] | the simulated tenant of `cloakroom demo` and the tests |
//! | [`app`] | the composition root: [`app::start`] serves production, the demo and the tests |
//! | [`cli`] | the command line; `main` turns its result into an exit code |
//!
//! # Invariants
//!
//! - `domain` does not wait, read a clock or the environment, do I/O, or log: `now` is an argument.
//! - Only `clock` reads the system's clocks; timeouts use tokio's `Instant`. Only `main` reads the environment.
//! - `cache`, `management` and `user_token` define the traits through which they ask the tenant:
//!   [`cache::ProfileSource`], [`management::GrantSource`] and [`user_token::KeySource`]. `upstream` implements all
//!   three. `api` and `listener` know nothing of Auth0, `upstream` nothing of Unix sockets.
//! - A token is served only while it is valid by both clocks ([`domain::freshness`]).
//! - A fetch runs in a task of its own; a caller that disconnects cancels nothing ([`flight`]).
//! - A secret is a [`secret::Secret`] from the moment it is read, and [`secret::Secret::expose`] is the only way to its
//!   text.
//! - Texts of errors are built from the daemon's own configuration and a fixed set of causes, never from what a peer
//!   sent ([`domain::error`]). `api/error/table.rs` states the HTTP status of each error; `api/error.rs` and
//!   `api/error/lookups.rs` choose the row.
//! - Requests to Auth0 always use TLS, also in tests.
//! - Nothing depends on `cfg(test)` except test modules.
//!
//! `tests/tidy/architecture.rs` checks those that can be checked in the source text.

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
pub mod providers;
pub mod secret;
pub mod signing;
pub mod sources;
pub mod state;
pub mod task;
pub mod telemetry;
pub mod transport;
pub mod upstream;
pub mod user_token;

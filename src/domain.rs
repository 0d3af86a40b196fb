//! The pure core: users, identities, tokens, freshness, who may ask, and what can go wrong.
//!
//! Nothing here waits, reads a clock, does I/O or logs: `now` is an argument. That is why every rule of this
//! program that concerns time can be tested to the millisecond, and why this directory can be read alone.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod claims;
pub mod error;
pub mod freshness;
pub mod identity;
pub mod invisible;
pub mod lost;
pub mod policy;
pub mod priority;
pub mod retry;
pub mod span;
pub mod token_bucket;
pub mod user;

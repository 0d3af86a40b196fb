//! The pure core: users, identities, tokens, freshness, access rules, and errors.
//!
//! Nothing here waits, reads a clock, does I/O or logs: `now` is an argument. So every rule about time can be tested to
//! the millisecond, and this directory can be read alone.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod claims;
pub mod duration_text;
pub mod error;
pub mod fair_queue;
pub mod freshness;
pub mod identity;
pub mod invisible_characters;
pub mod lost_time;
pub mod policy;
pub mod priority;
pub mod provider;
pub mod redemption;
pub mod retry;
pub mod scope;
pub mod source;
pub mod spacing;
pub mod target;
pub mod token_bucket;
pub mod user;
pub mod user_writes;
pub mod verdict;

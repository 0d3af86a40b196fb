//! The client of Auth0, the only module that knows it: Management tokens for `management`, profiles for `cache` and
//! keys for `user_token`.

pub mod budget;
mod client;
mod clock_skew;
pub mod credentials;
mod fair_queue;
mod jwks;
mod lenient;
pub mod pace;
mod profiles;
pub mod rate_limit_headers;
mod sending;
pub mod token_claims;
mod unreadable;
pub mod wire;

pub use client::{Auth0, Parts};
pub use jwks::issuers;
pub use profiles::Profiles;

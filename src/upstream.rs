//! The client of Auth0, the only module that knows it: Management tokens for `management`, profiles for `cache` and
//! keys for `user_token`.

mod attempts;
mod body_reading;
pub mod budget;
mod client;
mod clock_skew;
pub mod connect;
pub mod credentials;
mod descriptor_shortage;
mod fair_queue;
mod jwks;
mod lenient;
mod no_proxy;
pub mod pace;
mod profiles;
pub mod read_bounds;
pub mod resolver;
pub mod response;
mod sending;
pub mod tcp;
pub mod tls;
pub mod transport;
mod unreadable;
pub mod wire;
pub mod zeroize_io;

pub use client::{Auth0, Parts};
pub use jwks::issuers;
pub use profiles::Profiles;

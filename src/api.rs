//! The HTTP interface: its routes, the rights that they need, and their answers. Uses the cache and the Management
//! token's keeper. `listener` accepts the connections, `upstream` asks Auth0.

mod admission;
pub(crate) mod audit;
pub mod auth0_error;
pub mod error;
mod exchange;
pub mod exposition;
mod handlers;
mod hints;
pub mod metrics;
pub mod params;
pub(crate) mod peer;
pub mod proxy;
mod rate_limit;
pub(crate) mod request_counters;
mod request_id;
mod request_limits;
pub mod response;
pub mod route;
pub(crate) mod service;
pub(crate) mod state;
mod status;
pub(crate) mod streams;
pub mod token_json;
mod trace;
pub mod types;

pub use peer::ListenerTerms;
pub use request_counters::RequestCounters;
pub use state::{ListenerInfo, Reloading, ServiceParts, Services, ShutdownPhase};

//! The client of Auth0, the only module that knows it: Management tokens for `management`, profiles for `cache`, keys for
//! `user_token`, and tokens of Token Vault.

use std::sync::Arc;

use crate::config::Tenant;
use crate::transport::address::Reach;
use crate::transport::streaming::{StreamingTransport, build_streaming};
use crate::transport::{self, Transport, TransportError, TransportSettings};

mod attempts;
pub mod budget;
mod client;
mod clock_skew;
pub mod credentials;
pub mod discovery;
mod grants;
mod jwks;
mod management_api;
pub mod pace;
mod profiles;
pub mod rate_limit_headers;
mod sending;
pub mod token_claims;
mod token_endpoint;
pub mod vault;
pub mod wire;

pub use client::{Auth0, Parts};
pub use jwks::issuers;
pub use management_api::ManagementApi;
pub use profiles::Profiles;

/// Builds the transport that `[tenant]` describes.
///
/// # Errors
/// The certificate authorities or the proxy's address cannot be used.
pub fn transport_to(tenant: &Tenant) -> Result<Arc<dyn Transport>, TransportError> {
    transport::build(&settings_of(tenant))
}

/// Builds the streaming transport that `[tenant]` describes, for clients' own calls of the Management API. It keeps up to
/// `most_idle` idle connections.
///
/// # Errors
/// The certificate authorities or the proxy's address cannot be used.
pub fn streams_to(tenant: &Tenant, most_idle: usize) -> Result<Arc<dyn StreamingTransport>, TransportError> {
    build_streaming(&settings_of(tenant), Reach::Any, most_idle)
}

fn settings_of(tenant: &Tenant) -> TransportSettings<'_> {
    TransportSettings {
        table: "tenant",
        extra_roots: &tenant.extra_roots,
        proxy: &tenant.proxy,
        is_absolute: tenant.is_absolute,
        connect_timeout: tenant.connect_timeout,
        request_timeout: tenant.request_timeout,
    }
}

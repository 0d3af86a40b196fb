//! The transports of a daemon: to Auth0, and to identity providers.

use std::sync::Arc;

use crate::config::{Config, Connection, Providers};
use crate::transport::{self, Transport, TransportError, TransportSettings};
use crate::upstream;

/// The transports of a daemon.
#[derive(Clone)]
pub struct Transports {
    /// To Auth0.
    pub auth0: Arc<dyn Transport>,
    /// To identity providers.
    pub providers: Arc<dyn Transport>,
}

impl Transports {
    /// The production transports for `config`. Reads the platform's certificate authorities; those of `[providers]` only
    /// if a connection has a provider.
    ///
    /// # Errors
    /// Certificate authorities or a proxy cannot be used.
    pub fn build(config: &Config) -> Result<Self, TransportError> {
        let auth0 = upstream::transport_to(&config.tenant)?;
        let reaches_providers = config.connections.iter().any(reaches_a_provider);
        let providers = if reaches_providers { to_providers(&config.providers)? } else { Arc::clone(&auth0) };
        Ok(Self { auth0, providers })
    }

    /// One transport for everything.
    pub fn only(transport: Arc<dyn Transport>) -> Self {
        Self { auth0: Arc::clone(&transport), providers: transport }
    }
}

fn reaches_a_provider(connection: &Connection) -> bool {
    connection.refresh.is_some()
}

fn to_providers(settings: &Providers) -> Result<Arc<dyn Transport>, TransportError> {
    transport::build(&TransportSettings {
        table: "providers",
        extra_roots: &settings.extra_roots,
        proxy: &settings.proxy,
        is_absolute: false,
        connect_timeout: settings.connect_timeout,
        request_timeout: settings.request_timeout,
    })
}

//! The transports of a daemon: to Auth0, and to identity providers.

use std::sync::Arc;

use crate::config::{Config, Connection, Providers};
use crate::process::limits;
use crate::transport::address::Reach;
use crate::transport::streaming::{MOST_IDLE, StreamingTransport, build_streaming};
use crate::transport::{self, Transport, TransportError, TransportSettings};
use crate::upstream;

use super::descriptor_limits::Descriptors;

/// The transports of a daemon.
#[derive(Clone)]
pub struct Transports {
    /// To Auth0.
    pub auth0: Arc<dyn Transport>,
    /// To Auth0, for clients' own calls of the Management API; `None` without `[management_api]`.
    pub management_api: Option<Arc<dyn StreamingTransport>>,
    /// To identity providers.
    pub providers: Arc<dyn Transport>,
    /// To providers' APIs, for clients' calls; `None` without a `[[proxy]]`.
    pub apis: Option<Arc<dyn StreamingTransport>>,
}

impl Transports {
    /// The production transports for `config`. Reads the platform's certificate authorities; those of `[providers]` only
    /// if a connection has a provider. Idle connections of calls are within the process's limit of descriptors.
    ///
    /// # Errors
    /// Certificate authorities or a proxy cannot be used.
    pub fn build(config: &Config) -> Result<Self, TransportError> {
        let auth0 = upstream::transport_to(&config.tenant)?;
        let reaches_providers = config.connections.iter().any(reaches_a_provider);
        let providers = if reaches_providers { to_providers(&config.providers)? } else { Arc::clone(&auth0) };
        let most_idle =
            limits::descriptors().map_or(MOST_IDLE, |limit| Descriptors::within(limit, config).idle_per_host);
        let apis = (!config.proxied_apis.is_empty()).then(|| to_apis(config, most_idle)).transpose()?;
        let has_calls = config.management_api.is_some();
        let management_api =
            has_calls.then(|| upstream::streams_to(&config.tenant, most_idle)).transpose()?;
        Ok(Self { auth0, management_api, providers, apis })
    }

    /// One transport for everything.
    pub fn only(transport: Arc<dyn Transport>) -> Self {
        Self { auth0: Arc::clone(&transport), management_api: None, providers: transport, apis: None }
    }
}

fn reaches_a_provider(connection: &Connection) -> bool {
    connection.refresh.is_some()
}

fn to_providers(settings: &Providers) -> Result<Arc<dyn Transport>, TransportError> {
    transport::build(&settings_of(settings))
}

fn to_apis(config: &Config, most_idle: usize) -> Result<Arc<dyn StreamingTransport>, TransportError> {
    let private = config.proxied_apis.iter().filter(|api| api.allow_private);
    let except = private.map(|api| Arc::clone(&api.authority)).collect();
    build_streaming(&settings_of(&config.providers), Reach::Public { except }, most_idle)
}

fn settings_of(settings: &Providers) -> TransportSettings<'_> {
    TransportSettings {
        table: "providers",
        extra_roots: &settings.extra_roots,
        proxy: &settings.proxy,
        is_absolute: false,
        connect_timeout: settings.connect_timeout,
        request_timeout: settings.request_timeout,
    }
}

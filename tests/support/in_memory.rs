//! A daemon and its tenant joined in memory, so that tokio's paused time governs both.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloakroom::app::transports::Transports;
use cloakroom::app::{self, Deps, Running};
use cloakroom::clock::Clock;
use cloakroom::config::{self, AuditEvents, Config, Env, Loaded};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::fake_auth0::{PeerCertificate, Tenant, TenantOptions};
use cloakroom::process::notify::ServiceManager;
use cloakroom::signing::ClientCertificate;
use cloakroom::transport::{Sending, Transport};
use http_body_util::Full;
use hyper::Request;
use tempfile::TempDir;

use super::configuration::configuration;
use super::exchange::exchange;

/// When simulated time begins.
pub const START: &str = "2026-11-22T10:00:00Z";

/// A tenant, and the clocks of the daemon and of the tenant: what is done to one does not move the other.
pub fn tenant(options: TenantOptions) -> (Tenant, [Clock; 2]) {
    let start = Timestamp::parse(START).unwrap();
    let clocks = [Clock::simulated(start), Clock::simulated(start)];
    (Tenant::new(clocks[1].clone(), options).unwrap(), clocks)
}

/// Starts a daemon in front of `tenant`.
pub async fn start(config: &Config, tenant: &Tenant, clock: &Clock) -> Running {
    let transports = Transports::only(InMemory::to(tenant, config));
    start_through(config, transports, clock).await
}

/// Starts a daemon that reaches Auth0 and providers through these transports.
pub async fn start_through(config: &Config, transports: Transports, clock: &Clock) -> Running {
    let deps =
        Deps { clock: clock.clone(), transports, seed: 7, source: None, manager: ServiceManager::none() };
    app::start(config, deps).await.unwrap()
}

/// A configuration for `tenant` at `domain`, with its files in a directory of its own.
pub fn configure(domain: &str, tenant: &Tenant, ca_pem: Option<&str>, settings: &str) -> (TempDir, Config) {
    let directory = tempfile::tempdir().unwrap();
    let config = configure_in(&directory, domain, tenant, ca_pem, settings);
    (directory, config)
}

/// The same with its files in `directory`.
pub fn configure_in(
    directory: &TempDir,
    domain: &str,
    tenant: &Tenant,
    ca_pem: Option<&str>,
    settings: &str,
) -> Config {
    let text = configuration(domain, tenant, ca_pem, directory, settings);
    let loaded =
        config::parse("test.toml", &text, &Env::default()).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let quiet = if settings.contains("[audit]") { loaded } else { quiet(loaded) };
    quiet.config
}

/// The audit log's default is this process's standard output, which the tests' results are for.
pub fn quiet(mut loaded: Loaded) -> Loaded {
    loaded.config.audit.events = AuditEvents::None;
    loaded
}

/// Carries requests to the tenant without a socket, and acts on what would have happened to its answers.
pub struct InMemory {
    tenant: Tenant,
    timeout: Duration,
    /// What is presented to a host that asks for it: one whose name begins with `mtls.`.
    certificate: Option<PeerCertificate>,
}

impl InMemory {
    pub fn to(tenant: &Tenant, config: &Config) -> Arc<Self> {
        Arc::new(Self { tenant: tenant.clone(), timeout: config.tenant.request_timeout, certificate: None })
    }
}

impl Transport for InMemory {
    fn send(&self, mut request: Request<Full<Bytes>>) -> Sending<'_> {
        let is_mtls = request.uri().host().is_some_and(|host| host.starts_with("mtls."));
        if let Some(certificate) = self.certificate.clone().filter(|_| is_mtls) {
            request.extensions_mut().insert(certificate);
        }
        Box::pin(exchange(&self.tenant, request, self.timeout))
    }

    fn presenting(&self, certificate: &Arc<ClientCertificate>) -> Option<Arc<dyn Transport>> {
        let presented = certificate.certified().end_entity_cert().unwrap().clone().into_owned();
        let (tenant, timeout) = (self.tenant.clone(), self.timeout);
        Some(Arc::new(Self { tenant, timeout, certificate: Some(PeerCertificate(presented)) }))
    }
}

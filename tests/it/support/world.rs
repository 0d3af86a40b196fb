//! A whole daemon and the tenant behind it, started as production starts it.
//!
//! [`World::simulated`] joins the two in memory, so that tokio's paused time governs everything and a day passes
//! in no time. [`World::over_tls`] joins them over real TLS and real time, [`World::over_tls_simulated`] over real TLS
//! in a time that can be moved on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cloakroom::app::reload::ConfigSource;
use cloakroom::app::transports::Transports;
use cloakroom::app::{self, Deps, Running};
use cloakroom::cache::{Cache, LookupOptions, Query, Served};
use cloakroom::clock::Clock;
use cloakroom::config::{self, Config, Env};
use cloakroom::domain::error::LookupError;
use cloakroom::domain::priority::Flow;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::provider::FakeProvider;
use cloakroom::fake_auth0::{CertificateKind, Endpoint, Listening, Tenant, TenantOptions};
use cloakroom::process::notify::ServiceManager;
use cloakroom::transport::Transport;
use cloakroom::transport::streaming::StreamingTransport;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::support::configuration::configuration;
use crate::support::in_memory::{self, InMemory, configure, configure_in, quiet};
use crate::support::providers::ProvidersInMemory;

/// Whoever asks past the socket, where it does not matter who that is.
pub const FLOW: Flow = Flow::Uid(1000);

pub struct World {
    pub tenant: Tenant,
    pub clock: Clock,
    pub tenant_clock: Clock,
    pub config: Config,
    pub running: Running,
    pub socket: PathBuf,
    pub directory: TempDir,
    /// What a reload reads, where there is one.
    text: Arc<Mutex<String>>,
    /// The tenant's listener; dropping it makes the tenant go away.
    pub listening: Option<Listening>,
}

/// A lookup's answer as the tests compare it: token and where it came from, or the error.
pub type Looked = Result<(String, &'static str), LookupError>;

impl World {
    /// In memory, in virtual time. `settings` are further lines of configuration.
    pub async fn simulated(options: TenantOptions, settings: &str) -> Self {
        let (tenant, clocks) = in_memory::tenant(options);
        let (directory, config) = configure("tenant.example", &tenant, None, settings);
        let running = in_memory::start(&config, &tenant, &clocks[0]).await;
        Self::new(tenant, clocks, directory, config, running, None)
    }

    /// The same, with a configuration that [`World::reload`] changes.
    pub async fn reloadable(settings: &str) -> Self {
        Self::reloadable_before(in_memory::tenant(TenantOptions::default()), settings).await
    }

    /// The same in front of a tenant that was made before.
    pub async fn reloadable_before(tenant: (Tenant, [Clock; 2]), settings: &str) -> Self {
        Self::reloadable_in(tempfile::tempdir().unwrap(), tenant, settings).await
    }

    /// The same with the files in `directory`.
    pub async fn reloadable_in(directory: TempDir, tenant: (Tenant, [Clock; 2]), settings: &str) -> Self {
        Self::reloadable_beside(directory, tenant, settings, None).await
    }

    /// The same with a transport of its own to identity providers.
    pub async fn reloadable_beside(
        directory: TempDir,
        (tenant, clocks): (Tenant, [Clock; 2]),
        settings: &str,
        providers: Option<Arc<dyn Transport>>,
    ) -> Self {
        let config = configure_in(&directory, "tenant.example", &tenant, None, settings);
        let auth0: Arc<dyn Transport> = InMemory::to(&tenant, &config);
        let providers = providers.unwrap_or_else(|| Arc::clone(&auth0));
        let transports = Transports { auth0, providers, management_api: None, apis: None };
        let text: Arc<Mutex<String>> = Arc::default();
        let source = ConfigSource {
            load: Box::new({
                let text = Arc::clone(&text);
                move || config::parse("test.toml", &text.lock().unwrap(), &Env::default()).map(quiet)
            }),
            connect: Box::new({
                let transports = transports.clone();
                move |_| Ok(transports.clone())
            }),
        };
        let (clock, manager) = (clocks[0].clone(), ServiceManager::none());
        let deps = Deps { clock, transports, seed: 7, source: Some(source), manager };
        let running = app::start(&config, deps).await.unwrap();
        Self { text, ..Self::new(tenant, clocks, directory, config, running, None) }
    }

    /// Has the daemon read `settings` instead; the keys that changed and those that need a restart, or every problem.
    pub async fn reload(&self, settings: &str) -> Result<[Vec<String>; 2], Vec<String>> {
        self.reload_as("tenant.example", settings).await
    }

    /// The same for a tenant at `domain`.
    pub async fn reload_as(&self, domain: &str, settings: &str) -> Result<[Vec<String>; 2], Vec<String>> {
        // The secret is left as it is.
        let secret = std::fs::read(self.directory.path().join("secret")).unwrap();
        let text = configuration(domain, &self.tenant, None, &self.directory, settings);
        std::fs::write(self.directory.path().join("secret"), secret).unwrap();
        *self.text.lock().unwrap() = text;
        let answer = self.running.reload().await?;
        Ok([answer.changed, answer.needs_restart]
            .map(|them| them.into_iter().map(|change| change.key).collect()))
    }

    /// In memory, in front of a tenant and a provider that were made before, with the files in `directory`.
    pub async fn before_provider(
        directory: TempDir,
        tenant: (Tenant, [Clock; 2]),
        provider: &FakeProvider,
        settings: &str,
    ) -> Self {
        Self::before_apis(directory, tenant, provider, None, settings).await
    }

    /// The same with a transport to the APIs that clients call, and to the Management API where they call that.
    pub async fn before_apis(
        directory: TempDir,
        (tenant, clocks): (Tenant, [Clock; 2]),
        provider: &FakeProvider,
        apis: Option<Arc<dyn StreamingTransport>>,
        settings: &str,
    ) -> Self {
        let config = configure_in(&directory, "tenant.example", &tenant, None, settings);
        let providers = ProvidersInMemory::of(&[provider], config.providers.request_timeout);
        let (auth0, management_api) = (InMemory::to(&tenant, &config), apis.clone());
        let transports = Transports { auth0, providers, management_api, apis };
        let running = in_memory::start_through(&config, transports, &clocks[0]).await;
        Self::new(tenant, clocks, directory, config, running, None)
    }

    /// Over TLS on loopback, in real time.
    pub async fn over_tls(options: TenantOptions, settings: &str) -> Self {
        let clock = Clock::system();
        let tenant = Tenant::new(clock.clone(), options).unwrap();
        let listening = tenant.listen(CertificateKind::Good).unwrap();
        let (directory, config) = configure(listening.domain(), &tenant, Some(listening.ca_pem()), settings);
        let deps = Deps::production(&config).unwrap();
        let running = app::start(&config, deps).await.unwrap();
        Self::new(tenant, [clock.clone(), clock], directory, config, running, Some(listening))
    }

    /// Over TLS on loopback, in front of a tenant that listens already, with the files in `directory`.
    pub async fn over_tls_before(
        tenant: Tenant,
        listening: Listening,
        directory: TempDir,
        settings: &str,
    ) -> Self {
        let (domain, ca_pem) = (listening.domain(), Some(listening.ca_pem()));
        let config = configure_in(&directory, domain, &tenant, ca_pem, settings);
        let deps = Deps::production(&config).unwrap();
        let (clock, running) = (deps.clock.clone(), app::start(&config, deps).await.unwrap());
        Self::new(tenant, [clock.clone(), clock], directory, config, running, Some(listening))
    }

    /// Over TLS on loopback. Timers are real, and so is what waits for them; [`World::pass`] makes everything older.
    pub async fn over_tls_simulated(options: TenantOptions, settings: &str, seed: u64) -> Self {
        let (tenant, clocks) = in_memory::tenant(options);
        let listening = tenant.listen(CertificateKind::Good).unwrap();
        let (directory, config) = configure(listening.domain(), &tenant, Some(listening.ca_pem()), settings);
        let transports = Transports::build(&config).unwrap();
        let deps = Deps {
            clock: clocks[0].clone(),
            transports,
            seed,
            source: None,
            manager: ServiceManager::none(),
        };
        let running = app::start(&config, deps).await.unwrap();
        Self::new(tenant, clocks, directory, config, running, Some(listening))
    }

    fn new(
        tenant: Tenant,
        [clock, tenant_clock]: [Clock; 2],
        directory: TempDir,
        config: Config,
        running: Running,
        listening: Option<Listening>,
    ) -> Self {
        let socket = running.sockets[0].clone();
        let text = Arc::default();
        Self { tenant, clock, tenant_clock, config, running, socket, directory, text, listening }
    }

    /// Lets `span` pass for the daemon and for its tenant, if their clocks are simulated. No timer notices.
    pub fn pass(&self, span: Duration) {
        self.clock.suspend(span);
        self.tenant_clock.suspend(span);
    }

    /// How often the tenant was asked for a user.
    pub fn user_calls(&self) -> usize {
        self.tenant.calls_to(Endpoint::User).len()
    }

    /// How often the tenant was asked for a Management token.
    pub fn grants(&self) -> usize {
        self.tenant.calls_to(Endpoint::Token).len()
    }

    pub fn cache(&self) -> &Cache {
        &self.running.services().cache
    }

    /// Waits until the daemon holds a Management token.
    pub async fn ready(&self) {
        self.running.services().management.bearer().await.unwrap();
    }

    /// Looks the only token of `user` up, past the socket.
    pub async fn look_up(&self, user: &str) -> Looked {
        self.look_up_with(user, &Selector::default()).await
    }

    pub async fn look_up_with(&self, user: &str, selector: &Selector) -> Looked {
        self.look_up_as(FLOW, user, selector).await
    }

    pub async fn look_up_as(&self, flow: Flow, user: &str, selector: &Selector) -> Looked {
        let served = self
            .cache()
            .look_up(query(&UserId::parse(user).unwrap(), selector, LookupOptions::default()), flow)
            .await?;
        Ok((token_of(&served), state_of(&served)))
    }

    /// One GET through the socket, with the request header.
    pub async fn get(&self, path: &str) -> Got {
        self.send("GET", path, &[("cloakroom-request", "true")]).await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Got {
        self.send_with(method, path, headers, "").await
    }

    /// One request with this body.
    pub async fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test's own connection")]
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::<Bytes>::from(body.to_owned());
        let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let headers =
            head.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        Got {
            status: head.status,
            headers: headers.collect(),
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// The path of a token lookup.
    pub fn path(user: &str) -> String {
        format!("/v1/users/{}/token", UserId::parse(user).unwrap().to_path_segment())
    }
}

/// A lookup of one token.
pub fn query(user: &UserId, selector: &Selector, options: LookupOptions) -> Query {
    Query { user: user.clone(), selector: selector.clone(), options }
}

fn token_of(served: &Served) -> String {
    served.token().1.access_token.expose().to_owned()
}

fn state_of(served: &Served) -> &'static str {
    match served.state {
        cloakroom::cache::CacheState::Hit => "hit",
        cloakroom::cache::CacheState::Miss => "miss",
        cloakroom::cache::CacheState::Stale => "stale",
    }
}

/// An answer of the daemon.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|why| panic!("{why}: {:.300}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Status and code of a problem.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["type"], format!("urn:cloakroom:problem:{}", body["code"].as_str().unwrap()));
        assert_eq!(Some(body["request_id"].as_str().unwrap()), self.header("cloakroom-request-id"));
        (self.status.as_u16(), body["code"].as_str().unwrap().to_owned())
    }

    pub fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }

    pub fn retry_after(&self) -> Option<u64> {
        self.header("retry-after").map(|seconds| seconds.parse().unwrap())
    }
}

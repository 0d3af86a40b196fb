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
use cloakroom::app::{self, Deps, Running};
use cloakroom::cache::{Cache, LookupOptions, Served};
use cloakroom::clock::Clock;
use cloakroom::config::{self, AuditEvents, Config, Env, Loaded};
use cloakroom::domain::error::{Failure, LookupError};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::priority::Flow;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{CertificateKind, Delivery, Listening, Tenant, TenantOptions};
use cloakroom::process::notify::ServiceManager;
use cloakroom::upstream::response::Answer;
use cloakroom::upstream::transport::{self, Sending, Transport};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixStream;

/// When simulated time begins.
pub const START: &str = "2026-11-22T10:00:00Z";

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
        let start = Timestamp::parse(START).unwrap();
        // Two clocks, as in life: what is done to the daemon's does not move the tenant's.
        let clocks = [Clock::simulated(start), Clock::simulated(start)];
        let tenant = Tenant::new(clocks[1].clone(), options).unwrap();
        let (directory, config) = configure("tenant.example", &tenant, None, settings);
        let transport = Arc::new(InMemory { tenant: tenant.clone(), timeout: config.tenant.request_timeout });
        let deps = Deps {
            clock: clocks[0].clone(),
            transport,
            seed: 7,
            source: None,
            manager: ServiceManager::none(),
        };
        Self::start(tenant, clocks, directory, config, deps, None).await
    }

    /// The same, with a configuration that [`World::reload`] changes.
    pub async fn reloadable(settings: &str) -> Self {
        let start = Timestamp::parse(START).unwrap();
        let clocks = [Clock::simulated(start), Clock::simulated(start)];
        let tenant = Tenant::new(clocks[1].clone(), TenantOptions::default()).unwrap();
        let (directory, config) = configure("tenant.example", &tenant, None, settings);
        let transport = Arc::new(InMemory { tenant: tenant.clone(), timeout: config.tenant.request_timeout });
        let text: Arc<Mutex<String>> = Arc::default();
        let source = ConfigSource {
            load: Box::new({
                let text = Arc::clone(&text);
                move || config::parse("test.toml", &text.lock().unwrap(), &Env::default()).map(quiet)
            }),
            connect: Box::new({
                let transport = Arc::clone(&transport);
                move |_| Ok(Arc::clone(&transport) as Arc<dyn Transport>)
            }),
        };
        let (clock, manager) = (clocks[0].clone(), ServiceManager::none());
        let deps = Deps { clock, transport, seed: 7, source: Some(source), manager };
        let mut world = Self::start(tenant, clocks, directory, config, deps, None).await;
        world.text = text;
        world
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

    /// Over TLS on loopback, in real time.
    pub async fn over_tls(options: TenantOptions, settings: &str) -> Self {
        let clock = Clock::system();
        let tenant = Tenant::new(clock.clone(), options).unwrap();
        let listening = tenant.listen(CertificateKind::Good).unwrap();
        let (directory, config) = configure(listening.domain(), &tenant, Some(listening.ca_pem()), settings);
        let deps = Deps::production(&config).unwrap();
        Self::start(tenant, [clock.clone(), clock], directory, config, deps, Some(listening)).await
    }

    /// Over TLS on loopback. Timers are real, and so is what waits for them; [`World::pass`] makes everything older.
    pub async fn over_tls_simulated(options: TenantOptions, settings: &str, seed: u64) -> Self {
        let start = Timestamp::parse(START).unwrap();
        let clocks = [Clock::simulated(start), Clock::simulated(start)];
        let tenant = Tenant::new(clocks[1].clone(), options).unwrap();
        let listening = tenant.listen(CertificateKind::Good).unwrap();
        let (directory, config) = configure(listening.domain(), &tenant, Some(listening.ca_pem()), settings);
        let transport = transport::build(&config.tenant).unwrap();
        let deps =
            Deps { clock: clocks[0].clone(), transport, seed, source: None, manager: ServiceManager::none() };
        Self::start(tenant, clocks, directory, config, deps, Some(listening)).await
    }

    async fn start(
        tenant: Tenant,
        [clock, tenant_clock]: [Clock; 2],
        directory: TempDir,
        config: Config,
        deps: Deps,
        listening: Option<Listening>,
    ) -> Self {
        let running = app::start(&config, deps).await.unwrap();
        let socket = running.sockets[0].clone();
        let text = Arc::default();
        Self { tenant, clock, tenant_clock, config, running, socket, directory, text, listening }
    }

    /// Lets `span` pass for the daemon and for its tenant, if their clocks are simulated. No timer notices.
    pub fn pass(&self, span: Duration) {
        self.clock.suspend(span);
        self.tenant_clock.suspend(span);
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
            .token(flow, &UserId::parse(user).unwrap(), selector, LookupOptions::default())
            .await?;
        Ok((token_of(&served, selector), state_of(&served)))
    }

    /// One GET through the socket, with the request header.
    pub async fn get(&self, path: &str) -> Got {
        self.send("GET", path, &[("cloakroom-request", "true")]).await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Got {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test's own connection")]
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
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

fn token_of(served: &Served, selector: &Selector) -> String {
    served.select(selector).unwrap().1.access_token.expose().to_owned()
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

/// A configuration for `tenant` at `domain`, with its files in a directory of its own.
pub fn configure(domain: &str, tenant: &Tenant, ca_pem: Option<&str>, settings: &str) -> (TempDir, Config) {
    let directory = tempfile::tempdir().unwrap();
    let text = configuration(domain, tenant, ca_pem, &directory, settings);
    let loaded =
        config::parse("test.toml", &text, &Env::default()).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let quiet = if settings.contains("[audit]") { loaded } else { quiet(loaded) };
    (directory, quiet.config)
}

/// The audit log's default is this process's standard output, which the tests' results are for.
fn quiet(mut loaded: Loaded) -> Loaded {
    loaded.config.audit.events = AuditEvents::None;
    loaded
}

/// The same as text. Keys of `[tenant]` may open `settings`; whole tables follow.
pub fn configuration(
    domain: &str,
    tenant: &Tenant,
    ca_pem: Option<&str>,
    directory: &TempDir,
    settings: &str,
) -> String {
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("secret"), "demo-client-secret\n").unwrap();
    std::fs::set_permissions(path("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ca = ca_pem.map_or(String::new(), |pem| {
        std::fs::write(path("ca.pem"), pem).unwrap();
        format!("ca_file = {:?}\n", path("ca.pem"))
    });
    let (tenant_keys, tables) = settings.split_once("\n[").map_or_else(
        || if settings.starts_with('[') { ("", settings.to_owned()) } else { (settings, String::new()) },
        |(keys, tables)| match keys.starts_with('[') {
            true => ("", settings.to_owned()),
            false => (keys, format!("[{tables}")),
        },
    );
    let listener = match tables.contains("[[listener]]") {
        true => String::new(),
        false => format!("[[listener]]\npath = {:?}\nmode = \"0600\"\n", path("run/api.sock")),
    };
    let tables = tables.replace("{dir}", &directory.path().display().to_string());
    format!(
        "[tenant]\ndomain = {domain:?}\naudience = {:?}\n{ca}{tenant_keys}\n\
         [tenant.client]\nid = \"demo-client\"\nsecret_file = {:?}\n{tables}\n{listener}",
        tenant.audience(),
        path("secret"),
    )
}

/// Carries requests to the tenant without a socket, and acts on what would have happened to its answers.
struct InMemory {
    tenant: Tenant,
    timeout: Duration,
}

impl Transport for InMemory {
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        Box::pin(async move {
            let host: Arc<str> = "tenant.example".into();
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let exchange = async {
                let reply = self.tenant.answer(Request::from_parts(head, body)).await;
                match reply.delivery {
                    Delivery::Whole => Ok(reply.response),
                    Delivery::Refused => Err(Failure::Refused { host: host.clone() }),
                    Delivery::ResetMidway | Delivery::Truncated => {
                        Err(Failure::Broken { host: host.clone() })
                    }
                    Delivery::HeadersStall | Delivery::BodyStalls => std::future::pending().await,
                }
            };
            let response = match tokio::time::timeout(self.timeout, exchange).await {
                Ok(outcome) => outcome?,
                Err(_) => return Err(Failure::TimedOut { host: host.clone() }),
            };
            let (head, body) = response.into_parts();
            Ok(Answer { status: head.status, headers: head.headers, body })
        })
    }
}

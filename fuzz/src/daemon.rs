//! A whole daemon and the tenant behind it, in one thread and in virtual time, as `tests/it/support/world.rs` has them.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use cloakroom::app::transports::Transports;
use cloakroom::app::{self, Deps, Running};
use cloakroom::clock::Clock;
use cloakroom::config::{self, Env};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::fake_auth0::{Endpoint, Fault, Tenant, TenantOptions, WaitHint, users};
use cloakroom::process::notify::ServiceManager;
use cloakroom::transport::{Sending, Transport};
use http_body_util::Full;
use hyper::Request;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

#[path = "../../tests/support/exchange.rs"]
mod exchange;

use exchange::exchange;

/// What each of the listeners has besides its path: without rules; with a rule for everything; with a rule for little;
/// with a rule for somebody else.
const LISTENERS: [&str; 4] = [
    "",
    "require_request_header = false\n[[listener.allow]]\nuid = {uid}\noperations = [\"token\", \"identities\", \
     \"me\", \"report\", \"purge\", \"status\", \"management_token\"]\n",
    "[[listener.allow]]\nuid = {uid}\nusers = [\"google-oauth2|*\", \"*@*\"]\nconnections = [\"google-oauth2\"]\nrate = 2\n",
    "[[listener.allow]]\nuid = 65533\n",
];

/// Every sample user there is.
const USERS: [&str; 12] = [
    users::GOOGLE,
    users::JOHN,
    users::LINKED,
    users::GITHUB,
    users::ENTRA,
    users::TWITTER,
    users::DATABASE,
    users::EXPIRED,
    users::BLOCKED,
    users::SLASH,
    users::EMPTY_TOKEN,
    users::TEXT_EXPIRY,
];

/// After this long nothing is left of what was asked before, but what is cached.
const A_WHILE: Duration = Duration::from_secs(900);

/// For which users' own tokens are.
const AUDIENCE: &str = "https://api.acme.example";

/// When each input's time begins.
const START: &str = "2026-11-22T10:00:00Z";

/// A daemon that serves one input after the other.
pub struct Daemon {
    pub runtime: Runtime,
    pub sockets: Vec<PathBuf>,
    /// What identity providers issued, and the client's secret.
    pub secrets: Vec<String>,
    /// The own token of [`users::GOOGLE`].
    pub session: String,
    running: Running,
    tenant: Tenant,
    clocks: [Clock; 2],
    _directory: TempDir,
}

impl Daemon {
    pub fn start() -> Self {
        // Whoever does not read its answer is an error to the daemon, not its end: main does as much for it.
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::new(AtomicBool::new(false))).unwrap();
        keep_the_log();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (directory, start) = (tempfile::tempdir().unwrap(), Timestamp::parse(START).unwrap());
        let (running, tenant, clocks) = runtime.block_on(async {
            let clocks = [Clock::simulated(start), Clock::simulated(start)];
            let tenant = Tenant::new(clocks[1].clone(), TenantOptions::default()).unwrap();
            let text = configuration(&directory, &tenant);
            let config = config::parse("f.toml", &text, &Env::default()).unwrap().config;
            let transport =
                Arc::new(InMemory { tenant: tenant.clone(), timeout: config.tenant.request_timeout });
            let deps = Deps {
                clock: clocks[0].clone(),
                transports: Transports::only(transport),
                seed: 7,
                source: None,
                manager: ServiceManager::none(),
            };
            let running = app::start(&config, deps).await.unwrap();
            running.services().management.bearer().await.unwrap();
            (running, tenant, clocks)
        });
        let sockets = running.sockets.clone();
        let secrets = secrets(&tenant);
        let session = tenant.user_token(users::GOOGLE, AUDIENCE, Duration::from_secs(86_400)).unwrap();
        Self { runtime, sockets, secrets, session, running, tenant, clocks, _directory: directory }
    }

    /// As if nothing had ever been asked. `mood` is how the tenant takes what it is asked from now on.
    pub async fn begin(&self, mood: u8) {
        self.tenant.clear_all();
        self.tenant.forget_calls();
        tokio::time::sleep(A_WHILE).await;
        // Whom the keeper asked in vain it asks again meanwhile.
        self.running.services().management.bearer().await.unwrap();
        let start = Timestamp::parse(START).unwrap();
        self.clocks.iter().for_each(|clock| clock.step_wall(start));
        self.running.services().cache.purge_all();
        drop(LINES.take());
        let fault = match mood % 8 {
            0 => return,
            1 => Fault::Latency(Duration::from_millis(1_500)),
            2 => Fault::Status { status: 503, headers: vec![], body: "busy".into() },
            3 => Fault::StallHeaders,
            4 => Fault::Html200,
            5 => Fault::RateLimited(WaitHint::Seconds(7)),
            6 => Fault::Unauthorized,
            _ => Fault::Truncate,
        };
        self.tenant.fault(Endpoint::User, fault);
    }

    /// The Management token in use, if there is one.
    pub fn management_token(&self) -> Option<String> {
        let token = self.running.services().management.at_once()?.ok()?;
        Some(token.token().expose().to_owned())
    }

    /// What was logged since [`Daemon::begin`].
    pub fn logged(&self) -> Vec<u8> {
        LINES.take()
    }
}

fn configuration(directory: &TempDir, tenant: &Tenant) -> String {
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("secret"), "demo-client-secret\n").unwrap();
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path("secret"), own).unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path("secret")).unwrap());
    let mut text = format!(
        "[tenant]\ndomain = \"tenant.example\"\naudience = {:?}\n[tenant.client]\nid = \"demo-client\"\nsecret_file = {:?}\n\
         [me]\naudiences = [{AUDIENCE:?}]\n[audit]\nevents = \"none\"\n",
        tenant.audience(),
        path("secret")
    );
    for (number, settings) in LISTENERS.iter().enumerate() {
        let path = path(&format!("run/{number}.sock"));
        let settings = settings.replace("{uid}", &uid.to_string());
        text.push_str(&format!("[[listener]]\npath = {path:?}\nmode = \"0600\"\n{settings}"));
    }
    text
}

/// Every secret that the tenant would hand out.
fn secrets(tenant: &Tenant) -> Vec<String> {
    let mut found = vec!["demo-client-secret".to_owned()];
    for user in USERS {
        let user = tenant.user(user).unwrap();
        for identity in user["identities"].as_array().unwrap() {
            let texts =
                ["access_token", "access_token_secret", "refresh_token"].map(|name| identity[name].as_str());
            found.extend(texts.into_iter().flatten().filter(|text| !text.is_empty()).map(str::to_owned));
        }
    }
    assert!(found.len() > 15, "the samples are not read as they should be");
    found
}

/// Carries requests to the tenant without a socket, and acts on what would have happened to its answers.
struct InMemory {
    tenant: Tenant,
    timeout: Duration,
}

impl Transport for InMemory {
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        Box::pin(exchange(&self.tenant, request, self.timeout))
    }
}

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the daemon's log at its most talkative, instead of writing it.
fn keep_the_log() {
    let filter = Targets::new().with_default(LevelFilter::WARN).with_target("cloakroom", LevelFilter::TRACE);
    let layer = fmt::layer().with_ansi(false).without_time().with_writer(|| Line);
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}

struct Line;

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

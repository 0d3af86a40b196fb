//! The composition root: the only file that knows every part. Production, the demo and the tests all start the
//! daemon here; they differ only in their [`Deps`].

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::{self, AdminError};
use crate::api::exposition::Exposition;
use crate::api::{ListenerInfo, ListenerTerms, Phase, Reloading, Services};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Config, Listener, Shutdown};
use crate::domain::claims::Expected;
use crate::domain::policy::Policy;
use crate::listener::fairness::FairScheduler;
use crate::listener::socket::{Socket, SocketError};
use crate::listener::watchdog::Watchdog;
use crate::listener::{self, Listening};
use crate::management::Management;
use crate::process::activation::Passed;
use crate::process::notify::ServiceManager;
use crate::secret::{NoRandomness, TagKey};
use crate::telemetry::audit::{AuditLog, OutputError};
use crate::telemetry::{Counters, UserNames};
use crate::upstream::transport::{self, Transport, TransportError};
use crate::upstream::{Auth0, Parts, Profiles, issuers};
use crate::user_token::UserTokens;

pub mod descriptors;
pub mod reload;
mod secret_watch;
mod service_manager;

use descriptors::Descriptors;
use reload::{By, Reloader, Reloads, Source};

/// After the deadline: time for the last answers, which say that it is over, to reach their callers.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// After that: time for the audit log's last lines, which a reader that does not read would take for ever.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What tells this installation from others (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";

/// What the daemon takes from the world around it.
pub struct Deps {
    /// The time.
    pub clock: Clock,
    /// The way to Auth0.
    pub transport: Arc<dyn Transport>,
    /// Determines every jitter; equal seeds draw equal ones.
    pub seed: u64,
    /// Where the configuration can be read again, if it can.
    pub source: Option<Source>,
    /// Who is told how the daemon is.
    pub manager: ServiceManager,
}

impl Deps {
    /// The real ones, for `config`, which nobody reads again. Reads the platform's certificate authorities.
    pub fn production(config: &Config) -> Result<Self, TransportError> {
        Ok(Self {
            clock: Clock::system(),
            transport: transport::build(&config.tenant)?,
            seed: fastrand::u64(..),
            source: None,
            manager: ServiceManager::none(),
        })
    }
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A socket that the service manager has passed, and no listener is for.
    #[error("the service manager has passed the socket {}, and no [[listener]] has that path: set one's path to it", .0.display())]
    Unclaimed(PathBuf),
    /// The listener for probes and metrics.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A socket that is bound cannot be served.
    #[error("the socket cannot be served: {0}")]
    Listen(#[from] std::io::Error),
    /// The way to Auth0.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The audit log's output.
    #[error(transparent)]
    Audit(#[from] OutputError),
    /// The keys that name tokens and users.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// The sockets of a daemon that does not run yet. Dropping them removes their files.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<Socket>,
    /// For each of them, how many connections it may have.
    connections: Vec<usize>,
    admin: Option<TcpListener>,
}

impl Bound {
    /// With no more connections than `descriptors` leave room for.
    #[must_use]
    pub fn within(self, descriptors: Descriptors) -> Self {
        Self { connections: descriptors.connections, ..self }
    }
}

/// A daemon that runs. Dropping it stops it without ceremony; [`Running::stop`] is the orderly end.
pub struct Running {
    /// Where it listens.
    pub sockets: Vec<PathBuf>,
    services: Arc<Services>,
    phase: watch::Sender<Phase>,
    servers: JoinSet<()>,
    /// Whatever else goes on until the end, and ends with it.
    _around: JoinSet<()>,
    shutdown: watch::Receiver<Shutdown>,
    reloads: Reloads,
    manager: ServiceManager,
}

/// How an orderly end came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was begun was finished.
    Finished,
    /// `shutdown.deadline` came first; whoever still waited was told `draining`.
    CutShort,
}

/// Starts the daemon: sockets first, so that a start that fails costs Auth0 nothing, then the rest.
///
/// # Errors
/// Sockets that cannot be made as configured, or no audit log where one is wanted. No socket is left behind then.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn start(config: &Config, deps: Deps) -> Result<Running, StartError> {
    start_on(bind(config, Vec::new())?, config, deps).await
}

/// Makes the sockets, but for those that were `passed`. Needs no runtime, so it can be done before there are threads,
/// and before the process gives up the right to.
///
/// # Errors
/// Those that cannot be made as configured. Nothing is left behind then.
pub fn bind(config: &Config, mut passed: Vec<Passed>) -> Result<Bound, StartError> {
    let mut socket = |listener: &Listener| match passed.iter().position(|passed| passed.path == listener.path)
    {
        Some(at) => Ok(Socket::passed(passed.swap_remove(at).listener)),
        None => Socket::bind(listener),
    };
    let sockets = config.listeners.iter().map(&mut socket).collect::<Result<_, _>>()?;
    if let Some(unclaimed) = passed.into_iter().next() {
        return Err(StartError::Unclaimed(unclaimed.path));
    }
    let admin = config.admin.address.map(admin::bind).transpose()?;
    let connections = config.listeners.iter().map(|listener| listener.max_connections).collect();
    Ok(Bound { sockets, connections, admin })
}

/// Starts the daemon on `bound`, which [`bind`] has made of the same `config`: the Management token's keeper, then
/// the servers. Does not wait for Auth0.
///
/// # Errors
/// Sockets that cannot be served.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn start_on(bound: Bound, config: &Config, deps: Deps) -> Result<Running, StartError> {
    let own_uid = nix::unistd::geteuid().as_raw();
    let (mut listening, mut terms) = (Vec::new(), Vec::new());
    let (watchdog, heartbeats) = Watchdog::of(config.listeners.len());
    let sockets = bound.sockets.into_iter().zip(bound.connections);
    for (((socket, max_connections), settings), heartbeat) in sockets.zip(&config.listeners).zip(heartbeats) {
        let (listener, file) = socket.into_parts();
        let policy = Policy::new(own_uid, settings.allow.as_slice());
        let (to_change, now) =
            watch::channel(ListenerTerms::new(policy, settings.require_request_header, None));
        terms.push(to_change);
        listening.push(Listening {
            listener: listener::accepting(listener)?,
            file,
            heartbeat,
            max_connections,
            terms: now,
            info: Arc::new(ListenerInfo { path: settings.path.clone(), connections: AtomicU64::new(0) }),
        });
    }
    let admin = bound.admin.map(tokio::net::TcpListener::from_std).transpose()?;
    let (phase, watched) = watch::channel(Phase::Serving);
    let listeners = listening.iter().map(|listening| Arc::clone(&listening.info)).collect();
    let (manager, (reloads, asked)) = (deps.manager.clone().with_thread(), Reloads::new());
    let Wired { services, auth0, source, user_tokens } =
        wire(config, deps, watched, listeners, reloads.clone())?;
    let (shutdown, shutdown_now) = watch::channel(config.shutdown);
    let (client, client_now) = watch::channel(Arc::clone(&config.client));
    let reloader = Reloader {
        running: config.clone(),
        source,
        services: Arc::clone(&services),
        auth0,
        own_uid,
        terms,
        shutdown,
        client,
        user_tokens,
        manager: manager.clone(),
        last_problems: None,
        hanging: None,
    };

    let scheduler = FairScheduler::default();
    let (mut servers, mut around) = (JoinSet::new(), JoinSet::new());
    if reloader.source.is_some() {
        around.spawn(secret_watch::watch(client_now, reloads.clone(), TagKey::random()?));
    }
    around.spawn(reloader.run(asked));
    if manager.is_notified() {
        around.spawn(service_manager::keep_told(Arc::clone(&services), watchdog, manager.clone()));
    }
    if let Some(listener) = admin {
        around.spawn(admin::serve(listener, Arc::clone(&services), scheduler.clone()));
    }
    for listening in listening {
        servers.spawn(listener::serve(listening, Arc::clone(&services), scheduler.clone()));
    }
    let sockets = config.listeners.iter().map(|listener| listener.path.clone()).collect();
    Ok(Running {
        sockets,
        services,
        phase,
        servers,
        _around: around,
        shutdown: shutdown_now,
        reloads,
        manager,
    })
}

/// Makes what verifies user tokens, for a configuration.
type UserTokensFor = Box<dyn Fn(&Config) -> Option<Arc<UserTokens>> + Send + Sync>;

/// The parts, wired together, and those that only a reload needs.
struct Wired {
    services: Arc<Services>,
    auth0: Auth0,
    source: Option<Arc<Source>>,
    user_tokens: UserTokensFor,
}

/// Wires cache, keeper and upstream together.
fn wire(
    config: &Config,
    deps: Deps,
    phase: watch::Receiver<Phase>,
    listeners: Vec<Arc<ListenerInfo>>,
    reloads: Reloads,
) -> Result<Wired, StartError> {
    let Deps { clock, transport, seed, source, manager: _ } = deps;
    let (tags, counters) = (TagKey::random()?, Arc::new(Counters::default()));
    let names = UserNames::for_installation(&config.log, Path::new(MACHINE_ID))?;
    let audit = AuditLog::start(&config.audit, names.clone())?;
    let parts = Parts { transport, clock: clock.clone(), tags, counters: Arc::clone(&counters), seed };
    let auth0 = Auth0::new(&config.tenant, &config.client, config.upstream, parts);
    let budget = auth0.budget().clone();
    let user_tokens: UserTokensFor = {
        let (auth0, clock) = (auth0.clone(), clock.clone());
        Box::new(move |config| {
            (!config.me.audiences.is_empty()).then(|| {
                let mut issuers = issuers(&config.tenant);
                issuers.extend(config.me.issuers.iter().cloned());
                let expected = Expected::new(issuers, config.me.audiences.clone());
                Arc::new(UserTokens::new(expected, Arc::new(auth0.clone()), clock.clone(), seed))
            })
        })
    };
    let management = Management::start(Arc::new(auth0.clone()), config.management, clock.clone(), seed);
    let profiles = Arc::new(Profiles::new(auth0.clone(), management.clone()));
    let services = Arc::new(Services {
        cache: Cache::new(&config.cache, profiles, clock.clone(), Arc::clone(&counters), names, seed),
        management,
        user_tokens: RwLock::new(user_tokens(config)),
        reload: Box::new(move || reloads.ask(By::Person)),
        counters,
        tally: Arc::default(),
        audit,
        budget: Box::new(move |now| budget.standing(now)),
        phase,
        tenant: Arc::clone(&config.tenant.domain),
        started: clock.now(),
        clock,
        listeners,
        exposition: Exposition::default(),
        run_id: seed as u32,
        requests: AtomicU64::new(1),
    });
    Ok(Wired { services, auth0, source: source.map(Arc::new), user_tokens })
}

impl Running {
    /// What the handlers see; for the demo and the tests.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Reads the configuration again; what comes of it is in the log, too.
    pub fn reload(&self) -> Reloading {
        self.reloads.ask(By::Person)
    }

    /// The orderly end: not ready at once, accepting for `shutdown.min_delay`, then finishing what was begun for
    /// at most `shutdown.deadline`, then writing what the audit log has to say of it. The sockets' files are gone when
    /// this returns.
    pub async fn stop(mut self) -> Ended {
        let ended = self.finish().await;
        let services = self.services;
        let closing = tokio::task::spawn_blocking(move || services.audit.close(LAST_LINES));
        // Bounded once more, because threads that files or names hang on may be all there are.
        let closed = tokio::time::timeout(2 * LAST_LINES, closing).await;
        if !matches!(closed, Ok(Ok(true))) {
            tracing::warn!("Nobody takes the last lines of the audit log; they are lost");
        }
        ended
    }

    async fn finish(&mut self) -> Ended {
        self.phase.send_replace(Phase::Draining);
        self.manager.stopping(self.services.sentence());
        let Shutdown { min_delay, deadline } = *self.shutdown.borrow();
        tokio::time::sleep(min_delay).await;
        self.phase.send_replace(Phase::Closing);
        if tokio::time::timeout(deadline, all(&mut self.servers)).await.is_ok() {
            return Ended::Finished;
        }
        tracing::warn!("Requests are still under way at shutdown.deadline; they are answered with draining");
        self.phase.send_replace(Phase::Over);
        if tokio::time::timeout(LAST_WORDS, all(&mut self.servers)).await.is_err() {
            tracing::debug!("Some callers do not read their answers; their connections are cut");
        }
        Ended::CutShort
    }
}

async fn all(servers: &mut JoinSet<()>) {
    while let Some(end) = servers.join_next().await {
        if end.is_err() {
            tracing::error!("A listener's task panicked");
        }
    }
}

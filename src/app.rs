//! The composition root, which connects all parts. Production, the demo and the tests start the daemon here; they
//! differ only in their [`Deps`].

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin;
use crate::api::proxy::ProxiedApis;
use crate::api::{ListenerInfo, ListenerTerms, Reloading, ServiceParts, Services, ShutdownPhase};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Config, Listener, Shutdown};
use crate::domain::claims::Expected;
use crate::domain::error::Refusal;
use crate::domain::policy::Policy;
use crate::listener::fairness::FairScheduler;
use crate::listener::socket::BoundSocket;
use crate::listener::watchdog::Watchdog;
use crate::listener::{self, ListenerSetup};
use crate::management::Management;
use crate::process::activation::Passed;
use crate::process::notify::ServiceManager;
use crate::providers::Providers;
use crate::secret::TagKey;
use crate::sources::{SourceParts, Sources};
use crate::state::{Chains, OpenState};
use crate::telemetry::audit::AuditLog;
use crate::telemetry::{Counters, UserNames};
use crate::transport::TransportError;
use crate::upstream::vault::Vault;
use crate::upstream::{Auth0, ManagementApi, Parts, Profiles, issuers};
use crate::user_token::UserTokens;

pub mod descriptor_limits;
mod end_limits;
pub mod reload;
mod secret_files;
mod secret_watch;
mod service_manager;
mod start_error;
pub mod transports;

use descriptor_limits::{Descriptors, ListenerLimits};
use end_limits::EndLimits;
use reload::{By, ConfigSource, Reloader, Reloads, UserTokensFor};
use secret_files::SecretFiles;
pub use start_error::StartError;
use transports::Transports;

/// Timeout after the deadline for the last answers, `draining`, to reach their clients.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Timeout after that and after [`EndLimits::last_redemptions`] for the audit log's last lines, in case their reader does
/// not read.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The file with this installation's id (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";

/// The daemon's dependencies on its environment.
pub struct Deps {
    /// The clock.
    pub clock: Clock,
    /// The transports to Auth0 and to identity providers.
    pub transports: Transports,
    /// Seed of every jitter; equal seeds give equal jitters.
    pub seed: u64,
    /// The source of configurations for reloads; `None` if there are none.
    pub source: Option<ConfigSource>,
    /// The service manager that is notified.
    pub manager: ServiceManager,
}

impl Deps {
    /// The production dependencies for `config`, without reloads and without a service manager. Reads the platform's
    /// certificate authorities.
    pub fn production(config: &Config) -> Result<Self, TransportError> {
        Ok(Self {
            clock: Clock::system(),
            transports: Transports::build(config)?,
            seed: fastrand::u64(..),
            source: None,
            manager: ServiceManager::none(),
        })
    }
}

/// The bound sockets and the locked state file of a daemon before its start. Dropping it removes the sockets' files.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<BoundSocket>,
    state: Option<OpenState>,
    /// What may be open of each socket.
    limits: Vec<ListenerLimits>,
    admin: Option<TcpListener>,
}

impl Bound {
    /// Limits connections and streams to what `descriptors` allow.
    #[must_use]
    pub fn within(self, descriptors: Descriptors) -> Self {
        Self { limits: descriptors.listeners, ..self }
    }
}

/// A running daemon. Dropping it aborts everything at once; [`Running::stop`] is the orderly end.
pub struct Running {
    /// Paths of its sockets.
    pub sockets: Vec<PathBuf>,
    services: Arc<Services>,
    phase: watch::Sender<ShutdownPhase>,
    servers: JoinSet<()>,
    /// Other tasks, which are aborted when the daemon ends.
    _background: JoinSet<()>,
    limits: watch::Receiver<EndLimits>,
    chains: Chains,
    reloads: Reloads,
    manager: ServiceManager,
    /// Why the daemon must not go on with its configuration.
    unfit: watch::Receiver<Option<Refusal>>,
}

/// Outcome of an orderly end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every running request was finished.
    Finished,
    /// `shutdown.deadline` came first; waiting clients were answered with `draining`.
    CutShort,
}

/// Starts the daemon: sockets first, so that a failing start sends nothing to Auth0, then the rest.
///
/// # Errors
/// A socket or the audit log cannot be made as configured. No socket remains then.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn start(config: &Config, deps: Deps) -> Result<Running, StartError> {
    start_on(bind(config, Vec::new())?, config, deps).await
}

/// Makes the sockets, except those that were `passed`, and opens the state file. Needs no runtime, so that it can be
/// called before threads start and before the process enters its sandbox.
///
/// # Errors
/// A socket cannot be made as configured, or the state file cannot be used. No socket remains then.
pub fn bind(config: &Config, mut passed: Vec<Passed>) -> Result<Bound, StartError> {
    let mut socket = |listener: &Listener| match passed.iter().position(|passed| passed.path == listener.path)
    {
        Some(at) => Ok(BoundSocket::passed(passed.swap_remove(at).listener)),
        None => BoundSocket::bind(listener),
    };
    let sockets = config.listeners.iter().map(&mut socket).collect::<Result<_, _>>()?;
    if let Some(unclaimed) = passed.into_iter().next() {
        return Err(StartError::Unclaimed(unclaimed.path));
    }
    let admin = config.admin.address.map(admin::bind).transpose()?;
    let limits = config.listeners.iter().map(ListenerLimits::of).collect();
    let state =
        config.state.as_ref().map(|state| OpenState::open(state, &config.tenant.audience)).transpose()?;
    Ok(Bound { sockets, state, limits, admin })
}

/// Starts the daemon on `bound`, which [`bind`] made from the same `config`: the Management token's keeper, then the
/// servers. Does not wait for Auth0.
///
/// # Errors
/// A socket cannot be served, or another part of the daemon cannot be made.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn start_on(bound: Bound, config: &Config, deps: Deps) -> Result<Running, StartError> {
    let own_uid = nix::unistd::geteuid().as_raw();
    let (mut listening, mut terms) = (Vec::new(), Vec::new());
    let (watchdog, heartbeats) = Watchdog::new(config.listeners.len());
    let sockets = bound.sockets.into_iter().zip(bound.limits);
    for (((socket, limits), settings), heartbeat) in sockets.zip(&config.listeners).zip(heartbeats) {
        let (listener, file) = socket.into_parts();
        let policy = Policy::new(own_uid, settings.allow.as_slice());
        let (to_change, now) =
            watch::channel(ListenerTerms::new(policy, settings.require_request_header, None));
        terms.push(to_change);
        listening.push(ListenerSetup {
            listener: listener::async_listener(listener)?,
            file,
            heartbeat,
            max_connections: limits.connections,
            max_streams: limits.streams,
            terms: now,
            info: Arc::new(ListenerInfo::new(settings.path.clone())),
        });
    }
    let admin = bound.admin.map(tokio::net::TcpListener::from_std).transpose()?;
    let (phase, watched) = watch::channel(ShutdownPhase::Serving);
    let listeners = listening.iter().map(|listening| Arc::clone(&listening.info)).collect();
    let (manager, (reloads, asked)) = (deps.manager.clone().with_thread(), Reloads::new());
    let Wired { services, auth0, management_api, vault, providers, sources, chains, source, user_tokens } =
        wire(config, deps, bound.state, watched, listeners, reloads.clone())?;
    let (to_be_unfit, unfit) = watch::channel(None);
    let found_unfit = management_api.unfit_at_first();
    let (limits, limits_now) = watch::channel(EndLimits::of(config));
    let (secrets, secrets_now) = watch::channel(SecretFiles::all_of(config));
    let reloader = Reloader {
        running: config.clone(),
        source,
        services: Arc::clone(&services),
        auth0,
        management_api,
        vault,
        providers,
        sources,
        own_uid,
        terms,
        limits,
        secrets,
        user_tokens,
        manager: manager.clone(),
        last_problems: None,
        hanging: None,
    };

    let scheduler = FairScheduler::default();
    let (mut servers, mut background) = (JoinSet::new(), JoinSet::new());
    if reloader.source.is_some() {
        background.spawn(secret_watch::watch(secrets_now, reloads.clone(), TagKey::random()?));
    }
    background.spawn(reloader.run(asked));
    background.spawn(async move { drop(to_be_unfit.send(Some(found_unfit.await))) });
    if manager.is_notified() {
        background.spawn(service_manager::notify(Arc::clone(&services), watchdog, manager.clone()));
    }
    if let Some(listener) = admin {
        background.spawn(admin::serve(listener, Arc::clone(&services), scheduler.clone()));
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
        _background: background,
        limits: limits_now,
        chains,
        reloads,
        manager,
        unfit,
    })
}

/// The connected parts, and those that only a reload needs.
struct Wired {
    services: Arc<Services>,
    auth0: Auth0,
    management_api: ManagementApi,
    vault: Vault,
    providers: Providers,
    sources: Sources,
    chains: Chains,
    source: Option<Arc<ConfigSource>>,
    user_tokens: UserTokensFor,
}

/// Connects cache, keeper and upstream.
fn wire(
    config: &Config,
    deps: Deps,
    state: Option<OpenState>,
    phase: watch::Receiver<ShutdownPhase>,
    listeners: Vec<Arc<ListenerInfo>>,
    reloads: Reloads,
) -> Result<Wired, StartError> {
    let Deps { clock, transports, seed, source, manager: _ } = deps;
    let (tags, counters) = (TagKey::random()?, Arc::new(Counters::default()));
    let names = UserNames::for_installation(&config.log, Path::new(MACHINE_ID))?;
    let audit = AuditLog::start(&config.audit, names.clone())?;
    let parts = Parts {
        transport: transports.auth0,
        clock: clock.clone(),
        tags: tags.clone(),
        counters: Arc::clone(&counters),
        orders: config.source_orders(),
        seed,
    };
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
    let management_api = ManagementApi::new(auth0.clone(), config, transports.management_api, seed);
    let profiles = Arc::new(Profiles::new(auth0.clone(), management.clone()));
    let providers =
        Providers::new(&config.providers, transports.providers, clock.clone(), Arc::clone(&counters), seed);
    let chains = match state {
        Some(state) => Chains::in_file(state, names.clone(), clock.clone(), Arc::clone(&counters), seed),
        None => Chains::in_memory(clock.clone(), Arc::clone(&counters))?,
    };
    let vault = Vault::new(auth0.clone(), config.vault.clone().unwrap_or_default());
    let parts = SourceParts {
        chains: chains.clone(),
        providers: providers.clone(),
        vault: vault.clone(),
        clock: clock.clone(),
        tags,
    };
    let sources = Sources::new(&config.connections, parts);
    let issuer = Arc::new(sources.clone());
    let services = Arc::new(Services::new(ServiceParts {
        cache: Cache::new(&config.cache, profiles, issuer, clock.clone(), Arc::clone(&counters), names, seed),
        management,
        management_api: Arc::new(management_api.clone()),
        clock,
        counters,
        audit,
        user_tokens: user_tokens(config),
        proxied_apis: ProxiedApis::new(&config.proxied_apis, transports.apis),
        reload: Box::new(move || reloads.ask(By::Operator)),
        budget: Box::new(move |now| budget.standing(now)),
        sources: {
            let sources = sources.clone();
            Box::new(move || sources.standings())
        },
        phase,
        tenant: Arc::clone(&config.tenant.domain),
        listeners,
        run: seed as u32,
    }));
    let source = source.map(Arc::new);
    Ok(Wired { services, auth0, management_api, vault, providers, sources, chains, source, user_tokens })
}

impl Running {
    /// The services that handlers use; for the demo and the tests.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Reloads the configuration. The log contains the result as well.
    pub fn reload(&self) -> Reloading {
        self.reloads.ask(By::Operator)
    }

    /// Resolves if the first token of `[management_api]` after the start shows users' tokens at identity providers, with
    /// the refusal: the daemon is to be stopped then. Never resolves otherwise.
    pub async fn unfit(&self) -> Refusal {
        let mut unfit = self.unfit.clone();
        let refusal = unfit.wait_for(Option::is_some).await.ok().and_then(|refusal| refusal.clone());
        match refusal {
            Some(refusal) => refusal,
            None => std::future::pending().await,
        }
    }

    /// Ends in order: the daemon is not ready at once, accepts for `shutdown.min_delay`, finishes running requests for
    /// at most `shutdown.deadline`, waits for redemptions under way, and then writes the last lines of the audit log. The
    /// sockets' files are removed when this returns.
    pub async fn stop(mut self) -> Ended {
        let ended = self.finish().await;
        // Redemptions under way end within their timeouts.
        let EndLimits { last_redemptions, .. } = *self.limits.borrow();
        if tokio::time::timeout(last_redemptions, self.chains.close()).await.is_err() {
            tracing::warn!(
                "A redemption of a refresh token is cut short, and tried once more after the next start"
            );
        }
        let services = self.services;
        let closing = tokio::task::spawn_blocking(move || services.audit.close(LAST_LINES));
        // A timeout of its own, because all blocking threads may hang on files or name resolution.
        let closed = tokio::time::timeout(2 * LAST_LINES, closing).await;
        if !matches!(closed, Ok(Ok(true))) {
            tracing::warn!("The output of the audit log does not take the last lines; they are lost");
        }
        ended
    }

    async fn finish(&mut self) -> Ended {
        self.phase.send_replace(ShutdownPhase::Draining);
        self.manager.stopping(self.services.sentence());
        let Shutdown { min_delay, deadline } = self.limits.borrow().shutdown;
        tokio::time::sleep(min_delay).await;
        self.phase.send_replace(ShutdownPhase::Closing);
        if tokio::time::timeout(deadline, all(&mut self.servers)).await.is_ok() {
            return Ended::Finished;
        }
        tracing::warn!("Requests are still under way at shutdown.deadline; they are answered with draining");
        self.phase.send_replace(ShutdownPhase::Over);
        if tokio::time::timeout(LAST_ANSWERS, all(&mut self.servers)).await.is_err() {
            tracing::debug!("Some clients do not read their answers; their connections are closed");
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

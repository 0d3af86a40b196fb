//! What handlers share: the cache, the Management token's keeper, counters, and the shutdown's phase.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::domain::freshness::Moment;
use crate::domain::source::SourceStanding;
use crate::management::Management;
use crate::management::calls::ManagementCalls;
use crate::telemetry::audit::AuditLog;
use crate::telemetry::{BudgetStanding, Counters};
use crate::user_token::UserTokens;

use super::exposition::Exposition;
use super::proxy::{DropBrakes, ProxiedApis};
use super::request_counters::RequestCounters;
use super::request_id::{RequestId, RequestIds};
use super::route::RouteSpec;
use super::types::ReloadAnswer;

/// The phase of the daemon's shutdown. Phases follow in this order, and none comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShutdownPhase {
    /// No shutdown has begun.
    Serving,
    /// The daemon reports that it is not ready, and still accepts connections.
    Draining,
    /// No connection is accepted; requests under way are finished.
    Closing,
    /// The deadline has passed: requests that still wait are answered with `draining`.
    Over,
}

/// Everything that handlers use.
pub struct Services {
    /// The cache of users.
    pub cache: Cache,
    /// The Management token's keeper.
    pub management: Management,
    /// Clients' own calls of the Management API.
    pub management_api: Arc<dyn ManagementCalls>,
    /// The clock of the daemon.
    pub clock: Clock,
    /// Lookups, requests to Auth0 and the like, for `status` and `/metrics`.
    pub counters: Arc<Counters>,
    /// Answers by route, and denials, for `/metrics`.
    pub request_counters: Arc<RequestCounters>,
    /// The audit log.
    pub audit: AuditLog,
    pub(super) budget: BudgetReader,
    pub(super) sources: SourcesReader,
    pub(super) tenant: Arc<str>,
    pub(super) started: Moment,
    pub(super) listeners: Vec<Arc<ListenerInfo>>,
    pub(super) exposition: Exposition,
    pub(super) drop_brakes: DropBrakes,
    user_tokens: RwLock<Option<Arc<UserTokens>>>,
    proxied_apis: RwLock<Arc<ProxiedApis>>,
    reload: ReloadFunction,
    phase: watch::Receiver<ShutdownPhase>,
    request_ids: RequestIds,
}

/// The parts that [`Services`] are made of.
pub struct ServiceParts {
    /// The cache of users.
    pub cache: Cache,
    /// The Management token's keeper.
    pub management: Management,
    /// Clients' own calls of the Management API.
    pub management_api: Arc<dyn ManagementCalls>,
    /// The clock of the daemon.
    pub clock: Clock,
    /// Counters that other parts of the daemon share.
    pub counters: Arc<Counters>,
    /// The audit log.
    pub audit: AuditLog,
    /// Verifies user tokens; `None` where `[me]` names no audience.
    pub user_tokens: Option<Arc<UserTokens>>,
    /// The APIs of providers that calls may go to.
    pub proxied_apis: ProxiedApis,
    /// Reloads the configuration.
    pub reload: ReloadFunction,
    /// Reads the budget for Auth0.
    pub budget: BudgetReader,
    /// Reads how the sources of connections stand.
    pub sources: SourcesReader,
    /// The shutdown's phase.
    pub phase: watch::Receiver<ShutdownPhase>,
    /// `tenant.domain`.
    pub tenant: Arc<str>,
    /// The listeners.
    pub listeners: Vec<Arc<ListenerInfo>>,
    /// A number of this run, which makes request ids differ from those of other runs.
    pub run: u32,
}

/// Reloads the configuration.
pub type ReloadFunction = Box<dyn Fn() -> Reloading + Send + Sync>;

/// A reload under way: its result, or every problem of the new configuration.
pub type Reloading = Pin<Box<dyn Future<Output = Result<ReloadAnswer, Vec<String>>> + Send>>;

/// Reads the state of the budget for Auth0.
pub type BudgetReader = Box<dyn Fn(Moment) -> BudgetStanding + Send + Sync>;

/// Reads how the sources of connections stand.
pub type SourcesReader = Box<dyn Fn() -> Vec<SourceStanding> + Send + Sync>;

/// One listener, as `status` shows it.
#[derive(Debug)]
pub struct ListenerInfo {
    /// The socket's path.
    pub path: PathBuf,
    /// Open connections.
    pub connections: AtomicU64,
    /// Calls of providers' APIs under way, whose connections are among the open ones.
    pub streams: AtomicU64,
    /// The most calls at a time. 0 until the listener serves.
    pub max_streams: AtomicU64,
}

impl ListenerInfo {
    /// A listener at `path`, without connections.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            connections: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            max_streams: AtomicU64::new(0),
        }
    }
}

impl Services {
    /// The services of a daemon that starts now.
    pub fn new(parts: ServiceParts) -> Self {
        let ServiceParts { cache, management, management_api, clock, counters, audit, user_tokens, .. } =
            parts;
        Self {
            cache,
            management,
            management_api,
            started: clock.now(),
            clock,
            counters,
            request_counters: Arc::default(),
            audit,
            budget: parts.budget,
            sources: parts.sources,
            tenant: parts.tenant,
            listeners: parts.listeners,
            exposition: Exposition::default(),
            drop_brakes: DropBrakes::default(),
            user_tokens: RwLock::new(user_tokens),
            proxied_apis: RwLock::new(Arc::new(parts.proxied_apis)),
            reload: parts.reload,
            phase: parts.phase,
            request_ids: RequestIds::new(parts.run),
        }
    }

    /// The listeners.
    pub fn listeners(&self) -> &[Arc<ListenerInfo>] {
        &self.listeners
    }

    /// What verifies user tokens; `None` where `[me]` names no audience.
    pub fn user_tokens(&self) -> Option<Arc<UserTokens>> {
        self.user_tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces what verifies user tokens. Requests under way keep the previous verifier.
    pub fn set_user_tokens(&self, user_tokens: Option<Arc<UserTokens>>) {
        *self.user_tokens.write().unwrap_or_else(PoisonError::into_inner) = user_tokens;
    }

    /// The APIs of providers that calls may go to.
    pub fn proxied_apis(&self) -> Arc<ProxiedApis> {
        Arc::clone(&self.proxied_apis.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the configuration has what calls of this route are sent on to.
    pub(super) fn offers(&self, spec: &RouteSpec) -> bool {
        match spec.calls_a_provider() {
            true => !self.proxied_apis().is_empty(),
            false => self.management_api.is_configured(),
        }
    }

    /// Whether the configuration has anything that calls are sent on to.
    pub(crate) fn sends_calls_on(&self) -> bool {
        !self.proxied_apis().is_empty() || self.management_api.is_configured()
    }

    /// Replaces the APIs that calls may go to. Calls under way keep the previous ones.
    pub fn set_proxied_apis(&self, apis: ProxiedApis) {
        *self.proxied_apis.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(apis);
    }

    /// Reloads the configuration.
    pub(super) fn reload(&self) -> Reloading {
        (self.reload)()
    }

    pub(crate) fn next_request_id(&self) -> RequestId {
        self.request_ids.next()
    }

    /// A receiver of the shutdown's phase.
    pub(crate) fn phase(&self) -> watch::Receiver<ShutdownPhase> {
        self.phase.clone()
    }

    /// Whether the shutdown has begun, so that the daemon is not ready.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() > ShutdownPhase::Serving
    }
}

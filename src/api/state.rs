//! What handlers share: the cache, the Management token's keeper, counters, and how far a shutdown has come.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use tokio::sync::watch;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::domain::freshness::Moment;
use crate::management::Management;
use crate::telemetry::audit::AuditLog;
use crate::telemetry::{BudgetStanding, Counters};
use crate::user_token::UserTokens;

use super::exposition::Exposition;
use super::request_id::RequestId;
use super::tally::Tally;
use super::types::ReloadAnswer;

/// How far the daemon's end has come. Only ever moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It has not begun.
    Serving,
    /// Not ready any more, but still accepting.
    Draining,
    /// No new connections; what was begun is finished.
    Closing,
    /// Whoever still waits is told that it is over.
    Over,
}

/// What handlers need.
pub struct Services {
    /// Users' entries.
    pub cache: Cache,
    /// The Management token's keeper.
    pub management: Management,
    /// Verifies end users' own tokens; `None` where `[me]` names no audience.
    pub user_tokens: RwLock<Option<Arc<UserTokens>>>,
    /// Reads the configuration again.
    pub reload: Box<dyn Fn() -> Reloading + Send + Sync>,
    /// The time.
    pub clock: Clock,
    /// Numbers for `status`.
    pub counters: Arc<Counters>,
    /// Answers and refusals, for `/metrics`.
    pub tally: Arc<Tally>,
    /// The audit log.
    pub audit: AuditLog,
    /// How far the daemon's end has come.
    pub phase: watch::Receiver<Phase>,
    /// How the budget for the tenant stands, for `status`.
    pub budget: Box<dyn Fn(Moment) -> BudgetStanding + Send + Sync>,
    /// `tenant.domain`, for `status`.
    pub tenant: Arc<str>,
    /// When the daemon started.
    pub started: Moment,
    /// The listeners there are, for `status`.
    pub listeners: Vec<Arc<ListenerInfo>>,
    /// What `/metrics` answers with.
    pub exposition: Exposition,
    /// Makes request ids differ from run to run.
    pub run_id: u32,
    /// Makes them differ within a run.
    pub requests: AtomicU64,
}

/// The configuration, being read again.
pub type Reloading = Pin<Box<dyn Future<Output = Result<ReloadAnswer, Vec<String>>> + Send>>;

/// One listener, as `status` shows it.
#[derive(Debug)]
pub struct ListenerInfo {
    /// The socket's path.
    pub path: PathBuf,
    /// Open connections.
    pub connections: AtomicU64,
}

impl Services {
    pub(crate) fn next_request_id(&self) -> RequestId {
        RequestId::new(self.run_id, self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a connection is to be closed when what was begun is finished.
    pub(crate) fn is_closing(&self) -> bool {
        self.phase_has_changed() && *self.phase.borrow() >= Phase::Closing
    }

    /// Whether the daemon's end has begun or come further. Unlike the phase itself this takes no lock.
    pub(crate) fn phase_has_changed(&self) -> bool {
        self.phase.has_changed().unwrap_or(true)
    }

    /// Whether the daemon's end has begun.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() > Phase::Serving
    }
}

//! Speaks to callers over Unix sockets. Knows the cache and the Management token's keeper, not Auth0.

use std::borrow::Cow;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::domain::error::Sort;
use crate::domain::freshness::Moment;
use crate::domain::retry::whole_seconds;
use crate::management::Management;
use crate::telemetry::audit::Audit;
use crate::telemetry::{BudgetStanding, Counters};
use crate::user_token::UserTokens;

pub mod answers;
pub mod body;
mod bounds;
mod connection;
mod door;
pub mod exposition;
mod handlers;
pub mod head;
mod metrics;
pub mod paths;
mod peer;
pub mod pulse;
mod query;
mod rates;
mod refusal;
mod reply;
mod request_id;
mod room;
mod routes;
mod slips;
pub mod socket;
mod tally;
mod trace;
mod trail;
pub mod turnstile;
mod watched;

pub use door::{accepting, max_refusals};
pub use peer::ListenerTerms;
pub use routes::answer_openly;
pub use tally::Tally;
pub(crate) use watched::Activity;

use answers::{
    CacheStatus, FailureStatus, ListenerStatus, LookupCounts, ManagementTokenStatus, ReloadAnswer,
    StatusAnswer, UpstreamFailure, UpstreamStatus,
};
use door::{Arrival, Door, Guest};
use exposition::Exposition;
use peer::Visitor;
use pulse::Beat;
use request_id::RequestId;
use socket::SocketFile;
use trail::Origin;
use turnstile::Turnstiles;

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
    pub audit: Audit,
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
    /// Where connections of one group go one after the other.
    pub turnstiles: Turnstiles,
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

/// One listener, as it is served.
pub struct Listening {
    /// Accepts.
    pub listener: AsyncFd<UnixListener>,
    /// Removes the socket's file when the listener is done with; `None` where somebody else keeps the socket.
    pub file: Option<SocketFile>,
    /// Shows that the listener's loop turns.
    pub beat: Beat,
    /// `max_connections`.
    pub max_connections: usize,
    /// What goes for its callers.
    pub terms: watch::Receiver<Arc<ListenerTerms>>,
    /// As `status` shows it.
    pub info: Arc<ListenerInfo>,
}

impl Services {
    fn next_request_id(&self) -> RequestId {
        RequestId::new(self.run_id, self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a connection is to be closed when what was begun is finished.
    fn is_closing(&self) -> bool {
        self.phase_has_changed() && *self.phase.borrow() >= Phase::Closing
    }

    /// Whether the daemon's end has begun or come further. Unlike the phase itself this takes no lock.
    fn phase_has_changed(&self) -> bool {
        self.phase.has_changed().unwrap_or(true)
    }

    /// Whether the daemon's end has begun.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() > Phase::Serving
    }

    /// Whether the first Management token was obtained; if not, why not.
    fn started(&self) -> Result<Cow<'static, str>, String> {
        if self.management.has_started() {
            Ok("started".into())
        } else {
            Err(self.why_no_token("not started"))
        }
    }

    /// Whether lookups can be answered; if not, why not. Asks nobody.
    fn ready(&self) -> Result<Cow<'static, str>, String> {
        if self.is_draining() {
            return Err("not ready: shutting down".into());
        }
        match self.management.snapshot(self.clock.now()).valid {
            true => Ok("ready".into()),
            false => Err(self.why_no_token("not ready")),
        }
    }

    /// How the daemon is, in a sentence for `systemctl status`.
    pub fn sentence(&self) -> String {
        if self.is_draining() {
            return "Shutting down: what was begun is finished".to_owned();
        }
        let (now, counters) = (self.clock.now(), &self.counters);
        let token = self.management.snapshot(now);
        let Some(expires_at) = token.expires_at.filter(|_| token.valid) else {
            return self.why_no_token("Not ready");
        };
        let mut sentence = format!("Ready: Management token valid until {expires_at}");
        if let Some((failure, attempts)) = token.failure {
            sentence.push_str(&format!(", not renewed after {attempts} attempts: {failure}"));
        }
        if let Some(wait) = (self.budget)(now).gate_closed_for {
            sentence.push_str(&format!("; the tenant's rate limit is reached for {} s", whole_seconds(wait)));
        }
        let from_cache = [&counters.hits, &counters.stale].map(|counter| counter.get()).iter().sum::<u64>();
        let asked = [&counters.misses, &counters.negatives, &counters.errors].map(|counter| counter.get());
        let all = asked.iter().sum::<u64>().saturating_add(from_cache);
        let users = self.cache.size().0;
        sentence.push_str(&format!("; {users} user{} remembered", if users == 1 { "" } else { "s" }));
        match from_cache.saturating_mul(100).checked_div(all) {
            Some(share) => sentence.push_str(&format!("; lookups: {all}, {share} % of them from the cache")),
            None => sentence.push_str("; no lookups yet"),
        }
        sentence
    }

    fn why_no_token(&self, state: &str) -> String {
        match self.management.snapshot(self.clock.now()).failure {
            Some((failure, _)) => format!("{state}: no Management token: {failure}"),
            None => format!("{state}: no Management token yet"),
        }
    }

    fn status(&self) -> StatusAnswer {
        let now = self.clock.now();
        let token = self.management.snapshot(now);
        let (entries, bytes) = self.cache.size();
        let (counters, budget) = (&self.counters, (self.budget)(now));
        StatusAnswer {
            version: env!("CARGO_PKG_VERSION").into(),
            started_at: self.started.wall.to_string(),
            uptime_seconds: self.started.age(now).as_secs(),
            ready: token.valid && !self.is_draining(),
            draining: self.is_draining(),
            tenant: self.tenant.to_string(),
            management_token: ManagementTokenStatus {
                valid: token.valid,
                expires_at: token.expires_at.map(|at| at.to_string()),
                next_refresh_at: token.next_attempt_at.map(|at| at.to_string()),
                last_success_at: token.last_success.map(|at| at.to_string()),
                scopes: token.scopes,
                missing_scopes: token.missing_scopes.into_iter().map(str::to_owned).collect(),
                refusal: token.refusal.map(|why| why.to_string()),
                failure: token.failure.map(|(failure, attempts)| FailureStatus {
                    detail: failure.to_string(),
                    permanent: failure.sort() == Sort::Permanent,
                    attempts,
                }),
            },
            cache: CacheStatus { entries, bytes, max_bytes: self.cache.max_bytes() },
            lookups: LookupCounts {
                hit: counters.hits.get(),
                miss: counters.misses.get(),
                stale: counters.stale.get(),
                negative: counters.negatives.get(),
                error: counters.errors.get(),
            },
            upstream: UpstreamStatus {
                token_requests: counters.token_requests.get(),
                user_requests: counters.user_requests.get(),
                key_requests: counters.key_requests.get(),
                failures: counters.upstream_failures.get(),
                last_failure: counters
                    .last_upstream_failure()
                    .map(|(at, detail)| UpstreamFailure { at: at.to_string(), detail }),
                flights_joined: counters.flights_joined.get(),
                gate_closed_for: budget.gate_closed_for.map(whole_seconds),
                waiting: budget.waiting as u64,
                ratelimit_remaining: budget.remaining,
                thrifty: budget.thrifty,
                clock_skew_seconds: counters.skew_millis() as f64 / 1e3,
            },
            listeners: self
                .listeners
                .iter()
                .map(|listener| ListenerStatus {
                    path: listener.path.display().to_string(),
                    connections: listener.connections.load(Ordering::Relaxed),
                })
                .collect(),
        }
    }
}

/// Accepts and serves connections until the daemon's end closes them. Returns when the last one is done.
pub async fn serve(listening: Listening, services: Arc<Services>) {
    let Listening { listener, file, mut beat, max_connections, terms, info } = listening;
    let mut door = Door::new(listener, max_connections, terms.clone(), Arc::clone(&services.tally));
    let mut phase = services.phase.clone();
    let mut connections = JoinSet::new();
    let name: Arc<str> = info.path.display().to_string().into();
    let start = |Guest { stream, caller, group, seat }| {
        let (services, open) = (Arc::clone(&services), Open::new(&info));
        let origin = Origin::new(Arc::clone(&name), &stream);
        let visitor = Visitor::new(caller, origin, terms.clone());
        async move {
            connection::serve(stream, visitor, group, services).await;
            drop((seat, open));
        }
    };
    let receive = |connections: &mut JoinSet<()>, arrival| {
        match arrival {
            Arrival::Admitted(guest) => connections.spawn(start(guest)),
            Arrival::Refused(stream, seat) => {
                let services = Arc::clone(&services);
                connections.spawn(async move {
                    refusal::tell(stream, &services).await;
                    drop(seat);
                })
            }
        };
        // As many may have ended as have come.
        while connections.try_join_next().is_some() {}
    };
    loop {
        tokio::select! {
            arrival = door.next() => receive(&mut connections, arrival),
            _ = phase.wait_for(|phase| *phase >= Phase::Closing) => break,
            Some(_) = connections.join_next() => continue,
            () = beat.answer() => continue,
        };
    }
    // Nobody new finds the socket now. Those whom the kernel has connected already believe that they were accepted,
    // so they are; to close the listener would reset them. Where somebody else keeps the socket, its queue is our
    // successor's.
    if let Some(file) = file {
        drop(file);
        while let Some(arrival) = door.next_of_the_last().await {
            receive(&mut connections, arrival);
        }
    }
    drop(door);
    while connections.join_next().await.is_some() {}
}

/// Counts a connection for as long as it is open.
struct Open(Arc<ListenerInfo>);

impl Open {
    fn new(info: &Arc<ListenerInfo>) -> Self {
        info.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(info))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

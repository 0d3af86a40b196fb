//! Speaks to callers over Unix sockets. Knows the cache and the Management token's keeper, not Auth0.

use std::borrow::Cow;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::domain::error::Sort;
use crate::domain::freshness::Moment;
use crate::domain::policy::{Caller, Policy, Rights};
use crate::domain::retry::whole_seconds;
use crate::domain::urgency::Flow;
use crate::management::Management;
use crate::telemetry::audit::Audit;
use crate::telemetry::{BudgetStanding, Counters};
use crate::user_token::UserTokens;

pub mod answers;
mod bounds;
mod connection;
mod handlers;
mod metrics;
pub mod pulse;
mod query;
mod rates;
mod reply;
mod room;
mod routes;
pub mod socket;
mod tally;
mod trail;
pub mod turnstile;
mod watched;

pub use routes::answer_openly;
pub use tally::Tally;

use answers::{
    CacheStatus, FailureStatus, ListenerStatus, LookupCounts, ManagementTokenStatus, ReloadAnswer,
    StatusAnswer, UpstreamFailure, UpstreamStatus,
};
use pulse::Beat;
use rates::Rates;
use room::{Place, Room, Seat};
use socket::SocketFile;
use tally::TurnedAway;
use trail::Origin;
use turnstile::{Turnstiles, step_back};

/// After an accept that failed for want of descriptors or memory: give the other connections time to end.
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// What happens with every other connection is worth one line a minute.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// At the end, when nobody can find the socket any more: for how long the kernel's queue has to be empty before
/// there is nobody left in it. Whoever is between finding the file and joining the queue takes microseconds.
const AFTER_THE_LAST_COMER: Duration = Duration::from_millis(10);

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
    /// Where connections of one uid go one after the other.
    pub turnstiles: Turnstiles,
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
    pub listener: UnixListener,
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

/// What goes for a listener's callers. Replaced as a whole where the configuration changes, and for connections that are
/// open with their next request.
#[derive(Debug)]
pub struct ListenerTerms {
    policy: Policy,
    rates: Arc<Rates>,
    require_request_header: bool,
}

impl ListenerTerms {
    /// These rules, under which nobody has asked for anything yet.
    pub fn new(policy: Policy, require_request_header: bool) -> Arc<Self> {
        Arc::new(Self { policy, rates: Arc::default(), require_request_header })
    }
}

impl Services {
    fn next_request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{:08x}-{number:x}", self.run_id)
    }

    fn is_draining(&self) -> bool {
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
        sentence.push_str(&format!("; {} users remembered", self.cache.size().0));
        match from_cache.saturating_mul(100).checked_div(all) {
            Some(share) => sentence.push_str(&format!("; {all} lookups, {share} % of them from the cache")),
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

/// Who is at the other end of a connection, and what goes for it on its listener.
struct Peer {
    rights: Rights,
    rates: Arc<Rates>,
    require_request_header: bool,
    origin: Origin,
}

/// The other end of a connection over time: what goes for it may change from one request to the next.
struct Visitor {
    caller: Caller,
    origin: Origin,
    now: Mutex<(watch::Receiver<Arc<ListenerTerms>>, Arc<Peer>)>,
}

impl Visitor {
    fn new(caller: Caller, origin: Origin, mut terms: watch::Receiver<Arc<ListenerTerms>>) -> Self {
        let peer = Peer::new(caller, &origin, &terms.borrow_and_update());
        Self { caller, origin, now: Mutex::new((terms, peer)) }
    }

    /// As it is for a request that begins now.
    fn peer(&self) -> Arc<Peer> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (terms, peer) = &mut *now;
        if terms.has_changed().unwrap_or(false) {
            *peer = Peer::new(self.caller, &self.origin, &terms.borrow_and_update());
        }
        Arc::clone(peer)
    }
}

impl Peer {
    fn new(caller: Caller, origin: &Origin, terms: &ListenerTerms) -> Arc<Self> {
        Arc::new(Self {
            rights: terms.policy.rights(caller),
            rates: Arc::clone(&terms.rates),
            require_request_header: terms.require_request_header,
            origin: origin.clone(),
        })
    }

    /// In whose turns Auth0 is asked for it.
    fn flow(&self) -> Flow {
        self.rights.caller().into()
    }
}

/// Accepts and serves connections until the daemon's end closes them. Returns when the last one is done.
pub async fn serve(listening: Listening, services: Arc<Services>) {
    let Listening { listener, file, mut beat, max_connections, terms, info } = listening;
    let mut door = Door {
        listener,
        room: Room::new(max_connections),
        terms: terms.clone(),
        tally: Arc::clone(&services.tally),
        full: Seldom::default(),
        short: Seldom::default(),
    };
    let mut phase = services.phase.clone();
    let mut connections = JoinSet::new();
    let name: Arc<str> = info.path.display().to_string().into();
    let start = |Guest { stream, caller, seat }| {
        let (services, open) = (Arc::clone(&services), Open::new(&info));
        let origin = Origin::new(Arc::clone(&name), &stream);
        let visitor = Visitor::new(caller, origin, terms.clone());
        async move {
            connection::serve(stream, visitor, services).await;
            drop((seat, open));
        }
    };
    loop {
        tokio::select! {
            guest = door.next() => connections.spawn(start(guest)),
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
        while let Some(guest) = door.next_of_the_last().await {
            connections.spawn(start(guest));
        }
    }
    drop(door);
    while connections.join_next().await.is_some() {}
}

/// Where connections come in.
struct Door {
    listener: UnixListener,
    room: Arc<Room>,
    terms: watch::Receiver<Arc<ListenerTerms>>,
    tally: Arc<Tally>,
    /// Says that there is no room for somebody.
    full: Seldom,
    /// Says that descriptors or memory are short. That lasts longer than any one wait for a connection does: each
    /// caller that leaves makes room for the next, and then it is short again.
    short: Seldom,
}

/// Somebody who is in.
struct Guest {
    stream: UnixStream,
    caller: Caller,
    seat: Seat,
}

impl Door {
    /// The next connection for which there is room. Room first, and only then a connection: those that have to
    /// wait do so in the kernel's queue. May be dropped at any time.
    async fn next(&mut self) -> Guest {
        loop {
            let place = self.room.place().await;
            // There may be any number of them, and those who are in are waiting. Nobody is dropped here: nobody has
            // been accepted.
            step_back().await;
            let (stream, caller) = self.accept().await;
            if let Some(guest) = self.admit(place, stream, caller) {
                return guest;
            }
        }
    }

    /// The same until nobody has come for a moment.
    async fn next_of_the_last(&mut self) -> Option<Guest> {
        loop {
            let place = self.room.place().await;
            let last = tokio::time::timeout(AFTER_THE_LAST_COMER, self.accept());
            let (stream, caller) = last.await.ok()?;
            if let Some(guest) = self.admit(place, stream, caller) {
                return Some(guest);
            }
        }
    }

    fn admit(&mut self, place: Place, stream: UnixStream, caller: Caller) -> Option<Guest> {
        let standing = self.terms.borrow().policy.standing(caller);
        let seat = self.room.seat(place, caller, standing);
        if seat.is_none() {
            self.tally.turned_away(TurnedAway::Limit);
            if self.full.is_due() {
                tracing::warn!(
                    uid = caller.uid,
                    "A connection is closed at once: its uid has too many, or those of other uids together"
                );
            }
        }
        seat.map(|seat| Guest { stream, caller, seat })
    }

    /// The next connection and who is at its other end. Cannot fail: one caller's trouble is its own, and running
    /// out of descriptors pauses the loop but never ends it.
    async fn accept(&mut self) -> (UnixStream, Caller) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    self.tally.turned_away(TurnedAway::Resources);
                    if self.short.is_due() {
                        tracing::warn!(%error, "No connection can be accepted; trying again");
                    }
                    tokio::time::sleep(AFTER_A_FAILED_ACCEPT).await;
                    continue;
                }
            };
            match stream.peer_cred() {
                Ok(peer) => return (stream, Caller { uid: peer.uid(), gid: peer.gid() }),
                Err(error) => {
                    self.tally.turned_away(TurnedAway::Unnamed);
                    tracing::warn!(%error, "A connection whose caller the kernel does not name is closed");
                }
            }
        }
    }
}

/// Says something at most once a minute.
#[derive(Default)]
struct Seldom(Option<Instant>);

impl Seldom {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0.is_none_or(|last| now.duration_since(last) >= BETWEEN_LINES);
        if due {
            self.0 = Some(now);
        }
        due
    }
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

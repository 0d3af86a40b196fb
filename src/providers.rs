//! The client of identity providers: redeems refresh tokens at their token endpoints.
//!
//! Each host has a rate and a breaker of its own, so that a provider's trouble is that provider's alone. A connection
//! whose client is refused is asked again only now and then, whatever the number of its users.

mod answer_body;
mod host;
mod standing;
mod turns;
pub mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::clock::Clock;
use crate::config::{self, Connection, Refresh};
use crate::domain::freshness::Moment;
use crate::domain::priority::Flow;
use crate::domain::retry::Backoff;
use crate::domain::source::{
    Processed, Redemption, Rotation, Source, SourceFailure, SourceFault, SourceProblem,
};
use crate::flight::Owners;
use crate::secret::Secret;
use crate::telemetry::outage_log::OutageLog;
use crate::telemetry::{Counters, SourceOutcome};
use crate::transport::response::Timing;
use crate::transport::{Seen, Transport};

use host::{Closed, Host, UNSTATED_WAIT};
use standing::{Standing, Turn};
use turns::{HostAccess, NoTurn, Waiting};

/// Waits between attempts of one redemption. They share `providers.request_timeout`, so the waits are short.
const BETWEEN_ATTEMPTS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

/// How often a redemption is repeated that has failed for a passing reason, where the refresh token cannot be lost.
const MOST_RETRIES: usize = 2;

/// A client of all identity providers. Cheap to clone.
#[derive(Clone)]
pub struct Providers(Arc<Inner>);

struct Inner {
    settings: RwLock<Arc<Settings>>,
    state: Mutex<State>,
    clock: Clock,
    counters: Arc<Counters>,
    random: Mutex<fastrand::Rng>,
}

/// What a reload may replace.
struct Settings {
    transport: Arc<dyn Transport>,
    request_timeout: Duration,
    requests_per_second: f64,
    burst: u32,
}

/// A host, and which of its outages were logged.
type KnownHost = (Host, Arc<OutageLog<SourceFailure>>);

#[derive(Default)]
struct State {
    hosts: HashMap<Arc<str>, KnownHost>,
    /// The state of each connection's client, by the connection's name.
    standings: HashMap<Arc<str>, Standing>,
    waiting: Waiting,
}

/// One redemption.
struct Order<'a> {
    providers: &'a Providers,
    settings: &'a Settings,
    connection: &'a Connection,
    refresh: &'a Arc<Refresh>,
    refresh_token: &'a Secret,
    for_whom: Owners<Flow>,
}

impl Settings {
    fn new(settings: &config::Providers, transport: Arc<dyn Transport>) -> Self {
        let config::Providers { request_timeout, requests_per_second, burst, .. } = *settings;
        Self { transport, request_timeout, requests_per_second, burst }
    }
}

impl Providers {
    /// A client that reaches providers through `transport`.
    pub fn new(
        settings: &config::Providers,
        transport: Arc<dyn Transport>,
        clock: Clock,
        counters: Arc<Counters>,
        seed: u64,
    ) -> Self {
        Self(Arc::new(Inner {
            settings: RwLock::new(Arc::new(Settings::new(settings, transport))),
            state: Mutex::default(),
            clock,
            counters,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        }))
    }

    /// Replaces the settings and the transport. Requests under way keep the previous ones. Every connection is asked
    /// again, also one whose client was refused.
    pub fn reconfigure(&self, settings: &config::Providers, transport: Arc<dyn Transport>) {
        let now = self.0.clock.now();
        let mut state = self.state();
        for (host, _) in state.hosts.values_mut() {
            host.resize(settings.requests_per_second, settings.burst, now);
        }
        state.standings.values_mut().for_each(Standing::release);
        drop(state);
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Settings::new(settings, transport));
    }

    /// [`Providers::redeem_for`] for the daemon itself.
    pub async fn redeem(
        &self,
        connection: &Connection,
        refresh: &Arc<Refresh>,
        refresh_token: &Secret,
    ) -> Redemption {
        self.redeem_for(Owners::only(Flow::Daemon), connection, refresh, refresh_token).await
    }

    /// Redeems `refresh_token` of a user of `connection`, at the turn of one of the flows in `for_whom`. Ends within
    /// `providers.request_timeout`, or half as much later if the other secret has to be tried. A refresh token that the
    /// provider may invalidate is sent once, unless the client was refused, which is no redemption.
    pub async fn redeem_for(
        &self,
        for_whom: Owners<Flow>,
        connection: &Connection,
        refresh: &Arc<Refresh>,
        refresh_token: &Secret,
    ) -> Redemption {
        let settings = Arc::clone(&self.0.settings.read().unwrap_or_else(PoisonError::into_inner));
        let deadline = Instant::now() + settings.request_timeout;
        let (seed, now) = (self.draw(), self.0.clock.now());
        let turn = self.state().standing(connection, refresh).turn(seed, now);
        if let Turn::Held(fault) = turn {
            return Redemption::Misconfigured(fault);
        }
        let is_repeatable = refresh.rotation != Rotation::Single;
        let mut waits =
            BETWEEN_ATTEMPTS.waits(self.draw()).take(if is_repeatable { MOST_RETRIES } else { 0 });
        let order =
            Order { providers: self, settings: &settings, connection, refresh, refresh_token, for_whom };
        loop {
            let redemption = self.attempt(&order, deadline, turn == Turn::Trial).await;
            let Redemption::Failed { failure, processed, .. } = &redemption else { return redemption };
            let is_repeated =
                is_an_outage(failure, *processed) && !matches!(failure, SourceFailure::Malformed { .. });
            let next = waits.next().filter(|_| is_repeated).map(|wait| Instant::now() + wait);
            match next.filter(|next| *next < deadline) {
                Some(next) => sleep_until(next).await,
                None => return redemption,
            }
        }
    }

    /// What [`Providers::redeem`] would return without a request, because the connection's client is refused or its host
    /// has failed. Known before anything is stored for a redemption.
    pub fn would_hold(&self, connection: &Connection, refresh: &Arc<Refresh>) -> Option<SourceProblem> {
        let now = self.0.clock.now();
        let mut state = self.state();
        let standing = state.known_standing(connection, refresh);
        if let Some(fault) = standing.and_then(|standing| standing.held(now)) {
            return Some(SourceProblem::Misconfigured(fault));
        }
        let (host, _) = state.hosts.get(refresh.token_endpoint.host())?;
        let Closed { failure, retry_after } = host.closed(now)?;
        Some(SourceProblem::Unavailable { failure, retry_after })
    }

    /// Why the connection's client is refused, if it is known to be.
    pub fn fault(&self, connection: &Connection, refresh: &Arc<Refresh>) -> Option<SourceFault> {
        self.state().known_standing(connection, refresh).and_then(|standing| standing.fault())
    }

    /// When `host` gave an answer last, on the elapsed clock; `None` if it has failed since, or was not asked.
    pub fn last_answer(&self, host: &str) -> Option<Duration> {
        self.state().hosts.get(host).and_then(|(host, _)| host.last_answer())
    }

    /// Sends the refresh token with the connection's secret that is known to work, and with the other one if the client
    /// is refused.
    async fn attempt(&self, order: &Order<'_>, deadline: Instant, is_trial: bool) -> Redemption {
        let Order { settings, connection, refresh, refresh_token, .. } = *order;
        let mut secrets = self.state().standing(connection, refresh).secrets(refresh);
        let mut first = None;
        while let Some(number) = secrets.next() {
            let Some(secret) = refresh.secrets().nth(number).map(|(_, secret)| Arc::clone(secret)) else {
                break;
            };
            if let Err(redemption) = self.permit(order, deadline).await {
                return redemption;
            }
            // The client may have been refused while this request waited.
            let fault = self
                .state()
                .known_standing(connection, refresh)
                .and_then(|standing| standing.general_fault());
            if let Some(fault) = fault.filter(|_| !is_trial) {
                return Redemption::Misconfigured(fault);
            }
            // A request that is cut off may have been processed.
            let deadline = match first {
                None => deadline,
                Some(_) => deadline.max(Instant::now() + settings.request_timeout / 2),
            };
            let redemption = self.send(order, deadline, &secret).await;
            let is_refused = redemption_is(&redemption, SourceFault::ProviderClient);
            if is_refused && secrets.len() > 0 {
                first = Some(redemption);
                continue;
            }
            let redemption = if is_refused { first.unwrap_or(redemption) } else { redemption };
            let now = self.0.clock.now();
            let seed = self.draw();
            // After a reload, the client may be another one.
            if let Some(standing) = self.state().known_standing(connection, refresh) {
                standing.note(&connection.name, (number, refresh_token.hash()), &redemption, seed, now);
            }
            return redemption;
        }
        Redemption::Misconfigured(SourceFault::ProviderClient)
    }

    async fn send(&self, order: &Order<'_>, deadline: Instant, secret: &Secret) -> Redemption {
        let Order { settings, connection, refresh, refresh_token, .. } = *order;
        let host = refresh.token_endpoint.host();
        let Some(mut request) = wire::request(refresh, secret, refresh_token) else {
            return Redemption::Misconfigured(SourceFault::ProviderRequest);
        };
        let (seen, sent) = (Seen::new(), self.0.clock.now());
        request.extensions_mut().insert(seen.clone());
        // A connection that was kept open may turn out to be dead, and then it is not known whether the provider has
        // received the refresh token.
        let sending = match refresh.rotation {
            Rotation::Single => settings.transport.send_anew(request),
            Rotation::None | Rotation::KeepOld => settings.transport.send(request),
        };
        let answer = timeout_at(deadline, sending).await;
        let received = self.0.clock.now();
        let redemption = match answer {
            Ok(Ok(answer)) => wire::redemption(refresh, &answer, Timing { sent, received }),
            Ok(Err(failure)) => wire::failed(host, &failure, seen.has_connected()),
            Err(_) => wire::timed_out(host, seen.has_connected()),
        };
        self.note(settings, connection, host, redemption, sent, received)
    }

    /// A permit for one request to `host`. The error is the outcome of a redemption that is not sent. The wait leaves half
    /// of the time until `deadline` to the request, because one that is cut off may have been processed.
    async fn permit(&self, order: &Order<'_>, deadline: Instant) -> Result<(), Redemption> {
        let (settings, host) = (order.settings, order.refresh.token_endpoint.host());
        let latest = deadline - settings.request_timeout / 2;
        let held =
            |failure, retry_after| Redemption::Failed { failure, retry_after, processed: Processed::No };
        let closed = |closed: Closed| held(closed.failure, closed.retry_after);
        turns::turn(order, order.for_whom.clone(), latest).await.map_err(|why| match why {
            NoTurn::Closed(why) => closed(why),
            NoTurn::Busy(wait) => held(SourceFailure::Throttled { host: Arc::clone(host) }, wait),
        })?;
        let (seed, now) = (self.draw(), self.0.clock.now());
        self.state().host(settings, host, now).admit(seed, now).map_err(closed)
    }

    /// Counts an outcome, and notes what it says about the host. Returns it, with the time after which a retry can help.
    fn note(
        &self,
        settings: &Settings,
        connection: &Connection,
        host: &Arc<str>,
        mut redemption: Redemption,
        sent: Moment,
        received: Moment,
    ) -> Redemption {
        let seed = self.draw();
        let mut state = self.state();
        let (known, outages) = state.known(settings, host, received);
        let outcome = match &mut redemption {
            Redemption::Issued { .. } => SourceOutcome::Issued,
            Redemption::Over(_) => SourceOutcome::Over,
            Redemption::Misconfigured(_) => SourceOutcome::Misconfigured,
            Redemption::Failed {
                failure: failure @ SourceFailure::Throttled { .. }, retry_after, ..
            } => {
                let asks = Some(*retry_after).filter(|asks| !asks.is_zero());
                *retry_after = known.throttles(failure, asks, received);
                SourceOutcome::Throttled
            }
            Redemption::Failed { failure, retry_after, processed } => {
                let wait = match is_an_outage(failure, *processed) {
                    true => known.fails(failure, seed, received),
                    false => UNSTATED_WAIT,
                };
                *retry_after = (*retry_after).max(wait);
                if known.is_out() && outages.fails(failure, received) {
                    tracing::warn!(why = %failure, "A provider renews no tokens");
                }
                SourceOutcome::Failed
            }
        };
        if !matches!(redemption, Redemption::Failed { .. }) && known.works(received) && outages.ends() {
            tracing::info!(%host, "The provider renews tokens again");
        }
        drop(state);
        let took = sent.age(received);
        self.0.counters.sources.answered(Source::Refresh, &connection.name, outcome, took);
        redemption
    }

    fn draw(&self) -> u64 {
        self.0.random.lock().unwrap_or_else(PoisonError::into_inner).u64(..)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostAccess for Order<'_> {
    fn with<R>(&self, act: impl FnOnce(&mut Host, &mut Waiting, Moment) -> R) -> R {
        let (now, mut state) = (self.providers.0.clock.now(), self.providers.state());
        let State { hosts, waiting, .. } = &mut *state;
        let (host, _) = known(hosts, self.settings, self.refresh.token_endpoint.host(), now);
        act(host, waiting, now)
    }
}

impl State {
    fn host(&mut self, settings: &Settings, host: &Arc<str>, now: Moment) -> &mut Host {
        &mut self.known(settings, host, now).0
    }

    /// The host, and which of its outages were logged.
    fn known(&mut self, settings: &Settings, host: &Arc<str>, now: Moment) -> &mut KnownHost {
        known(&mut self.hosts, settings, host, now)
    }

    /// The state of the connection's client, if it is still the connection's client.
    fn known_standing(&mut self, connection: &Connection, refresh: &Arc<Refresh>) -> Option<&mut Standing> {
        self.standings.get_mut(&connection.name).filter(|standing| standing.is_of(refresh))
    }

    /// The state of the connection's client, which begins anew if the client is another one.
    fn standing(&mut self, connection: &Connection, refresh: &Arc<Refresh>) -> &mut Standing {
        let standing = self.standings.entry(Arc::clone(&connection.name));
        let standing = standing.or_insert_with(|| Standing::new(refresh));
        if !standing.is_of(refresh) {
            *standing = Standing::new(refresh);
        }
        standing
    }
}

fn known<'a>(
    hosts: &'a mut HashMap<Arc<str>, KnownHost>,
    settings: &Settings,
    host: &Arc<str>,
    now: Moment,
) -> &'a mut KnownHost {
    let new = || (Host::new(settings.requests_per_second, settings.burst, now), Arc::default());
    hosts.entry(Arc::clone(host)).or_insert_with(new)
}

/// Whether it is the host that failed, and not this request alone, so that others are likely to fail as well.
fn is_an_outage(failure: &SourceFailure, processed: Processed) -> bool {
    processed == Processed::Unknown
        || matches!(failure, SourceFailure::Unreachable { .. } | SourceFailure::TimedOut { .. })
}

fn redemption_is(redemption: &Redemption, fault: SourceFault) -> bool {
    matches!(redemption, Redemption::Misconfigured(known) if *known == fault)
}

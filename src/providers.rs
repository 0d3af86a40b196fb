//! The client of identity providers: redeems refresh tokens at their token endpoints.
//!
//! Each host has a rate and a breaker of its own, so that a provider's trouble is that provider's alone. A connection
//! whose client is refused is asked again only now and then, whatever the number of its users.

mod host;
mod standing;
pub mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::clock::Clock;
use crate::config::{self, Connection, Refresh};
use crate::domain::freshness::Moment;
use crate::domain::retry::Backoff;
use crate::domain::source::{Processed, Redemption, Rotation, Source, SourceFailure, SourceFault};
use crate::secret::Secret;
use crate::telemetry::{Counters, SourceOutcome};
use crate::transport::Transport;
use crate::transport::response::Timing;

use host::{Admission, Host};
use standing::Standing;

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

#[derive(Default)]
struct State {
    hosts: HashMap<Arc<str>, Host>,
    /// The state of each connection's client, by the connection's name.
    standings: HashMap<Arc<str>, Standing>,
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
        for host in state.hosts.values_mut() {
            host.resize(settings.requests_per_second, settings.burst, now);
        }
        state.standings.values_mut().for_each(Standing::release);
        drop(state);
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Settings::new(settings, transport));
    }

    /// Redeems `refresh_token` of a user of `connection`. Ends within `providers.request_timeout`. A refresh token that
    /// the provider may invalidate is sent once, unless the client was refused, which is no redemption.
    pub async fn redeem(
        &self,
        connection: &Connection,
        refresh: &Arc<Refresh>,
        refresh_token: &Secret,
    ) -> Redemption {
        let settings = Arc::clone(&self.0.settings.read().unwrap_or_else(PoisonError::into_inner));
        let deadline = Instant::now() + settings.request_timeout;
        let is_repeatable = refresh.rotation != Rotation::Single;
        let mut waits =
            BETWEEN_ATTEMPTS.waits(self.draw()).take(if is_repeatable { MOST_RETRIES } else { 0 });
        loop {
            let redemption = self.attempt(&settings, deadline, connection, refresh, refresh_token).await;
            let Redemption::Failed { failure, .. } = &redemption else { return redemption };
            let passes =
                !matches!(failure, SourceFailure::Throttled { .. } | SourceFailure::Malformed { .. });
            let next = waits.next().filter(|_| passes).map(|wait| Instant::now() + wait);
            match next.filter(|next| *next < deadline) {
                Some(next) => sleep_until(next).await,
                None => return redemption,
            }
        }
    }

    /// Why the connection's client is refused, if it is.
    pub fn fault(&self, connection: &str) -> Option<SourceFault> {
        self.state().standings.get(connection).and_then(Standing::fault)
    }

    /// Sends the refresh token with the connection's secret that is known to work, and with the other one if the client
    /// is refused.
    async fn attempt(
        &self,
        settings: &Settings,
        deadline: Instant,
        connection: &Connection,
        refresh: &Arc<Refresh>,
        refresh_token: &Secret,
    ) -> Redemption {
        let held = self.state().standing(connection, refresh).holds(self.draw(), self.0.clock.now());
        if let Some(fault) = held {
            return Redemption::Misconfigured(fault);
        }
        let mut secrets = self.state().standing(connection, refresh).secrets(refresh);
        let mut first = None;
        while let Some(number) = secrets.next() {
            let Some(secret) = refresh.secrets().nth(number).map(|(_, secret)| Arc::clone(secret)) else {
                break;
            };
            let redemption = self.send(settings, deadline, connection, refresh, &secret, refresh_token).await;
            let is_refused = redemption_is(&redemption, SourceFault::ProviderClient);
            if is_refused && secrets.len() > 0 {
                first = Some(redemption);
                continue;
            }
            let redemption = if is_refused { first.unwrap_or(redemption) } else { redemption };
            let now = self.0.clock.now();
            let seed = self.draw();
            self.state().standing(connection, refresh).note(&connection.name, number, &redemption, seed, now);
            return redemption;
        }
        Redemption::Misconfigured(SourceFault::ProviderClient)
    }

    async fn send(
        &self,
        settings: &Settings,
        deadline: Instant,
        connection: &Connection,
        refresh: &Refresh,
        secret: &Secret,
        refresh_token: &Secret,
    ) -> Redemption {
        let host = refresh.token_endpoint.host();
        if let Err(closed) = self.permit(settings, host, deadline).await {
            return closed;
        }
        let Some(request) = wire::request(refresh, secret, refresh_token) else {
            return Redemption::Misconfigured(SourceFault::ProviderRequest);
        };
        let sent = self.0.clock.now();
        let answer = timeout_at(deadline, settings.transport.send(request)).await;
        let received = self.0.clock.now();
        let redemption = match answer {
            Ok(Ok(answer)) => wire::redemption(refresh, &answer, Timing { sent, received }),
            Ok(Err(failure)) => wire::failed(host, &failure),
            Err(_) => wire::timed_out(host),
        };
        self.note(settings, connection, host, redemption, sent, received)
    }

    /// A permit for one request to `host`. The error is the outcome of a redemption that is not sent.
    async fn permit(
        &self,
        settings: &Settings,
        host: &Arc<str>,
        deadline: Instant,
    ) -> Result<(), Redemption> {
        loop {
            let (seed, now) = (self.draw(), self.0.clock.now());
            let admission = self.state().host(settings, host, now).admits(seed, now);
            let (failure, retry_after) = match admission {
                Admission::Now => return Ok(()),
                Admission::Later(wait) => match Some(Instant::now() + wait).filter(|at| *at < deadline) {
                    Some(at) => {
                        sleep_until(at).await;
                        continue;
                    }
                    None => (SourceFailure::Throttled { host: Arc::clone(host) }, wait),
                },
                Admission::Closed { failure, retry_after } => (failure, retry_after),
            };
            return Err(Redemption::Failed { failure, retry_after, processed: Processed::No });
        }
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
        let known = state.host(settings, host, received);
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
            Redemption::Failed { failure, retry_after, .. } => {
                *retry_after = (*retry_after).max(known.fails(failure, seed, received));
                SourceOutcome::Failed
            }
        };
        if !matches!(redemption, Redemption::Failed { .. }) {
            known.works();
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

impl State {
    fn host(&mut self, settings: &Settings, host: &Arc<str>, now: Moment) -> &mut Host {
        let new = || Host::new(settings.requests_per_second, settings.burst, now);
        self.hosts.entry(Arc::clone(host)).or_insert_with(new)
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

fn redemption_is(redemption: &Redemption, fault: SourceFault) -> bool {
    matches!(redemption, Redemption::Misconfigured(known) if *known == fault)
}

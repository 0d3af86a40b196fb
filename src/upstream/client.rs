//! The client of a tenant: requests a Management token and reads users, within the budget.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use hyper::{Method, Request, StatusCode};

use crate::clock::Clock;
use crate::config::{self, Client, Credential, Tenant};
use crate::domain::error::{Failure, FailureClass, Stage, UNSENDABLE, Unavailable};
use crate::domain::freshness::Moment;
use crate::domain::priority::Priority;
use crate::domain::retry::Backoff;
use crate::domain::source::SourceOrders;
use crate::domain::user::UserId;
use crate::secret::{Secret, TagKey};
use crate::telemetry::Counters;
use crate::telemetry::outage_log::OutageLog;
use crate::transport::Transport;
use crate::transport::bearer;
use crate::transport::response::{Answer, Timing};

use super::budget::{Budget, BudgetPermit};
use super::credentials::Credentials;
use super::discovery::KnownEndpoint;
use super::pace::BudgetError;
use super::wire::{self, AGENT, UserAnswer};

/// Waits between attempts for one user. They share `tenant.request_timeout`, so the waits are short.
pub(super) const BETWEEN_ATTEMPTS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// How long a client should wait before it asks again, where Auth0 does not say.
pub(super) const fn ask_again_after(class: FailureClass) -> Duration {
    match class {
        FailureClass::Passing | FailureClass::Throttled => Duration::from_secs(2),
        FailureClass::Malformed => Duration::from_secs(5),
        FailureClass::Permanent => Duration::from_secs(30),
    }
}

/// The issuer of a tenant's domain, with a slash at its end. The default port of https is not part of it.
pub(super) fn own_issuer(domain: &str) -> String {
    format!("https://{}/", domain.strip_suffix(":443").unwrap_or(domain))
}

/// The endpoint of a tenant that a request goes to.
#[derive(Clone, Copy)]
pub(super) enum Endpoint {
    Token,
    Exchange,
    User,
    Keys,
    Discovery,
    /// A client's own call, of any path of the Management API.
    ManagementApi,
}

impl Endpoint {
    /// Its value of the metrics' label `endpoint`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Exchange => "exchange",
            Self::User => "user",
            Self::Keys => "keys",
            Self::Discovery => "discovery",
            Self::ManagementApi => "management_api",
        }
    }
}

/// A client of one Auth0 tenant. Cheap to clone.
#[derive(Clone)]
pub struct Auth0(pub(super) Arc<ClientInner>);

pub(super) struct ClientInner {
    pub domain: Arc<str>,
    pub audience: Arc<str>,
    reloadable: RwLock<Arc<ClientSettings>>,
    /// The last credentials that Auth0 accepted, as long as it has not accepted the ones that replaced them.
    previous: Mutex<Option<Credentials>>,
    pub clock: Clock,
    pub tags: TagKey,
    pub counters: Arc<Counters>,
    /// Outages of reading users. The Management token's keeper logs its own.
    user_outages: OutageLog,
    /// Outages of reading the key set.
    pub key_outages: OutageLog,
    pub budget: Budget,
    /// The budget of exchanges at Token Vault.
    exchange_budget: Budget,
    random: Mutex<fastrand::Rng>,
}

/// What a reload may replace. A request uses one version of it from its beginning to its end.
pub(super) struct ClientSettings {
    pub transport: Arc<dyn Transport>,
    /// In the order in which they are tried; never empty.
    pub credentials: Vec<Credentials>,
    /// `tenant.client.token_host`.
    pub token_host: Option<Arc<str>>,
    /// The token endpoint for clients with a certificate, once it was read.
    pub token_endpoint: KnownEndpoint,
    pub request_timeout: Duration,
    pub max_retries: u32,
    /// Where the tokens of each connection come from.
    orders: SourceOrders,
}

impl ClientSettings {
    fn new(
        tenant: &Tenant,
        client: &Client,
        upstream: config::Upstream,
        transport: Arc<dyn Transport>,
        credentials: Vec<Credentials>,
        orders: SourceOrders,
    ) -> Arc<Self> {
        Arc::new(Self {
            transport,
            credentials,
            token_host: client.token_host.clone(),
            token_endpoint: KnownEndpoint::default(),
            request_timeout: tenant.request_timeout,
            max_retries: upstream.max_retries,
            orders,
        })
    }
}

/// The parts that a tenant's client is built from, besides its settings.
pub struct Parts {
    /// Carries requests.
    pub transport: Arc<dyn Transport>,
    /// The time.
    pub clock: Clock,
    /// Names tokens.
    pub tags: TagKey,
    /// Counts requests.
    pub counters: Arc<Counters>,
    /// Where the tokens of each connection come from.
    pub orders: SourceOrders,
    /// Determines the jitter between attempts.
    pub seed: u64,
}

impl Auth0 {
    /// A client of `tenant` that authenticates as `client`.
    pub fn new(tenant: &Tenant, client: &Arc<Client>, upstream: config::Upstream, parts: Parts) -> Self {
        let Parts { transport, clock, tags, counters, orders, seed } = parts;
        let [budget, exchange_budget] = [(); 2].map(|()| Budget::new(upstream, clock.clone()));
        let credentials = Credentials::of(client, &transport, &[]);
        let reloadable = ClientSettings::new(tenant, client, upstream, transport, credentials, orders);
        let auth0 = Self(Arc::new(ClientInner {
            domain: Arc::clone(&tenant.domain),
            audience: Arc::clone(&tenant.audience),
            reloadable: RwLock::new(reloadable),
            previous: Mutex::default(),
            clock,
            tags,
            counters,
            user_outages: OutageLog::default(),
            key_outages: OutageLog::default(),
            budget,
            exchange_budget,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        }));
        auth0.note_certificate(client);
        auth0
    }

    /// A client of the same tenant that authenticates as `client`, and spends from the same budget.
    pub fn beside(&self, tenant: &Tenant, client: &Arc<Client>, upstream: config::Upstream) -> Self {
        let (inner, transport) = (&self.0, Arc::clone(&self.reloadable().transport));
        let credentials = Credentials::of(client, &transport, &[]);
        let orders = SourceOrders::default();
        let reloadable = ClientSettings::new(tenant, client, upstream, transport, credentials, orders);
        let auth0 = Self(Arc::new(ClientInner {
            domain: Arc::clone(&inner.domain),
            audience: Arc::clone(&inner.audience),
            reloadable: RwLock::new(reloadable),
            previous: Mutex::default(),
            clock: inner.clock.clone(),
            tags: inner.tags.clone(),
            counters: Arc::clone(&inner.counters),
            user_outages: OutageLog::default(),
            key_outages: OutageLog::default(),
            budget: inner.budget.clone(),
            exchange_budget: inner.exchange_budget.clone(),
            random: Mutex::new(fastrand::Rng::with_seed(self.draw())),
        }));
        auth0.note_certificate(client);
        auth0
    }

    /// Notes when the client's certificate expires, and logs if it cannot be used now.
    fn note_certificate(&self, client: &Client) {
        let (table, file) = (client.table.path(), client.table.keys().certificate_file);
        let Credential::TlsClientAuth(certificate) = &client.credential else {
            return self.0.counters.certificate_expires(table, None);
        };
        let (begins_at, expires_at) = (certificate.not_before(), certificate.not_after());
        self.0.counters.certificate_expires(table, Some(expires_at));
        match self.0.clock.tenant_wall() {
            now if now >= expires_at => {
                tracing::error!(%expires_at, "The client's certificate has expired: replace {file}");
            }
            now if now < begins_at => {
                tracing::error!(%begins_at, "The client's certificate is not valid yet: check {file} and this machine's clock");
            }
            _ => {}
        }
    }

    /// Replaces the settings, which are of the same tenant, and the transport. Requests under way keep the previous
    /// ones.
    pub fn reconfigure(
        &self,
        tenant: &Tenant,
        client: &Arc<Client>,
        upstream: config::Upstream,
        orders: SourceOrders,
        transport: Arc<dyn Transport>,
    ) {
        let mut previous = self.previous();
        let known: Vec<_> = self.reloadable().credentials.iter().chain(previous.iter()).cloned().collect();
        let credentials = Credentials::of(client, &transport, &known);
        let has_worked = credentials.iter().any(Credentials::have_worked);
        *previous = known.into_iter().find(|known| !has_worked && known.have_worked());
        drop(previous);
        let reloadable = ClientSettings::new(tenant, client, upstream, transport, credentials, orders);
        *self.0.reloadable.write().unwrap_or_else(PoisonError::into_inner) = reloadable;
        self.note_certificate(client);
        self.0.budget.reconfigure(upstream);
        self.0.exchange_budget.reconfigure(upstream);
    }

    /// `client`, sharing the credentials that are already in memory.
    pub fn known(&self, client: Arc<Client>) -> Arc<Client> {
        let (reloadable, previous) = (self.reloadable(), self.previous().clone());
        let known = reloadable.credentials.iter().chain(previous.as_ref());
        let known: Vec<_> = known.map(|known| known.credential().clone()).collect();
        Arc::new(Arc::unwrap_or_clone(client).sharing(&known))
    }

    pub(super) fn reloadable(&self) -> Arc<ClientSettings> {
        Arc::clone(&self.0.reloadable.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn previous(&self) -> MutexGuard<'_, Option<Credentials>> {
        self.0.previous.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time by the tenant's clock as far as it is known, and by this machine's elapsed clock.
    pub(super) fn tenant_moment(&self) -> Moment {
        Moment { wall: self.0.clock.tenant_wall(), ..self.0.clock.now() }
    }

    /// Requests `user` once, with `bearer` and a permit of the [`Budget`] that was acquired with this priority.
    pub async fn user(
        &self,
        user: &UserId,
        bearer: &Secret,
        permit: BudgetPermit,
        priority: Priority,
    ) -> Result<(UserAnswer, Moment), Failure> {
        let (inner, reloadable) = (&self.0, self.reloadable());
        inner.counters.user_requests.add();
        let request = || self.user_request(user, bearer).ok_or(Failure::Malformed { what: UNSENDABLE });
        let outcome = self.send(&reloadable, Endpoint::User, request, permit, priority).await.and_then(
            |(answer, timing)| {
                let parsed = wire::parse_user(&answer, user, timing, &inner.tags, &reloadable.orders)?;
                Ok((parsed, timing.sent))
            },
        );
        match &outcome {
            Ok(_) if inner.user_outages.ends() => tracing::info!("Users can be read again"),
            Ok(_) => {}
            Err(why) => self.user_read_failed(why),
        }
        outcome.inspect_err(|failure| self.failed(failure))
    }

    /// The budget that every request spends from, except for exchanges at Token Vault.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// The budget that requests to `endpoint` spend from.
    pub(super) fn budget_for(&self, endpoint: Endpoint) -> &Budget {
        match endpoint {
            Endpoint::Exchange => &self.0.exchange_budget,
            _ => &self.0.budget,
        }
    }

    /// Applies what the answer says about the tenant's limits. For a 429, returns for how long the gate is closed.
    pub(super) fn account_for(
        &self,
        endpoint: Endpoint,
        answer: &Answer,
        timing: Timing,
    ) -> Option<Duration> {
        // The other endpoints have rate limits of their own. A few grants a day and a few key sets an hour stay far
        // below them.
        let limit = answer
            .rate_limit(timing)
            .filter(|_| matches!(endpoint, Endpoint::User | Endpoint::ManagementApi));
        let chance = self.chance();
        let mut closed = None;
        self.budget_for(endpoint).learn(|pace, now| {
            if let Some(limit) = limit {
                pace.note_rate_limit(limit, now);
            }
            answer.quotas().into_iter().for_each(|quota| pace.note(quota, now));
            match answer.status {
                StatusCode::TOO_MANY_REQUESTS => {
                    closed = Some(pace.refused(answer.asks_to_wait(timing), chance, now));
                }
                _ => pace.admitted(),
            }
        });
        if let Some(wait) = closed {
            let seconds = wait.as_secs_f64();
            match endpoint {
                Endpoint::Exchange => {
                    tracing::warn!(
                        seconds,
                        "Token Vault's rate limit is reached; exchanges pause until it resets"
                    );
                }
                _ => {
                    tracing::warn!(
                        seconds,
                        "The tenant's rate limit is reached; requests pause until it resets"
                    );
                }
            }
        }
        closed
    }

    fn user_request(&self, user: &UserId, token: &Secret) -> Option<Request<Full<Bytes>>> {
        let authorization = bearer::header(token.into())?;
        Request::builder()
            .method(Method::GET)
            .uri(format!("https://{}{}", self.0.domain, wire::user_path(user)))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT)
            .header(AUTHORIZATION, authorization)
            .body(Full::default())
            .ok()
    }

    /// The next random number. Runs with equal seeds draw equal numbers.
    pub(super) fn draw(&self) -> u64 {
        self.0.random.lock().unwrap_or_else(PoisonError::into_inner).u64(..)
    }

    /// A random number between 0 and 1.
    pub(super) fn chance(&self) -> f64 {
        self.draw() as f64 / u64::MAX as f64
    }

    pub(super) fn user_read_failed(&self, why: &Failure) {
        if self.0.user_outages.fails(why, self.0.clock.now()) {
            tracing::warn!(%why, "Users cannot be read");
        }
    }

    pub(super) fn failed(&self, failure: &Failure) {
        self.0.counters.upstream_failed(self.0.clock.now().wall, failure.to_string());
    }
}

/// The failure of a request for which the budget gave no permit.
pub(super) fn budget_failure(error: BudgetError) -> Failure {
    match error {
        BudgetError::Gate(wait) => Failure::Throttled { retry_after: Some(wait) },
        BudgetError::Busy(retry_after) => Failure::OverBudget { retry_after },
    }
}

pub(super) fn unavailable(stage: Stage, failure: Failure) -> Unavailable {
    let retry_after = failure.asks_to_wait().unwrap_or(ask_again_after(failure.class()));
    Unavailable { stage, failure, retry_after }
}

//! Speaks to Auth0; the only place that knows it. Management tokens for `management`, profiles for `cache`, keys for
//! `user_token`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};

use crate::clock::Clock;
use crate::config::{self, Client, Tenant};
use crate::domain::error::{Failure, FailureClass, Stage, Unavailable};
use crate::domain::freshness::{Moment, Timestamp};
use crate::domain::priority::Priority;
use crate::domain::retry::Backoff;
use crate::domain::user::UserId;
use crate::management::{Grant, GrantSource, Granting};
use crate::secret::{Secret, TagKey};
use crate::telemetry::Counters;
use crate::telemetry::outage_log::OutageLog;

pub mod budget;
pub mod connect;
pub mod credentials;
mod dates;
mod descriptors;
mod fair_queue;
mod jwks;
mod lenient;
pub mod line;
mod no_proxy;
pub mod pace;
mod profiles;
mod reading;
pub mod resolver;
pub mod response;
mod sending;
pub mod tcp;
pub mod tls;
pub mod transport;
mod unreadable;
pub mod wire;
pub mod zeroize_io;

use budget::{Budget, BudgetError, Permit};
use credentials::Credentials;
use response::{Answer, Timing};
use transport::Transport;
use wire::UserAnswer;

pub use jwks::issuers;
pub use profiles::Profiles;

/// Tells Auth0's operators and the tenant's logs who asks.
const AGENT: &str = concat!("cloakroom/", env!("CARGO_PKG_VERSION"));

/// Between attempts for one user. They share `tenant.request_timeout`, so the waits are short.
const BETWEEN_ATTEMPTS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// When a caller may usefully ask again, where Auth0 does not say.
const fn ask_again_after(class: FailureClass) -> Duration {
    match class {
        FailureClass::Passing | FailureClass::Throttled => Duration::from_secs(2),
        FailureClass::Malformed => Duration::from_secs(5),
        FailureClass::Permanent => Duration::from_secs(30),
    }
}

/// What is asked of a tenant.
#[derive(Clone, Copy)]
enum Endpoint {
    Token,
    User,
    Keys,
}

impl Endpoint {
    /// As metrics name it.
    const fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::User => "user",
            Self::Keys => "keys",
        }
    }
}

/// A tenant of Auth0. Cheap to clone.
#[derive(Clone)]
pub struct Auth0(Arc<Inner>);

struct Inner {
    domain: Arc<str>,
    audience: Arc<str>,
    means: RwLock<Arc<Means>>,
    /// The credentials that worked last, while those that took their place have not worked yet.
    replaced: Mutex<Option<Credentials>>,
    clock: Clock,
    tags: TagKey,
    counters: Arc<Counters>,
    /// With reading users; the Management token's keeper tells its own.
    trouble: OutageLog,
    /// With reading the key set.
    keys_trouble: OutageLog,
    budget: Budget,
    random: Mutex<fastrand::Rng>,
}

/// What may change while the daemon runs. A request uses the same from its beginning to its end.
struct Means {
    transport: Arc<dyn Transport>,
    credentials: Credentials,
    request_timeout: Duration,
    max_retries: u32,
}

/// What a tenant's client is made of, besides its settings.
pub struct Parts {
    /// How requests travel.
    pub transport: Arc<dyn Transport>,
    /// The time.
    pub clock: Clock,
    /// Names tokens.
    pub tags: TagKey,
    /// Counts requests.
    pub counters: Arc<Counters>,
    /// Determines the jitter between attempts.
    pub seed: u64,
}

impl Auth0 {
    /// A client for `tenant`, that authenticates as `client`.
    pub fn new(tenant: &Tenant, client: &Arc<Client>, upstream: config::Upstream, parts: Parts) -> Self {
        let Parts { transport, clock, tags, counters, seed } = parts;
        let budget = Budget::new(upstream, clock.clone());
        let means = Means {
            transport,
            credentials: Credentials::new(client),
            request_timeout: tenant.request_timeout,
            max_retries: upstream.max_retries,
        };
        Self(Arc::new(Inner {
            domain: Arc::clone(&tenant.domain),
            audience: Arc::clone(&tenant.audience),
            means: RwLock::new(Arc::new(means)),
            replaced: Mutex::default(),
            clock,
            tags,
            counters,
            trouble: OutageLog::default(),
            keys_trouble: OutageLog::default(),
            budget,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        }))
    }

    /// From now on goes by these settings of the same tenant, and through `transport`. What is under way is finished as
    /// it was begun.
    pub fn reconfigure(
        &self,
        tenant: &Tenant,
        client: &Arc<Client>,
        upstream: config::Upstream,
        transport: Arc<dyn Transport>,
    ) {
        let before = self.means();
        let mut replaced = self.replaced();
        let credentials = if before.credentials.are_of(client) {
            before.credentials.clone()
        } else if let Some(again) = replaced.take_if(|replaced| replaced.are_of(client)) {
            again
        } else {
            if before.credentials.have_worked() {
                *replaced = Some(before.credentials.clone());
            }
            Credentials::new(client)
        };
        drop(replaced);
        let means = Means {
            transport,
            credentials,
            request_timeout: tenant.request_timeout,
            max_retries: upstream.max_retries,
        };
        *self.0.means.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(means);
        self.0.budget.reconfigure(upstream);
    }

    /// `client` as it is to be kept: with a secret that is in memory already, where it has the same.
    pub fn known(&self, client: Arc<Client>) -> Arc<Client> {
        let in_use = self.means().credentials.share(&client);
        let shared = in_use.or_else(|| self.replaced().as_ref().and_then(|replaced| replaced.share(&client)));
        shared.unwrap_or(client)
    }

    fn means(&self) -> Arc<Means> {
        Arc::clone(&self.0.means.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replaced(&self) -> MutexGuard<'_, Option<Credentials>> {
        self.0.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a Management token, within the budget: once, and once more with the credentials before these where
    /// these are refused and have never worked. Also tells Auth0's clock, where the answer does.
    pub async fn grant(&self) -> Result<(Grant, Option<Timestamp>), Failure> {
        let means = self.means();
        let outcome = self.grant_to(&means, &means.credentials).await;
        match &outcome {
            Ok(_) => {
                if !means.credentials.works() && self.replaced().take().is_some() {
                    tracing::info!("Auth0 accepts the client's new credentials");
                }
                outcome
            }
            Err(failure) if failure.class() == FailureClass::Permanent => {
                let replaced = self.replaced().clone();
                let Some(replaced) = replaced else { return outcome };
                let (why, second) = (failure.to_string(), self.grant_to(&means, &replaced).await);
                match &second {
                    Ok(_) => {
                        tracing::error!(
                            %why,
                            "Auth0 refuses the client's new credentials, and still accepts those before: check the new ones"
                        );
                        return second;
                    }
                    // They are over as well.
                    Err(failure) if failure.class() == FailureClass::Permanent => *self.replaced() = None,
                    Err(_) => {}
                }
                // What is wrong with the new ones is what counts.
                outcome
            }
            Err(_) => outcome,
        }
    }

    async fn grant_to(
        &self,
        means: &Means,
        credentials: &Credentials,
    ) -> Result<(Grant, Option<Timestamp>), Failure> {
        let inner = &self.0;
        let leave = inner.budget.acquire_for_itself(Priority::Management, means.request_timeout);
        let permit = leave.await.map_err(over)?;
        inner.counters.token_requests.add();
        let request = credentials.grant_request(&inner.domain, &inner.audience);
        let outcome = self
            .send(means, Endpoint::Token, request, permit, Priority::Management)
            .await
            .and_then(|(answer, exchange)| {
                let grant = wire::parse_grant(&answer, &inner.audience, exchange)?;
                Ok((grant, answer.date()))
            });
        match &outcome {
            Ok(_) => inner.counters.grants_succeeded.add(),
            Err(_) => inner.counters.grants_failed.add(),
        }
        outcome.inspect_err(|failure| self.failed(failure))
    }

    /// Asks for `user` once, with `bearer` and a leave of the [`Budget`] that was given for something of this priority.
    pub async fn user(
        &self,
        user: &UserId,
        bearer: &Secret,
        permit: Permit,
        priority: Priority,
    ) -> Result<(UserAnswer, Moment), Failure> {
        let (inner, means) = (&self.0, self.means());
        inner.counters.user_requests.add();
        let request = self.user_request(user, bearer);
        let outcome = self.send(&means, Endpoint::User, request, permit, priority).await.and_then(
            |(answer, exchange)| {
                let parsed = wire::parse_user(&answer, user, exchange, &inner.tags)?;
                Ok((parsed, exchange.sent))
            },
        );
        match &outcome {
            Ok(_) if inner.trouble.ends() => tracing::info!("Users can be read again"),
            Ok(_) => {}
            Err(why) => self.troubled(why),
        }
        outcome.inspect_err(|failure| self.failed(failure))
    }

    /// The budget that every request spends from.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// Takes what the answer says of the tenant's limits into account; if it is a 429, says for how long the gate
    /// is closed.
    fn account_for(&self, endpoint: Endpoint, answer: &Answer, exchange: Timing) -> Option<Duration> {
        // The others have rate limits of their own, which a few grants a day and key sets an hour do not come near.
        let limit = answer.rate_limit(exchange).filter(|_| matches!(endpoint, Endpoint::User));
        let chance = self.chance();
        let mut closed = None;
        self.0.budget.learn(|pace, now| {
            if let Some(limit) = limit {
                pace.left(limit, now);
            }
            answer.quotas().into_iter().for_each(|quota| pace.note(quota, now));
            match answer.status {
                StatusCode::TOO_MANY_REQUESTS => {
                    closed = Some(pace.refused(answer.asks_to_wait(exchange), chance, now));
                }
                _ => pace.admitted(),
            }
        });
        if let Some(wait) = closed {
            let seconds = wait.as_secs_f64();
            tracing::warn!(
                seconds,
                "The tenant's rate limit is reached; nothing is asked until it has passed"
            );
        }
        closed
    }

    fn user_request(&self, user: &UserId, bearer: &Secret) -> Option<Request<Full<Bytes>>> {
        let text = Secret::new(format!("Bearer {}", bearer.expose()));
        let mut authorization = HeaderValue::from_str(text.expose()).ok()?;
        authorization.set_sensitive(true);
        Request::builder()
            .method(Method::GET)
            .uri(format!("https://{}{}", self.0.domain, wire::user_path(user)))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT)
            .header(AUTHORIZATION, authorization)
            .body(Full::default())
            .ok()
    }

    /// A number that differs from one draw to the next, and not from one run with the same seed to another.
    fn draw(&self) -> u64 {
        self.0.random.lock().unwrap_or_else(PoisonError::into_inner).u64(..)
    }

    /// Between 0 and 1.
    fn chance(&self) -> f64 {
        self.draw() as f64 / u64::MAX as f64
    }

    fn troubled(&self, why: &Failure) {
        if self.0.trouble.fails(why, self.0.clock.now()) {
            tracing::warn!(%why, "Users cannot be read");
        }
    }

    fn failed(&self, failure: &Failure) {
        self.0.counters.upstream_failed(self.0.clock.now().wall, failure.to_string());
    }
}

impl GrantSource for Auth0 {
    fn grant(&self) -> Granting<'_> {
        Box::pin(async move { Self::grant(self).await.map(|(grant, _)| grant) })
    }
}

/// The failure that a want of leave is.
fn over(held: BudgetError) -> Failure {
    match held {
        BudgetError::Gate(wait) => Failure::Throttled { retry_after: Some(wait) },
        BudgetError::Busy(retry_after) => Failure::OverBudget { retry_after },
    }
}

fn unavailable(stage: Stage, failure: Failure) -> Unavailable {
    let retry_after = failure.asks_to_wait().unwrap_or(ask_again_after(failure.class()));
    Unavailable { stage, failure, retry_after }
}

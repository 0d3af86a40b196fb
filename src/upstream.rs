//! Speaks to Auth0; the only place that knows it. Management tokens for `management`, profiles for `cache`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use tokio::time::{Instant, timeout_at};

use crate::cache::{Fetched, Fetching, ProfileSource};
use crate::clock::Clock;
use crate::config::{Client, Tenant};
use crate::domain::error::{Failure, Sort, Stage, Unavailable};
use crate::domain::freshness::{Moment, Timestamp};
use crate::domain::retry::Backoff;
use crate::domain::user::UserId;
use crate::management::{Grant, GrantSource, Granting, Management, ManagementToken};
use crate::secret::{Secret, TagKey};
use crate::telemetry::Counters;
use crate::telemetry::trouble::Trouble;

pub mod connect;
pub mod credentials;
mod lenient;
pub mod tls;
pub mod transport;
pub mod wire;

use credentials::Credentials;
use transport::Transport;
use wire::{Answer, Exchange, UserAnswer};

/// Tells Auth0's operators and the tenant's logs who asks.
const AGENT: &str = concat!("cloakroom/", env!("CARGO_PKG_VERSION"));

/// Between attempts for one user. They share `tenant.request_timeout`, so the waits are short.
const BETWEEN_ATTEMPTS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// When a caller may usefully ask again, where Auth0 does not say.
const fn ask_again_after(sort: Sort) -> Duration {
    match sort {
        Sort::Passing | Sort::Throttled => Duration::from_secs(2),
        Sort::Malformed => Duration::from_secs(5),
        Sort::Permanent => Duration::from_secs(30),
    }
}

/// A tenant of Auth0. Cheap to clone.
#[derive(Clone)]
pub struct Auth0(Arc<Inner>);

struct Inner {
    transport: Arc<dyn Transport>,
    domain: Arc<str>,
    audience: Arc<str>,
    credentials: Credentials,
    request_timeout: Duration,
    max_retries: u32,
    clock: Clock,
    tags: TagKey,
    counters: Arc<Counters>,
    /// With reading users; the Management token's keeper tells its own.
    trouble: Trouble,
    seed: u64,
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
    pub fn new(tenant: &Tenant, client: &Client, max_retries: u32, parts: Parts) -> Self {
        let Parts { transport, clock, tags, counters, seed } = parts;
        Self(Arc::new(Inner {
            transport,
            domain: Arc::clone(&tenant.domain),
            audience: Arc::clone(&tenant.audience),
            credentials: Credentials::new(client),
            request_timeout: tenant.request_timeout,
            max_retries,
            clock,
            tags,
            counters,
            trouble: Trouble::default(),
            seed,
        }))
    }

    /// Asks for a Management token, once. Also tells Auth0's clock, where the answer does.
    pub async fn grant(&self) -> Result<(Grant, Option<Timestamp>), Failure> {
        let inner = &self.0;
        inner.counters.token_requests.add();
        let outcome = self.send(self.grant_request()).await.and_then(|(answer, exchange)| {
            let grant = wire::parse_grant(&answer, &inner.audience, exchange)?;
            Ok((grant, answer.date()))
        });
        outcome.inspect_err(|failure| self.failed(failure))
    }

    /// Asks for `user` once, with `bearer`.
    pub async fn user(&self, user: &UserId, bearer: &Secret) -> Result<(UserAnswer, Moment), Failure> {
        let inner = &self.0;
        inner.counters.user_requests.add();
        let outcome = self.send(self.user_request(user, bearer)).await.and_then(|(answer, exchange)| {
            let parsed = wire::parse_user(&answer, user, exchange, &inner.tags)?;
            Ok((parsed, exchange.sent))
        });
        match &outcome {
            Ok(_) if inner.trouble.ends() => tracing::info!("Users can be read again"),
            Ok(_) => {}
            Err(why) if inner.trouble.fails(why, inner.clock.now()) => {
                tracing::warn!(%why, "Users cannot be read");
            }
            Err(_) => {}
        }
        outcome.inspect_err(|failure| self.failed(failure))
    }

    /// `None` is a request that cannot be written, as with a token that is no header value.
    async fn send(&self, request: Option<Request<Full<Bytes>>>) -> Result<(Answer, Exchange), Failure> {
        let request =
            request.ok_or(Failure::Malformed { what: "a token that cannot be sent in a header" })?;
        let sent = self.0.clock.now();
        let answer = self.0.transport.send(request).await?;
        Ok((answer, Exchange { sent, received: self.0.clock.now() }))
    }

    fn grant_request(&self) -> Option<Request<Full<Bytes>>> {
        let inner = &self.0;
        let proof = inner.credentials.proof();
        let fields = [("grant_type", "client_credentials"), ("audience", &*inner.audience)];
        let body = credentials::form(&fields, &proof);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{}/oauth/token", inner.domain))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT);
        if let Some(authorization) = proof.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::from(body)).ok()
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

    fn failed(&self, failure: &Failure) {
        self.0.counters.upstream_failed(self.0.clock.now().wall, failure.to_string());
    }
}

impl GrantSource for Auth0 {
    fn grant(&self) -> Granting<'_> {
        Box::pin(async move { Self::grant(self).await.map(|(grant, _)| grant) })
    }
}

/// Profiles from Auth0's Management API.
#[derive(Clone)]
pub struct Profiles {
    auth0: Auth0,
    management: Management,
    /// Varies the jitter from one fetch to the next.
    fetches: Arc<AtomicU64>,
}

impl Profiles {
    /// Asks `auth0` with the tokens that `management` keeps.
    pub fn new(auth0: Auth0, management: Management) -> Self {
        Self { auth0, management, fetches: Arc::default() }
    }

    /// Asks until there is an answer, the retries are used up, or `deadline` comes.
    async fn read(&self, user: &UserId, deadline: Instant) -> Result<Fetched, Unavailable> {
        let inner = &self.auth0.0;
        let fetch = self.fetches.fetch_add(1, Ordering::Relaxed);
        let mut waits =
            BETWEEN_ATTEMPTS.waits(inner.seed.wrapping_add(fetch)).take(inner.max_retries as usize);
        let mut token = self.bearer(deadline).await?;
        let mut renewed = false;
        loop {
            let failure = match timeout_at(deadline, self.auth0.user(user, token.token())).await {
                Ok(Ok((UserAnswer::User(profile), sent))) => {
                    return Ok(Fetched { profile, sent, tokens_withheld: token.tokens_withheld() });
                }
                Ok(Ok((UserAnswer::BearerRefused(refusal), _))) => {
                    // Once: it may have been revoked, or granted before its scopes were. If the next one is
                    // refused as well, tokens are not what is wrong.
                    if renewed || !self.management.refused(&token) {
                        return Err(unavailable(Stage::ManagementToken, Failure::Denied(refusal)));
                    }
                    renewed = true;
                    token = self.bearer(deadline).await?;
                    continue;
                }
                Ok(Err(failure)) => failure,
                Err(_) => return Err(unavailable(Stage::User, self.timed_out())),
            };
            let wait = if failure.sort() == Sort::Passing { waits.next() } else { None };
            let Some(next) = wait.map(|wait| Instant::now() + wait).filter(|next| *next < deadline) else {
                return Err(unavailable(Stage::User, failure));
            };
            tokio::time::sleep_until(next).await;
            token = self.bearer(deadline).await?;
        }
    }

    async fn bearer(&self, deadline: Instant) -> Result<Arc<ManagementToken>, Unavailable> {
        match timeout_at(deadline, self.management.bearer()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(unavailable(Stage::ManagementToken, self.timed_out())),
        }
    }

    fn timed_out(&self) -> Failure {
        Failure::TimedOut { host: Arc::clone(&self.auth0.0.domain) }
    }
}

impl ProfileSource for Profiles {
    fn fetch(&self, user: UserId) -> Fetching {
        let this = self.clone();
        let deadline = Instant::now() + this.auth0.0.request_timeout;
        Box::pin(async move { this.read(&user, deadline).await })
    }
}

fn unavailable(stage: Stage, failure: Failure) -> Unavailable {
    let retry_after = failure.asks_to_wait().unwrap_or(ask_again_after(failure.sort()));
    Unavailable { stage, failure, retry_after }
}

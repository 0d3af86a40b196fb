//! Clients' own calls of the Management API: the token of `[management_api]`, the tenant's budget, and what the answers
//! say about its limits.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::{Request, Response, StatusCode, Uri};
use tokio::time::{Instant, timeout, timeout_at};

use crate::cache::ForWhom;
use crate::config::{Client, Config};
use crate::domain::error::{Failure, Refusal, Stage, UNSENDABLE};
use crate::domain::freshness::Moment;
use crate::domain::priority::{Flow, Priority};
use crate::domain::retry::whole_seconds;
use crate::domain::source::SourceOrders;
use crate::domain::spacing::Spacing;
use crate::management::calls::{Called, Calling, ClosedGate, ManagementCallFailure, ManagementCalls};
use crate::management::{Management, ManagementSnapshot, ManagementToken, Purpose};
use crate::secret::Secret;
use crate::transport::bearer;
use crate::transport::response::Answer;
use crate::transport::streaming::{Opening, StreamBody, StreamingTransport};

use super::budget::BudgetPermit;
use super::client::{Auth0, Endpoint, unavailable};
use super::pace::BudgetError;
use super::sending::Counted;

/// Where the Management API begins.
const PREFIX: &str = "/api/v2";

/// The times between tokens that are dropped because a call was answered with 401. A client may be able to provoke that
/// answer, and each drop costs a grant.
const DROPS: Spacing =
    Spacing::new(Duration::from_secs(10), Duration::from_secs(600), Duration::from_secs(3600));

/// The client of the Management API that `[management_api]` describes. Cheap to clone; without that table it has no
/// keeper and sends nothing.
#[derive(Clone)]
pub struct ManagementApi(Arc<Inner>);

struct Inner {
    /// The client that reads users, whose budget calls spend from.
    tenant: Auth0,
    seed: u64,
    active: RwLock<Option<Arc<Active>>>,
}

/// What a call uses from its beginning to its end.
struct Active {
    client: Arc<Client>,
    auth0: Auth0,
    management: Management,
    transport: Arc<dyn StreamingTransport>,
    drops: Arc<Mutex<Spacing>>,
}

impl ManagementApi {
    /// The client for `config`, beside the one that reads users. `transport` is there with `[management_api]`. `seed`
    /// determines its keeper's jitter.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(
        tenant: Auth0,
        config: &Config,
        transport: Option<Arc<dyn StreamingTransport>>,
        seed: u64,
    ) -> Self {
        let this = Self(Arc::new(Inner { tenant, seed, active: RwLock::default() }));
        this.reconfigure(config, transport, false);
        this
    }

    /// Replaces the settings and the transport. Calls under way keep the previous ones. With `retry_now`, or with other
    /// credentials, the keeper makes its next attempt at once if the last one failed.
    pub fn reconfigure(
        &self,
        config: &Config,
        transport: Option<Arc<dyn StreamingTransport>>,
        retry_now: bool,
    ) {
        let before = self.active();
        let next = config.management_api.as_ref().zip(transport).map(|(client, transport)| {
            // Another application has other permissions, so its tokens are used from now on.
            let kept = before.as_ref().filter(|before| before.client.id == client.id);
            Arc::new(match kept {
                Some(kept) => kept.with(config, client, transport, retry_now),
                None => Active::start(&self.0, config, client, transport),
            })
        });
        *self.0.active.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// `client`, sharing the credentials that are already in memory.
    pub fn known(&self, client: Arc<Client>) -> Arc<Client> {
        match self.active() {
            Some(active) => active.auth0.known(client),
            None => client,
        }
    }

    /// Resolves if the first token that Auth0 issues shows users' tokens at identity providers, with the refusal. Never
    /// resolves otherwise, nor for an application that a reload brings.
    pub fn unfit_at_first(&self) -> impl Future<Output = Refusal> + Send + use<> {
        let first = self.active().map(|active| active.management.unfit_at_first());
        async move {
            match first {
                Some(first) => first.await,
                None => std::future::pending().await,
            }
        }
    }

    fn active(&self) -> Option<Arc<Active>> {
        self.0.active.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ManagementCalls for ManagementApi {
    fn call(&self, flow: Flow, request: Request<StreamBody>) -> Calling<'_> {
        let active = self.active();
        Box::pin(async move {
            match active {
                Some(active) => active.call(flow, request).await,
                None => Err(ManagementCallFailure::NotConfigured),
            }
        })
    }

    fn is_configured(&self) -> bool {
        self.active().is_some()
    }

    fn snapshot(&self, now: Moment) -> Option<ManagementSnapshot> {
        self.active().map(|active| active.management.snapshot(now))
    }
}

impl Active {
    fn start(
        inner: &Inner,
        config: &Config,
        client: &Arc<Client>,
        transport: Arc<dyn StreamingTransport>,
    ) -> Self {
        let auth0 = inner.tenant.beside(&config.tenant, client, config.upstream);
        let (source, clock) = (Arc::new(auth0.clone()), auth0.0.clock.clone());
        let management = Management::start_for(Purpose::Calls, source, config.management, clock, inner.seed);
        let drops = Arc::new(Mutex::new(DROPS));
        Self { client: Arc::clone(client), auth0, management, transport, drops }
    }

    /// This one with other settings and the same keeper.
    fn with(
        &self,
        config: &Config,
        client: &Arc<Client>,
        transport: Arc<dyn StreamingTransport>,
        retry_now: bool,
    ) -> Self {
        let through = Arc::clone(&self.auth0.reloadable().transport);
        self.auth0.reconfigure(&config.tenant, client, config.upstream, SourceOrders::default(), through);
        let has_other_credentials = !self.client.has_credentials_of(client);
        self.management.reconfigure(config.management, retry_now || has_other_credentials);
        Self {
            client: Arc::clone(client),
            auth0: self.auth0.clone(),
            management: self.management.clone(),
            transport,
            drops: Arc::clone(&self.drops),
        }
    }

    async fn call(&self, flow: Flow, request: Request<StreamBody>) -> Result<Called, ManagementCallFailure> {
        let (inner, wait) = (&*self.auth0.0, self.auth0.reloadable().request_timeout);
        let deadline = Instant::now() + wait;
        if let Some(wait) = inner.budget.standing(inner.clock.now()).gate_closed_for {
            return Err(self.closed_gate(wait));
        }
        let token = self.token(deadline).await?;
        let request = self.addressed(request, token.token())?;
        let left = deadline.saturating_duration_since(Instant::now());
        let permit = inner.budget.acquire(Priority::Proxied, ForWhom::only(flow), left).await;
        let permit = permit.map_err(|error| match error {
            BudgetError::Gate(wait) => self.closed_gate(wait),
            BudgetError::Busy(retry_after) => ManagementCallFailure::Busy { retry_after },
        })?;
        let sent = inner.clock.sends();
        let counted = Counted::begin(inner, Endpoint::ManagementApi, "abandoned");
        let outcome = within_permit(self.transport.open(request), permit, wait).await;
        counted.end(outcome.as_ref().map(Response::status));
        let answer = outcome.map_err(|failure| {
            self.auth0.failed(&failure);
            ManagementCallFailure::Failed(failure)
        })?;
        let head = Answer { status: answer.status(), headers: answer.headers().clone(), body: Bytes::new() };
        let timing = inner.timing(sent, &head);
        self.auth0.account_for(Endpoint::ManagementApi, &head, timing);
        // An edge or a proxy on the way answers in HTML, and knows nothing of the token.
        let is_refused = head.status == StatusCode::UNAUTHORIZED && head.is_json();
        let token_was_refused = is_refused && self.drops(&token);
        Ok(Called { answer, token, token_was_refused })
    }

    /// The token, which the keeper may have to obtain first.
    async fn token(&self, deadline: Instant) -> Result<Arc<ManagementToken>, ManagementCallFailure> {
        let outcome = match timeout_at(deadline, self.management.bearer()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let host = Arc::clone(&self.auth0.0.domain);
                Err(unavailable(Stage::ManagementToken, Failure::TimedOut { host }))
            }
        };
        outcome.map_err(|why| match why.failure {
            Failure::Denied(refusal) if refusal.is_of_scopes() => ManagementCallFailure::Closed(refusal),
            _ => ManagementCallFailure::NoToken(why),
        })
    }

    /// The request as it goes out.
    fn addressed(
        &self,
        mut request: Request<StreamBody>,
        token: &Secret,
    ) -> Result<Request<StreamBody>, ManagementCallFailure> {
        let unsendable = || ManagementCallFailure::Failed(Failure::Malformed { what: UNSENDABLE });
        let tail = request.uri().path_and_query().map_or("/", |tail| tail.as_str());
        let uri = format!("https://{}{PREFIX}{tail}", self.auth0.0.domain);
        *request.uri_mut() = uri.parse::<Uri>().map_err(|_| unsendable())?;
        let authorization = bearer::header(token.into()).ok_or_else(unsendable)?;
        request.headers_mut().insert(AUTHORIZATION, authorization);
        Ok(request)
    }

    /// The failure of a call while the gate is closed for `wait`.
    fn closed_gate(&self, wait: Duration) -> ManagementCallFailure {
        let inner = &self.auth0.0;
        let now = inner.clock.now();
        let limit = inner.budget.standing(now).limit;
        let resets_at = now.wall.after(Duration::from_secs(whole_seconds(wait)));
        ManagementCallFailure::GateClosed(ClosedGate { retry_after: wait, limit, resets_at })
    }

    /// Drops `token`, which Auth0 refused. Returns whether another one is, or will be, there.
    fn drops(&self, token: &Arc<ManagementToken>) -> bool {
        let mut drops = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        // Another call may have dropped it.
        !self.management.is_current(token)
            || (drops.admits(self.auth0.0.clock.now()) && self.management.refused(token))
    }
}

/// Waits for `opening` and gives `permit` back then, or earlier after `longest`: a client that sends its body slowly is no
/// load for Auth0, and others wait for the permit.
async fn within_permit(
    opening: Opening<'_>,
    permit: BudgetPermit,
    longest: Duration,
) -> Result<Response<StreamBody>, Failure> {
    let mut opening = opening;
    if let Ok(outcome) = timeout(longest, &mut opening).await {
        return outcome;
    }
    drop(permit);
    opening.await
}

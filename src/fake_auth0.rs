//! The simulated tenant: answers as Auth0 does, fails on request, and remembers every call.
//!
//! `cloakroom demo` shows it to people and every test runs against it, so it is held to the wire: statuses,
//! bodies and headers are those that Auth0 documents or that SDKs recorded. [`Tenant::answer`] is the whole of it
//! without a socket, for tests in virtual time; [`Tenant::listen`] puts it behind TLS on loopback.
//!
//! It parses and decodes by itself what the daemon's own code parses and decodes: a mistake shared by both sides
//! would be seen by no test.

mod calls;
mod certificates;
mod fault;
mod keys;
mod limit;
mod listen;
mod management;
mod options;
mod reply;
mod state;
#[cfg(test)]
mod tests;
mod token;
pub mod users;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::secret::Secret;

pub use calls::{Call, Endpoint};
pub use certificates::CertificateKind;
pub use fault::{ExpiresIn, Fault, WaitHint};
pub use limit::RateLimit;
pub use listen::Listening;
pub use options::{ClientAuth, TenantOptions};
pub use reply::{Delivery, Reply};

use calls::Underway;
use certificates::Authority;
use fault::Plan;
use listen::Doors;
use state::State;

/// A simulated Auth0 tenant. Clones are the same tenant.
#[derive(Clone)]
pub struct Tenant(Arc<Inner>);

struct Inner {
    clock: Clock,
    authority: Authority,
    state: Mutex<State>,
    doors: Doors,
}

/// Why a tenant cannot be made or cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// No signing key could be drawn.
    #[error("no RSA key could be generated")]
    Key,
    /// No certificate could be made.
    #[error("no certificate could be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS does not like the certificate.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
    /// A token could not be signed.
    #[error("a token could not be signed: {0}")]
    Signature(#[from] jsonwebtoken::errors::Error),
}

impl Tenant {
    /// A tenant with the [sample users](users), whose tokens are alive by `clock` unless said otherwise.
    pub fn new(clock: Clock, options: TenantOptions) -> Result<Self, TenantError> {
        let state = State::new(options, clock.now())?;
        Ok(Self(Arc::new(Inner {
            clock,
            authority: Authority::new()?,
            state: Mutex::new(state),
            doors: Doors::default(),
        })))
    }

    /// Answers one request, after whatever delay the faults ask for. Waits on tokio's timers, so that virtual
    /// time works; a caller that drops the future is a client that hung up.
    pub async fn answer(&self, request: Request<Bytes>) -> Reply {
        let underway = self.begin(&request);
        let plan = self.state().faults.plan(underway.endpoint());
        if !plan.latency.is_zero() {
            tokio::time::sleep(plan.latency).await;
        }
        let reply = self.reply(&plan, underway.endpoint(), &request);
        if !plan.late.is_zero() {
            tokio::time::sleep(plan.late).await;
        }
        underway.answered(reply.visible_status());
        reply
    }

    fn begin(&self, request: &Request<Bytes>) -> Underway {
        let at = self.0.clock.now();
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let user = management::user_in_path(request.uri().path());
        let number = self.state().calls.begin(at, request.method(), path, user);
        Underway::new(self.clone(), number, Endpoint::of(request.uri().path()))
    }

    fn reply(&self, plan: &Plan, endpoint: Endpoint, request: &Request<Bytes>) -> Reply {
        let now = self.0.clock.now();
        let mut state = self.state();
        let host = host(request).map(str::to_owned).unwrap_or_else(|| state.domain());
        let mut response = match plan.instead(endpoint, request, now) {
            Some(response) => response,
            None => match endpoint {
                Endpoint::Token => token::answer(&mut state, plan, &host, request, now),
                Endpoint::User => management::answer(&mut state, &host, request, now),
                Endpoint::Keys => {
                    reply::json(StatusCode::OK, &state.keys.jwks(state.options.key_set_states_alg))
                }
                Endpoint::Discovery => reply::json(StatusCode::OK, &discovery(&host)),
                Endpoint::Other => reply::route_not_found(),
            },
        };
        plan.spoil(&mut response);
        reply::finish(&mut response, now.wall, plan.date_offset);
        Reply { response, delivery: plan.delivery }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the state as consistent as a test needs it to report that panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes while it runs. Each takes effect for the next answer.
impl Tenant {
    /// The canonical domain: from the options, else where it listens.
    pub fn domain(&self) -> String {
        self.state().domain()
    }

    /// The Management API's identifier, `https://{domain}/api/v2/`.
    pub fn audience(&self) -> String {
        self.state().audience()
    }

    /// Makes `endpoint` fail until [`Tenant::clear`]; of several faults that exclude each other the last counts.
    pub fn fault(&self, endpoint: Endpoint, fault: Fault) {
        let mut state = self.state();
        state.connections_died += u64::from(matches!(fault, Fault::DeadConnections));
        state.faults.add(endpoint, fault);
        drop(state);
        self.settle_doors();
    }

    /// Makes the next `n` answers of `endpoint` fail, after those that earlier calls of this have claimed, and
    /// over any persistent fault.
    pub fn fault_next(&self, endpoint: Endpoint, n: usize, fault: Fault) {
        self.state().faults.add_next(endpoint, n, fault);
    }

    /// Ends every fault of `endpoint`.
    pub fn clear(&self, endpoint: Endpoint) {
        self.state().faults.clear(endpoint);
        self.settle_doors();
    }

    /// Ends every fault.
    pub fn clear_all(&self) {
        self.state().faults = fault::Faults::default();
        self.settle_doors();
    }

    /// The scopes of the client grant. Tokens issued earlier keep the scopes they have.
    pub fn grant_scopes(&self, scopes: &[&str]) {
        self.state().options.scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    }

    /// Whether the application has a client grant for the Management API.
    pub fn set_client_grant(&self, granted: bool) {
        self.state().options.client_grant = granted;
    }

    /// Whether the application may use the client-credentials grant.
    pub fn set_grant_type_allowed(&self, allowed: bool) {
        self.state().options.grant_type_allowed = allowed;
    }

    /// Lifetime of Management tokens from now on; Auth0's default is 24 h, its longest 30 days.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.state().options.token_lifetime = lifetime;
    }

    /// Replaces the application's secret; the old one is refused at once, tokens issued with it live on.
    pub fn rotate_client_secret(&self, secret: Secret) {
        self.state().options.client_secret = secret;
    }

    /// Makes every Management token issued so far invalid. Auth0 cannot do this; losing a signing key can.
    pub fn revoke_management_tokens(&self) {
        self.state().revoke_issued();
    }

    /// Signs with the key that was published as the next one, and publishes another. The previous key stays
    /// published, and its tokens valid. After two rotations the current key is one that an early reader of the
    /// key set has never seen.
    pub fn rotate_signing_key(&self) -> Result<(), TenantError> {
        let own = self.state().options.own_keys;
        self.state().keys.rotate(own)
    }

    /// Starts or ends the Management API's rate limit; a new one starts with a full bucket.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        let now = self.0.clock.now();
        self.state().limit = limit.map(|limit| limit::Bucket::new(limit, now));
    }

    /// Starts or ends a quota for the application's tokens, of so many in each hour of UTC; a new one is unspent.
    pub fn set_token_quota(&self, per_hour: Option<u64>) {
        self.state().quota = per_hour.map(limit::Quota::new);
    }

    /// A login through `connection`: a new IdP token where the provider issues one, and `last_login` now.
    /// Answers the new token; `None` where there is no such user or connection, or the provider gives none.
    pub fn login(&self, user_id: &str, connection: &str) -> Option<String> {
        let now = self.0.clock.now().wall;
        let mut state = self.state();
        state.logins += 1;
        let number = state.logins;
        users::login(state.users.get_mut(user_id)?, connection, now, number)
    }

    /// Lets a user log in by single sign-on, for which no provider is asked: the login is new, and every token is as it was.
    pub fn sign_on(&self, user_id: &str) {
        let now = self.0.clock.now().wall;
        self.change(user_id, |user| users::logged_in(user, now));
    }

    /// Blocks a user: further reads say so, and still carry the tokens.
    pub fn block(&self, user_id: &str) {
        self.change(user_id, |user| drop(user.insert("blocked".into(), json!(true))));
    }

    /// Lifts a block. The field is gone, as for a user who never was blocked.
    pub fn unblock(&self, user_id: &str) {
        self.change(user_id, |user| drop(user.remove("blocked")));
    }

    /// Adds a user, or replaces the one with this `user_id`. Anything but an object with a textual `user_id` is
    /// ignored, and answered `false`.
    pub fn put_user(&self, user: Value) -> bool {
        self.state().put_user(user)
    }

    /// Deletes a user; answers what it was.
    pub fn remove_user(&self, user_id: &str) -> Option<Value> {
        self.state().users.remove(user_id).map(Value::Object)
    }

    /// A user as stored, tokens and all.
    pub fn user(&self, user_id: &str) -> Option<Value> {
        self.state().users.get(user_id).cloned().map(Value::Object)
    }

    fn change(&self, user_id: &str, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
        if let Some(user) = self.state().users.get_mut(user_id) {
            change(user);
        }
    }

    fn settle_doors(&self) {
        let refusing = self.state().faults.refusing();
        self.0.doors.refuse(refusing);
    }
}

/// What it has seen, and what it can vouch for.
impl Tenant {
    /// Every call so far in the order of arrival; of very many, the latest 100 000.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.list()
    }

    /// The calls of one endpoint.
    pub fn calls_to(&self, endpoint: Endpoint) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.endpoint == endpoint).collect()
    }

    /// Forgets the calls that have ended, and the maxima.
    pub fn forget_calls(&self) {
        self.state().calls.forget();
    }

    /// The most calls of `endpoint` that were ever under way at once.
    pub fn max_concurrent(&self, endpoint: Endpoint) -> usize {
        self.state().calls.max_concurrent(endpoint)
    }

    /// The most reads of one user that were ever under way at once.
    pub fn max_concurrent_for(&self, user_id: &str) -> usize {
        self.state().calls.max_concurrent_for(user_id)
    }

    /// An end user's access token for `audience`, as the tenant would issue it at a login.
    pub fn user_token(&self, sub: &str, audience: &str, lifetime: Duration) -> Result<String, TenantError> {
        let now = self.0.clock.now().wall;
        let state = self.state();
        state.keys.sign(&json!({
            "iss": format!("https://{}/", state.domain()),
            "sub": sub,
            "aud": [audience, format!("https://{}/userinfo", state.domain())],
            "iat": now.as_secs(),
            "exp": now.after(lifetime).as_secs(),
            "scope": "openid profile",
            "azp": state.options.client_id,
        }))
    }

    /// Any claims, signed with the current key.
    pub fn sign(&self, claims: &Value) -> Result<String, TenantError> {
        self.state().keys.sign(claims)
    }

    /// The same under a header that `change` has changed: another `alg` of RSA keys, no `kid`, any `typ`.
    pub fn sign_as(
        &self,
        change: impl FnOnce(&mut jsonwebtoken::Header),
        claims: &Value,
    ) -> Result<String, TenantError> {
        self.state().keys.sign_as(change, claims)
    }
}

/// Whom the client believes to be talking to.
fn host(request: &Request<Bytes>) -> Option<&str> {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    authority.or_else(|| request.headers().get(header::HOST)?.to_str().ok())
}

fn discovery(host: &str) -> Value {
    json!({
        "issuer": format!("https://{host}/"),
        "authorization_endpoint": format!("https://{host}/authorize"),
        "token_endpoint": format!("https://{host}/oauth/token"),
        "userinfo_endpoint": format!("https://{host}/userinfo"),
        "jwks_uri": format!("https://{host}/.well-known/jwks.json"),
        "response_types_supported": ["code", "token", "id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "RS384", "PS256"],
    })
}

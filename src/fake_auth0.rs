//! A simulated Auth0 tenant: answers as Auth0 does, fails on request, and records every call.
//!
//! `cloakroom demo` and every test run against it. Statuses, bodies and headers are those that Auth0 documents or that
//! SDKs recorded. [`Tenant::answer`] is the tenant without a socket, for tests in virtual time; [`Tenant::listen`]
//! serves it by TLS on loopback.
//!
//! The tenant has its own parsers and decoders. With those of the daemon, a mistake in them would be on both sides, and
//! no test would find it.

pub mod api;
mod application;
mod assertions;
mod calls;
mod certificates;
mod client_certificates;
mod client_key_pair;
mod client_keys;
mod clients;
mod discovery;
mod error;
mod exchange;
mod fault;
mod hang_up;
mod heads;
mod keys;
mod limit;
mod listen;
mod management;
mod options;
mod parameters;
mod paths;
mod peer_certificate;
mod ports;
pub mod provider;
mod registration;
mod reply;
mod state;
#[cfg(test)]
mod tests;
mod token;
pub mod users;
mod vault;
mod vault_control;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::secret::Secret;

pub use assertions::Assertion;
pub use calls::{Call, Endpoint};
pub use certificates::CertificateKind;
pub use client_certificates::{ClientCertificateFiles, ClientCertificateKind};
pub use client_key_pair::ClientKeyPair;
pub use client_keys::{InvalidJwt, KeyNotRegistered, KeyUse};
pub use error::TenantError;
pub use fault::{ExpiresIn, Fault, WaitHint};
pub use limit::RateLimit;
pub use listen::{Handshake, Listening};
pub use options::{ClientAuth, TenantOptions};
pub use peer_certificate::PeerCertificate;
pub use reply::{Delivery, Reply};
pub use vault::{ConnectedAccount, Exchange, Refreshing, VaultSettings};
pub use wire::GivenUp;

use certificates::Authority;
use fault::Plan;
use ports::Ports;
use state::State;
use users::logins;

/// A simulated Auth0 tenant. Clones share its state.
#[derive(Clone)]
pub struct Tenant(Arc<Inner>);

struct Inner {
    clock: Clock,
    authority: Arc<Authority>,
    state: Mutex<State>,
    ports: Ports,
}

/// A call that is being answered. If it is dropped without a status, the client has hung up.
struct Underway {
    tenant: Tenant,
    number: u64,
    endpoint: Endpoint,
    status: Option<StatusCode>,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.tenant.state().calls.end(self.number, self.status);
    }
}

impl Tenant {
    /// Makes a tenant with the [sample users](users), whose tokens are valid by `clock` unless their comment says
    /// otherwise.
    pub fn new(clock: Clock, options: TenantOptions) -> Result<Self, TenantError> {
        let state = State::new(options, clock.now())?;
        Ok(Self(Arc::new(Inner {
            clock,
            authority: Arc::new(Authority::new()?),
            state: Mutex::new(state),
            ports: Ports::default(),
        })))
    }

    /// Answers one request, after the delays of its faults. Waits on tokio's timers, so that virtual time works.
    /// Dropping the future counts as a client that hung up.
    pub async fn answer(&self, request: Request<Bytes>) -> Reply {
        let mut underway = self.begin(&request);
        let plan = self.state().faults.plan(underway.endpoint);
        if !plan.latency.is_zero() {
            tokio::time::sleep(plan.latency).await;
        }
        let reply = self.reply(&plan, underway.endpoint, &request);
        if !plan.late.is_zero() {
            tokio::time::sleep(plan.late).await;
        }
        underway.status = reply.visible_status();
        reply
    }

    fn begin(&self, request: &Request<Bytes>) -> Underway {
        let call = Call::of(request, self.0.clock.now());
        let endpoint = call.endpoint;
        let number = self.state().calls.begin(call);
        Underway { tenant: self.clone(), number, endpoint, status: None }
    }

    fn reply(&self, plan: &Plan, endpoint: Endpoint, request: &Request<Bytes>) -> Reply {
        let now = self.0.clock.now();
        let mut state = self.state();
        let has_certificate = request.extensions().get::<PeerCertificate>().is_some();
        // What a client with a certificate is issued is for the tenant's domain.
        let host = host(request).filter(|_| !has_certificate).map(str::to_owned);
        let host = host.unwrap_or_else(|| state.domain());
        let mut response = match plan.instead(endpoint, request, now) {
            Some(response) => {
                application::overhear(&mut state, request);
                response
            }
            None => match endpoint {
                Endpoint::User | Endpoint::ManagementApi | Endpoint::Keys | Endpoint::Discovery
                    if has_certificate =>
                {
                    reply::route_not_found()
                }
                Endpoint::Token => token::answer(&mut state, plan, &host, request, now),
                Endpoint::Exchange => exchange::answer(&mut state, plan, &host, request, now),
                Endpoint::User | Endpoint::ManagementApi => {
                    management::answer(&mut state, &host, request, now)
                }
                Endpoint::Keys => {
                    reply::json(StatusCode::OK, &state.keys.jwks(state.options.key_set_states_alg))
                }
                Endpoint::Discovery => reply::json(StatusCode::OK, &discovery::document(&state, &host)),
                Endpoint::Other => reply::route_not_found(),
            },
        };
        plan.spoil(&mut response);
        reply::finish(&mut response, now.wall, plan.date_offset);
        Reply { response, delivery: plan.delivery }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // After a panic of another thread the state is consistent enough for the test to report that panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes of a running tenant. Each takes effect for the next answer.
impl Tenant {
    /// The canonical domain: that of the options, else the address of the listener.
    pub fn domain(&self) -> String {
        self.state().domain()
    }

    /// The Management API's identifier, `https://{domain}/api/v2/`.
    pub fn audience(&self) -> String {
        self.state().audience()
    }

    /// Makes `endpoint` fail until [`Tenant::clear`]. Of several faults that exclude each other the last applies.
    pub fn fault(&self, endpoint: Endpoint, fault: Fault) {
        let mut state = self.state();
        state.connection_generation += u64::from(matches!(fault, Fault::DeadConnections));
        state.faults.add(endpoint, fault);
        drop(state);
        self.apply_refusal();
    }

    /// Makes the next `n` answers of `endpoint` fail, after those of earlier calls of this function. Such a fault has
    /// precedence over a persistent one.
    pub fn fault_next(&self, endpoint: Endpoint, n: usize, fault: Fault) {
        self.state().faults.add_next(endpoint, n, fault);
    }

    /// Ends every fault of `endpoint`.
    pub fn clear(&self, endpoint: Endpoint) {
        self.state().faults.clear(endpoint);
        self.apply_refusal();
    }

    /// Ends every fault.
    pub fn clear_all(&self) {
        self.state().faults = fault::Faults::default();
        self.apply_refusal();
    }

    /// Sets the scopes of the client grant. Tokens issued earlier keep their scopes.
    pub fn grant_scopes(&self, scopes: &[&str]) {
        self.state().options.scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    }

    /// Sets whether the application has a client grant for the Management API.
    pub fn set_client_grant(&self, granted: bool) {
        self.state().options.client_grant = granted;
    }

    /// Sets whether the application may use the client-credentials grant.
    pub fn set_grant_type_allowed(&self, allowed: bool) {
        self.state().options.grant_type_allowed = allowed;
    }

    /// Sets the lifetime of later Management tokens. Auth0's default is 24 h, its maximum 30 days.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.state().options.token_lifetime = lifetime;
    }

    /// Replaces the application's secret. The old one is refused at once; tokens issued with it stay valid.
    pub fn rotate_client_secret(&self, secret: Secret) {
        self.state().options.client_secret = secret;
    }

    /// Sets how the application has to authenticate from now on.
    pub fn set_client_auth(&self, auth: ClientAuth) {
        self.state().options.client_auth = auth;
    }

    /// Makes every Management token issued so far invalid, as the loss of a signing key does. Auth0 has no call for it.
    pub fn revoke_management_tokens(&self) {
        self.state().revoke_issued(None);
    }

    /// Rotates the signing key: the published next key signs from now on, and a new next key is published. The previous
    /// key stays published, and its tokens stay valid. After two rotations, a client that read the key set before does
    /// not know the current key.
    pub fn rotate_signing_key(&self) -> Result<(), TenantError> {
        let own = self.state().options.own_keys;
        self.state().keys.rotate(own)
    }

    /// Sets or removes the Management API's rate limit. A new limit starts with a full bucket.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        let now = self.0.clock.now();
        self.state().limit = limit.map(|limit| limit::Bucket::new(limit, now));
    }

    /// Sets or removes the application's quota of tokens per hour of UTC. A new quota starts unused.
    pub fn set_token_quota(&self, per_hour: Option<u64>) {
        self.state().quota = per_hour.map(limit::Quota::new);
    }

    /// Logs a user in through `connection`: the provider issues a new token, and `last_login` is now. Returns the new
    /// token; `None` if the user or the connection is unknown, or the provider issues no tokens.
    pub fn login(&self, user_id: &str, connection: &str) -> Option<String> {
        let now = self.0.clock.now().wall;
        let mut state = self.state();
        state.logins += 1;
        let number = state.logins;
        logins::login(state.users.get_mut(user_id)?, connection, now, number)
    }

    /// Logs a user in through `connection`: the identity's members are replaced by those in `tokens`, and removed where
    /// they are null there; `last_login` is now. Returns whether the tenant knows the identity.
    pub fn log_in_with(&self, user_id: &str, connection: &str, tokens: Value) -> bool {
        let now = self.0.clock.now().wall;
        let mut state = self.state();
        state.users.get_mut(user_id).is_some_and(|user| logins::log_in_with(user, connection, tokens, now))
    }

    /// Logs a user in by single sign-on, which asks no provider: `last_login` is now, and tokens stay the same.
    pub fn sign_on(&self, user_id: &str) {
        let now = self.0.clock.now().wall;
        self.change(user_id, |user| logins::logged_in(user, now));
    }

    /// Blocks a user: later reads contain `blocked`, and still the tokens.
    pub fn block(&self, user_id: &str) {
        self.change(user_id, |user| drop(user.insert("blocked".into(), json!(true))));
    }

    /// Removes a block, with its field, as for a user who never was blocked.
    pub fn unblock(&self, user_id: &str) {
        self.change(user_id, |user| drop(user.remove("blocked")));
    }

    /// Adds a user, or replaces the one with this `user_id`. Ignores anything but an object with a textual `user_id`,
    /// and returns `false` then.
    pub fn put_user(&self, user: Value) -> bool {
        self.state().put_user(user)
    }

    /// Deletes a user, and returns it.
    pub fn remove_user(&self, user_id: &str) -> Option<Value> {
        self.state().users.remove(user_id).map(Value::Object)
    }

    /// A user as stored, with tokens.
    pub fn user(&self, user_id: &str) -> Option<Value> {
        self.state().users.get(user_id).cloned().map(Value::Object)
    }

    fn change(&self, user_id: &str, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
        if let Some(user) = self.state().users.get_mut(user_id) {
            change(user);
        }
    }

    /// Makes every port refuse connections, or accept them again, as the faults demand.
    fn apply_refusal(&self) {
        let refusing = self.state().faults.refusing();
        self.0.ports.refuse(refusing);
    }
}

/// Recorded calls, and signed tokens.
impl Tenant {
    /// Every call so far in the order of arrival; at most the latest 100 000.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.list()
    }

    /// The calls of one endpoint.
    pub fn calls_to(&self, endpoint: Endpoint) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.endpoint == endpoint).collect()
    }

    /// Every client assertion so far in the order of arrival.
    pub fn assertions(&self) -> Vec<Assertion> {
        self.state().assertions.log()
    }

    /// Removes the calls that have ended, and resets the maxima.
    pub fn forget_calls(&self) {
        self.state().calls.forget();
    }

    /// Maximum number of concurrent calls of `endpoint`.
    pub fn max_concurrent(&self, endpoint: Endpoint) -> usize {
        self.state().calls.max_concurrent(endpoint)
    }

    /// Maximum number of concurrent reads of one user.
    pub fn max_concurrent_for(&self, user_id: &str) -> usize {
        self.state().calls.max_concurrent_for(user_id)
    }

    /// Issues an end user's access token for `audience`, as at a login.
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

    /// Signs any claims with the current key.
    pub fn sign(&self, claims: &Value) -> Result<String, TenantError> {
        self.state().keys.sign(claims)
    }

    /// Signs any claims under a header that `change` modifies: another `alg` of RSA keys, no `kid`, any `typ`.
    pub fn sign_as(
        &self,
        change: impl FnOnce(&mut jsonwebtoken::Header),
        claims: &Value,
    ) -> Result<String, TenantError> {
        self.state().keys.sign_as(change, claims)
    }
}

/// The host that the request names.
fn host(request: &Request<Bytes>) -> Option<&str> {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    authority.or_else(|| request.headers().get(header::HOST)?.to_str().ok())
}

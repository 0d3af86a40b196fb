//! A simulated identity provider: redeems refresh tokens as a real one does, fails on request, and logs every redemption.
//!
//! It speaks in the [`Dialect`] of a real provider, and keeps families of refresh tokens that rotate by its
//! [`TokenRules`]. [`FakeProvider::answer`] is the provider without a socket, for tests in virtual time;
//! [`FakeProvider::listen`] serves it by TLS on loopback. Its parsers and decoders are its own, as the tenant's are.

mod answers;
mod dialect;
mod family;
mod fault;
mod log;
mod logins;
mod observed;
mod options;
mod position;
mod refusals;
mod request;
mod rules;
#[cfg(test)]
mod tests;
mod token_text;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::domain::freshness::Moment;
use crate::secret::Secret;

pub use dialect::Dialect;
pub use family::Issued;
pub use fault::{Breakdown, Change, ProviderFault};
pub use log::{Answered, RedemptionRecord};
pub use logins::LoginRefreshToken;
pub use options::ProviderOptions;
pub use position::Position;
pub use refusals::Refused;
pub use rules::{OldAccessToken, TokenRules};

use family::Families;
use fault::{Faults, Plan};
use log::Log;
use request::TokenRequest;

use super::Tenant;
use super::certificates::{Authority, CertificateKind};
use super::error::TenantError;
use super::listen::{Connection, Connections, Handshake, Listening, Server, answered_whole, listen};
use super::options::ClientAuth;
use super::ports::Ports;
use super::reply::{self, Delivery, Reply};
use super::wire::{GivenUp, Sent};

/// A simulated identity provider. Clones share its state.
#[derive(Clone)]
pub struct FakeProvider(Arc<Inner>);

struct Inner {
    clock: Clock,
    authority: Arc<Authority>,
    state: Mutex<State>,
    ports: Ports,
    /// Notified after each change of the log.
    changes: watch::Sender<()>,
}

struct State {
    options: ProviderOptions,
    families: Families,
    faults: Faults,
    log: Log,
    /// How many requests were not for the token endpoint.
    strays: usize,
    refusing: bool,
    handshake: Handshake,
}

/// A request that is being answered. If it is dropped without an answer, the client has hung up.
struct Underway {
    provider: FakeProvider,
    number: usize,
    answer: Answered,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.provider.state().log.end(self.number, self.answer);
        self.provider.0.changes.send_replace(());
    }
}

/// An answer, and what of it the client can have received.
struct Answer {
    response: Response<Bytes>,
    delivery: Delivery,
    answered: Answered,
}

impl FakeProvider {
    /// Makes a provider with a certificate authority of its own.
    pub fn new(clock: Clock, options: ProviderOptions) -> Result<Self, TenantError> {
        Ok(Self::with(clock, Arc::new(Authority::new()?), options))
    }

    /// Makes a provider beside `tenant`: with its clock, and with certificates of the authority of its listeners.
    pub fn beside(tenant: &Tenant, options: ProviderOptions) -> Self {
        Self::with(tenant.0.clock.clone(), Arc::clone(&tenant.0.authority), options)
    }

    fn with(clock: Clock, authority: Arc<Authority>, options: ProviderOptions) -> Self {
        let state = State {
            families: Families::new(options.dialect, options.mark.clone()),
            faults: Faults::default(),
            log: Log::default(),
            strays: 0,
            refusing: false,
            handshake: Handshake::default(),
            options,
        };
        let (state, ports, changes) = (Mutex::new(state), Ports::default(), watch::Sender::new(()));
        Self(Arc::new(Inner { clock, authority, state, ports, changes }))
    }

    /// Listens on a free port of 127.0.0.1, as `localhost`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn listen(&self, certificate: CertificateKind) -> io::Result<Listening> {
        self.listen_on(0, certificate)
    }

    /// Listens on this port of 127.0.0.1.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn listen_on(&self, port: u16, certificate: CertificateKind) -> io::Result<Listening> {
        let listening = listen(self, port, &self.0.authority, certificate, &self.0.ports)?;
        let refusing = self.state().refusing;
        self.0.ports.refuse(refusing);
        Ok(listening)
    }

    /// Answers one request, after the delays of its faults. Waits on tokio's timers, so that virtual time works.
    /// Dropping the future counts as a client that hung up.
    pub async fn answer(&self, request: Request<Bytes>) -> Reply {
        if let Some(delivery) = self.state().without_connection() {
            return Reply { response: Response::default(), delivery };
        }
        let Some((asked, plan, mut underway)) = self.begin(&request) else {
            let mut response = refusals::page(404);
            reply::finish(&mut response, self.0.clock.now().wall, 0);
            return Reply { response, delivery: Delivery::Whole };
        };
        if !plan.latency.is_zero() {
            tokio::time::sleep(plan.latency).await;
        }
        let Answer { mut response, delivery, answered } = self.process(&asked, &plan, underway.number);
        if !plan.late.is_zero() {
            tokio::time::sleep(plan.late).await;
        }
        underway.answer = answered;
        reply::finish(&mut response, self.0.clock.now().wall, 0);
        Reply { response, delivery }
    }

    /// Reads a request and records its arrival; `None` if it is not for the token endpoint.
    fn begin(&self, request: &Request<Bytes>) -> Option<(TokenRequest, Plan, Underway)> {
        let at = self.0.clock.now();
        let mut state = self.state();
        let asked = TokenRequest::read(request, state.options.dialect.path());
        if !asked.is_for_endpoint {
            state.strays += 1;
            return None;
        }
        let position = asked.get("refresh_token").and_then(|token| state.families.position(token));
        let user = position.and_then(|position| state.families.user(position.family)).map(str::to_owned);
        let plan = state.faults.plan(user.as_deref());
        let number = state.log.begin(RedemptionRecord {
            at,
            user,
            position,
            secret: None,
            scope: asked.get("scope").map(str::to_owned),
            processed: false,
            answer: Answered::Nothing,
            overlapped: false,
        });
        drop(state);
        self.0.changes.send_replace(());
        Some((asked, plan, Underway { provider: self.clone(), number, answer: Answered::Nothing }))
    }

    fn process(&self, asked: &TokenRequest, plan: &Plan, number: usize) -> Answer {
        let now = self.0.clock.now();
        let breakdown = plan.before.as_ref().or(plan.after.as_ref());
        let (genuine, genuinely) = match plan.before {
            Some(_) => (refusals::page(503), Answered::Failure(StatusCode::SERVICE_UNAVAILABLE)),
            None => self.state().redeem(asked, plan, number, now),
        };
        self.0.changes.send_replace(());
        let Some(breakdown) = breakdown else {
            return Answer { response: genuine, delivery: Delivery::Whole, answered: genuinely };
        };
        let (response, delivery) = breakdown.apply(genuine, now);
        let answered = match delivery {
            _ if breakdown.delivers() => genuinely,
            Delivery::Whole => Answered::Failure(response.status()),
            _ => Answered::Nothing,
        };
        Answer { response, delivery, answered }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // After a panic of another thread the state is consistent enough for the test to report that panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server for FakeProvider {
    type Sent = Sent;

    async fn respond(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Result<Response<Sent>, GivenUp> {
        answered_whole(request, connection, |request| self.answer(request)).await
    }

    fn connections(&self) -> Connections {
        Connections { handshake: self.state().handshake, ..Connections::default() }
    }
}

impl State {
    /// What a client sees that gets no connection; `None` if it gets one. Over sockets this is the listener's part.
    fn without_connection(&self) -> Option<Delivery> {
        match self.handshake {
            _ if self.refusing => Some(Delivery::Refused),
            Handshake::Done => None,
            Handshake::Closed => Some(Delivery::Refused),
            Handshake::Stalled => Some(Delivery::HeadersStall),
        }
    }

    /// Answers a redemption as the provider should, but for the changes of the plan.
    fn redeem(
        &mut self,
        asked: &TokenRequest,
        plan: &Plan,
        number: usize,
        now: Moment,
    ) -> (Response<Bytes>, Answered) {
        let secret = self.authenticated(asked);
        self.log.note(number, |record| record.secret = secret);
        let issued = match plan.refused {
            Some(refused) => Err(refused),
            None if secret.is_none() => Err(Refused::InvalidClient),
            None => self.issue(asked, plan.keeps_refresh_token(), now),
        };
        let dialect = self.options.dialect;
        let (issued, scopes) = match issued {
            Ok(issued) => issued,
            Err(refused) => {
                let (response, code) = refusals::refusal(dialect, refused, now);
                return (response, Answered::Refusal(code));
            }
        };
        self.log.note(number, |record| record.processed = true);
        let mut changes = plan.changes.clone();
        // docs.github.com, "Authorizing OAuth apps": the answer is a form unless the client asks for another type.
        if dialect == Dialect::Github && !asked.accepts_json {
            changes.push(Change::FormEncoded);
        }
        let states_refresh_token = issued.is_new || self.options.rules.repeats_unchanged;
        let response = answers::success(dialect, &issued, states_refresh_token, &scopes, &changes, now);
        (response, Answered::Token)
    }

    /// Which of the accepted secrets the client has authenticated with.
    fn authenticated(&self, asked: &TokenRequest) -> Option<usize> {
        let options = &self.options;
        let credentials = asked.credentials()?;
        let allowed = options.client_auth == ClientAuth::Any || options.client_auth == credentials.by;
        if !allowed || credentials.id != options.client_id {
            return None;
        }
        options.client_secrets.iter().position(|secret| *secret == credentials.secret)
    }

    /// Issues a token and the scopes that it has.
    fn issue(
        &mut self,
        asked: &TokenRequest,
        keeps: bool,
        now: Moment,
    ) -> Result<(Issued, Vec<String>), Refused> {
        match asked.get("grant_type") {
            Some("refresh_token") => {}
            Some(_) => return Err(Refused::UnsupportedGrantType),
            None => return Err(Refused::InvalidRequest),
        }
        let refresh_token = asked.get("refresh_token").ok_or(Refused::InvalidRequest)?;
        let granted = &self.options.scopes;
        let scopes: Vec<String> = match asked.get("scope") {
            None => granted.clone(),
            Some(requested) => requested.split_whitespace().map(str::to_owned).collect(),
        };
        // RFC 6749 §6: no scope that the user has not granted. `offline_access` asks for the refresh token itself.
        let is_granted = |scope: &String| scope == "offline_access" || granted.contains(scope);
        if !scopes.iter().all(is_granted) {
            return Err(Refused::InvalidScope);
        }
        let issued = self.families.redeem(refresh_token, &self.options.rules, keeps, now);
        Ok((issued.map_err(|_| Refused::InvalidGrant)?, scopes))
    }
}

/// Changes of a running provider. Each takes effect for the next request.
impl FakeProvider {
    /// The provider that is imitated.
    pub fn dialect(&self) -> Dialect {
        self.state().options.dialect
    }

    /// The client's id, and the first of its accepted secrets.
    pub fn client(&self) -> (String, Secret) {
        let state = self.state();
        let secret = state.options.client_secrets.first().cloned();
        (state.options.client_id.clone(), secret.unwrap_or_else(|| Secret::new("")))
    }

    /// Replaces the accepted secrets. A client with another one is refused at once.
    pub fn set_client_secrets(&self, secrets: impl IntoIterator<Item = Secret>) {
        self.state().options.client_secrets = secrets.into_iter().collect();
    }

    /// Changes how tokens live and rotate.
    pub fn set_rules(&self, change: impl FnOnce(&mut TokenRules)) {
        change(&mut self.state().options.rules);
    }

    /// Sets the scopes that users have granted.
    pub fn set_scopes(&self, scopes: &[&str]) {
        self.state().options.scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    }

    /// Makes every request fail until [`FakeProvider::clear`]. Of several faults that exclude each other the last
    /// applies.
    pub fn fault(&self, fault: ProviderFault) {
        self.state().faults.add(fault);
    }

    /// Makes the next `n` requests fail, after those of earlier calls of this function.
    pub fn fault_next(&self, n: usize, fault: ProviderFault) {
        self.state().faults.add_next(None, n, fault);
    }

    /// Makes the next `n` redemptions of `user`'s refresh tokens fail. Such a fault has precedence over the others.
    pub fn fault_next_of(&self, user: &str, n: usize, fault: ProviderFault) {
        self.state().faults.add_next(Some(user), n, fault);
    }

    /// Makes every port refuse connections and closes those that are open, or accepts connections again.
    pub fn refuse_connections(&self, refuse: bool) {
        self.state().refusing = refuse;
        self.0.ports.refuse(refuse);
    }

    /// Sets what happens to the TLS handshakes of new connections. Open connections stay as they are.
    pub fn set_handshake(&self, handshake: Handshake) {
        self.state().handshake = handshake;
    }

    /// Ends every fault.
    pub fn clear(&self) {
        let mut state = self.state();
        state.faults = Faults::default();
        state.handshake = Handshake::default();
        drop(state);
        self.refuse_connections(false);
    }
}

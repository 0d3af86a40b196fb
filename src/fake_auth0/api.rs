//! A simulated provider's API: streams both ways, refuses as real providers do, and logs each request as it arrived.
//!
//! [`FakeApi::answer`] is the API without a socket, for tests in virtual time; [`FakeApi::listen`] serves it by TLS on
//! loopback, beside a tenant. It asks for a bearer token that it knows, and answers others in its [`ApiDialect`].
//! `api/routes.rs` begins with a list of the routes.

mod body;
mod content;
mod dialect;
mod log;
mod options;
mod received;
mod refusals;
mod routes;
mod shared;
#[cfg(test)]
mod tests;
mod underway;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, header};

use crate::clock::Clock;

pub use body::ApiBody;
pub use content::{content, content_sha256};
pub use dialect::ApiDialect;
pub use log::ApiCall;
pub use options::{ApiOptions, Canned};
pub use refusals::KINDS as REFUSALS;

use body::Outgoing;
use log::Arrival;
use received::Received;
use shared::Shared;
use underway::Underway;

use super::Tenant;
use super::certificates::{Authority, CertificateKind};
use super::error::TenantError;
use super::listen::{Connection, Connections, Handshake, Listening, Server, listen};
use super::ports::Ports;
use super::provider::FakeProvider;
use super::reply;
use super::wire::{Before, GivenUp};

/// A simulated provider's API. Clones share its state.
#[derive(Clone)]
pub struct FakeApi {
    shared: Shared,
    authority: Arc<Authority>,
    ports: Arc<Ports>,
}

impl FakeApi {
    /// Makes an API with a certificate authority of its own.
    pub fn new(clock: Clock, options: ApiOptions) -> Result<Self, TenantError> {
        Ok(Self::with(clock, Arc::new(Authority::new()?), None, options))
    }

    /// Makes an API beside `tenant`: with its clock, with certificates of the authority of its listeners, and with the
    /// access tokens in its users' identities as valid ones.
    pub fn beside(tenant: &Tenant, options: ApiOptions) -> Self {
        let (clock, authority) = (tenant.0.clock.clone(), Arc::clone(&tenant.0.authority));
        Self::with(clock, authority, Some(tenant.clone()), options)
    }

    fn with(clock: Clock, authority: Arc<Authority>, tenant: Option<Tenant>, options: ApiOptions) -> Self {
        Self { shared: Shared::new(clock, tenant, options), authority, ports: Arc::default() }
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
        let listening = listen(self, port, &self.authority, certificate, &self.ports)?;
        let refusing = self.shared.state().refusing;
        self.ports.refuse(refusing);
        Ok(listening)
    }

    /// Answers one request. Waits on tokio's timers, so that virtual time works. Dropping the future, or the answer's
    /// body before its end, counts as a client that hung up. A connection that would be closed without an answer is
    /// a 500 here.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<ApiBody>
    where
        B: Body<Data = Bytes> + Send + Unpin,
    {
        let arrival = Arrival::parsed(&request);
        self.handle(request, arrival).await.unwrap_or_else(|GivenUp| {
            let mut response = Response::new(ApiBody::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
    }

    async fn handle<B>(&self, request: Request<B>, arrival: Arrival) -> Result<Response<ApiBody>, GivenUp>
    where
        B: Body<Data = Bytes> + Send + Unpin,
    {
        let (parts, body) = request.into_parts();
        let heads = arrival.heads.clone();
        let underway = self.begin(arrival);
        let mut body = Received::new(self.shared.clone(), underway.number(), body, heads);
        let (latency, canned) = {
            let mut state = self.shared.state();
            (state.latency, state.canned.pop_front())
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let mut response = match canned {
            Some(canned) => {
                body.drain(None).await;
                canned.into_response()
            }
            None => {
                routes::answer(&self.shared, &parts, &mut body).await.inspect_err(|_| underway.gives_up())?
            }
        };
        drop(body);
        let date = reply::http_date(self.shared.now().wall.as_secs());
        if let Ok(date) = date.parse() {
            response.headers_mut().entry(header::DATE).or_insert(date);
        }
        Ok(self.finish(&parts, response, underway))
    }

    /// Gives the answer its body, as far as it may have one.
    fn finish(&self, asked: &Parts, response: Response<Outgoing>, underway: Underway) -> Response<ApiBody> {
        let (parts, outgoing) = response.into_parts();
        let has_body = asked.method != Method::HEAD
            && ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&parts.status);
        underway.answers(parts.status);
        let body = match has_body {
            true => ApiBody::new(outgoing, underway),
            false => {
                underway.ends();
                ApiBody::empty()
            }
        };
        Response::from_parts(parts, body)
    }

    fn begin(&self, arrival: Arrival) -> Underway {
        let number = self.shared.state().log.begin(arrival, self.shared.now());
        self.shared.changed();
        Underway::new(self.shared.clone(), number)
    }
}

impl Server for FakeApi {
    type Sent = ApiBody;

    async fn respond(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Result<Response<ApiBody>, GivenUp> {
        let has_body = !request.body().is_end_stream();
        let head = connection.heads.take(has_body);
        let arrival = Arrival::raw(&head, connection.number, &connection.heads);
        let mut response = self.handle(request, arrival).await?;
        if let Some(before) = response.extensions_mut().remove::<Before>() {
            connection.queue.put(before);
        }
        Ok(response)
    }

    fn connections(&self) -> Connections {
        Connections { handshake: self.shared.state().handshake, ..Connections::default() }
    }

    fn opened(&self) -> Option<u64> {
        let mut state = self.shared.state();
        state.connections += 1;
        Some(state.connections)
    }

    fn hung_up(&self, connection: u64) {
        let now = self.shared.now();
        self.shared.state().log.hung_up(connection, now);
        self.shared.changed();
    }
}

/// Changes of a running API. Each takes effect for the next request.
impl FakeApi {
    /// Makes a token valid, also after it was revoked.
    pub fn accept(&self, token: &str) {
        let mut state = self.shared.state();
        state.revoked.remove(token);
        state.accepted.insert(token.to_owned());
    }

    /// Makes a token invalid.
    pub fn revoke(&self, token: &str) {
        let mut state = self.shared.state();
        state.accepted.remove(token);
        state.revoked.insert(token.to_owned());
    }

    /// Makes the access tokens valid that are alive at this provider.
    pub fn trust(&self, provider: &FakeProvider) {
        self.shared.state().trusted.push(provider.clone());
    }

    /// Sets whether each token that is not revoked is valid.
    pub fn accept_any(&self, accepts_any: bool) {
        self.shared.state().options.accepts_any = accepts_any;
    }

    /// Sets the provider whose refusals a request without a valid token gets.
    pub fn set_dialect(&self, dialect: ApiDialect) {
        self.shared.state().options.dialect = dialect;
    }

    /// Sends a frame of these lines to all open event streams. Returns how many there are.
    pub fn emit(&self, text: &str) -> usize {
        let frame = body::event(text);
        let mut state = self.shared.state();
        state.events.retain(|stream| stream.send(frame.clone()).is_ok());
        state.events.len()
    }

    /// How many event streams are open.
    pub fn event_streams(&self) -> usize {
        let mut state = self.shared.state();
        state.events.retain(|stream| !stream.is_closed());
        state.events.len()
    }

    /// Ends all open event streams.
    pub fn end_events(&self) {
        self.shared.state().events.clear();
    }

    /// Gives the next `n` requests this answer, after those of earlier calls of this function, whatever their token.
    /// The request's body is read before.
    pub fn answer_next(&self, n: usize, canned: &Canned) {
        self.shared.state().canned.extend(std::iter::repeat_n(canned.clone(), n));
    }

    /// Delays each answer.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.state().latency = latency;
    }

    /// Makes every port refuse connections and closes those that are open, or accepts connections again.
    pub fn refuse_connections(&self, refuse: bool) {
        self.shared.state().refusing = refuse;
        self.ports.refuse(refuse);
    }

    /// Sets what happens to the TLS handshakes of new connections. Open connections stay as they are.
    pub fn set_handshake(&self, handshake: Handshake) {
        self.shared.state().handshake = handshake;
    }

    /// Ends every fault.
    pub fn clear(&self) {
        let mut state = self.shared.state();
        state.canned.clear();
        (state.latency, state.handshake) = (Duration::ZERO, Handshake::default());
        drop(state);
        self.refuse_connections(false);
    }
}

/// What the API has seen.
impl FakeApi {
    /// Every request so far in the order of arrival; at most the latest 100 000.
    pub fn calls(&self) -> Vec<ApiCall> {
        self.shared.state().log.list()
    }

    /// Forgets the requests so far. Those under way are not logged any more.
    pub fn forget_calls(&self) {
        self.shared.state().log.forget();
    }

    /// How many connections were accepted so far, with failed handshakes.
    pub fn connections(&self) -> u64 {
        self.shared.state().connections
    }

    /// Waits until `condition` holds of the requests so far.
    pub async fn until(&self, condition: impl Fn(&[ApiCall]) -> bool) {
        let mut changes = self.shared.subscribe();
        while !condition(&self.calls()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Canned {
    fn into_response(self) -> Response<Outgoing> {
        let mut response = Response::new(Outgoing::whole(self.body));
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (header::HeaderName::try_from(name), value.parse()) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

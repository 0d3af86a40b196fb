//! Serves a simulated tenant, provider or API by TLS on loopback.

use std::future::{pending, poll_fn};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::task;

use super::Tenant;
use super::certificates::{Authority, CertificateKind};
use super::hang_up;
use super::heads::{Heads, Tapped};
use super::peer_certificate::PeerCertificate;
use super::ports::{Port, Ports};
use super::reply::{Delivery, Reply};
use super::wire::{Before, GivenUp, Preceded, Queue, ResetFlag, ResettableStream, Sent, deliver};

/// The longest body of a request to the tenant or a provider. Auth0 takes imports of 500 KB.
const LONGEST_REQUEST: usize = 1024 * 1024;

/// A simulated server, as its listener sees it. Clones share its state.
pub(super) trait Server: Clone + Send + Sync + 'static {
    /// The bodies of its answers.
    type Sent: Body<Data = Bytes, Error = GivenUp> + Send + 'static;

    /// Answers one request; `Err` closes the connection without an answer.
    fn respond(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> impl Future<Output = Result<Response<Self::Sent>, GivenUp>> + Send;

    /// How its connections behave from now on.
    fn connections(&self) -> Connections;

    /// Notes a new connection. A server that returns a number for it gets the heads of its requests byte for byte, and
    /// learns when the client closes it.
    fn opened(&self) -> Option<u64> {
        None
    }

    /// Notes that the client has closed its half of this connection.
    fn hung_up(&self, _connection: u64) {}
}

/// One connection, as the server sees it.
pub(super) struct Connection {
    /// The number that [`Server::opened`] returned.
    pub number: Option<u64>,
    /// The heads of its requests, if it has a number.
    pub heads: Heads,
    /// Bytes to send before the answer.
    pub queue: Queue,
    reset: ResetFlag,
}

/// The behaviour of a server's connections.
#[derive(Clone, Copy, Default)]
pub(super) struct Connections {
    /// Whether header names are in title case.
    pub title_case_headers: bool,
    /// How often all open connections were made dead. A connection of an earlier generation is dead.
    pub generation: u64,
    /// What happens to TLS handshakes.
    pub handshake: Handshake,
}

/// What happens to the TLS handshakes of new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handshake {
    /// They succeed, as far as the certificate allows.
    #[default]
    Done,
    /// The connection is closed before the handshake, as load balancers do that have no healthy server behind them.
    Closed,
    /// The connection is accepted and stays silent, as a process does that is out of threads.
    Stalled,
}

/// A listener. Dropping it closes the port and every open connection.
pub struct Listening {
    domain: String,
    ca_pem: String,
    port: Arc<Port>,
}

impl Listening {
    /// `localhost:PORT`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The port's number. The server can listen on it again after [`Listening::stop`].
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The authority's certificate, which all listeners of a tenant and of the providers beside it share.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Stops listening: the port refuses connections from now on, and open ones are closed as soon as their tasks run.
    pub fn stop(self) {
        drop(self);
    }

    /// Stops listening, and waits until every connection is closed. Requests that were sent before are not answered
    /// then.
    pub async fn closed(self) {
        let port = Arc::clone(&self.port);
        drop(self);
        // Every connection's task has a receiver, and drops its connection before the receiver.
        port.without_receivers().await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.port.close();
    }
}

impl Tenant {
    /// Listens on a free port of 127.0.0.1. If the options name no domain, the tenant's domain becomes `localhost:PORT`
    /// of the latest listener.
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
        self.state().listening = Some(listening.domain().to_owned());
        self.apply_refusal();
        Ok(listening)
    }

    /// Serves this port with this TLS configuration.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn serve_on(&self, port: u16, config: Arc<ServerConfig>) -> io::Result<Listening> {
        let listening = serve_with(self, port, &self.0.authority, config, &self.0.ports)?;
        self.apply_refusal();
        Ok(listening)
    }
}

impl Server for Tenant {
    type Sent = Sent;

    async fn respond(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Result<Response<Sent>, GivenUp> {
        answered_whole(request, connection, |request| self.answer(request)).await
    }

    fn connections(&self) -> Connections {
        let state = self.state();
        Connections {
            title_case_headers: state.options.title_case_headers,
            generation: state.connection_generation,
            handshake: Handshake::Done,
        }
    }
}

/// Serves `server` on this port of 127.0.0.1, with a certificate of this kind. 0 is any free port.
pub(super) fn listen<S: Server>(
    server: &S,
    port: u16,
    authority: &Authority,
    certificate: CertificateKind,
    ports: &Ports,
) -> io::Result<Listening> {
    let config = authority.server_config(certificate).map_err(io::Error::other)?;
    serve_with(server, port, authority, config, ports)
}

fn serve_with<S: Server>(
    server: &S,
    port: u16,
    authority: &Authority,
    config: Arc<ServerConfig>,
    ports: &Ports,
) -> io::Result<Listening> {
    let port = Arc::new(Port::listen(port)?);
    let domain = format!("localhost:{}", port.number());
    ports.add(&port);
    task::spawn("demo-listener", serve(server.clone(), Arc::clone(&port), TlsAcceptor::from(config)));
    Ok(Listening { domain, ca_pem: authority.pem(), port })
}

async fn serve<S: Server>(server: S, port: Arc<Port>, acceptor: TlsAcceptor) {
    let mut open = port.subscribe();
    while !port.is_closed() {
        tokio::select! {
            accepted = poll_fn(|cx| port.poll_accept(cx)) => match accepted {
                Ok(stream) => {
                    let connection = serve_connection(server.clone(), stream, acceptor.clone());
                    task::spawn("demo-connection", while_open(port.subscribe(), connection));
                }
                // Most likely out of file descriptors, which become available again.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            _ = open.changed() => {}
        }
    }
}

/// Runs `connection` until its port closes or refuses; then drops it, which closes it.
async fn while_open(mut open: watch::Receiver<bool>, connection: impl Future<Output = ()>) {
    tokio::select! {
        () = connection => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

async fn serve_connection<S: Server>(server: S, stream: TcpStream, acceptor: TlsAcceptor) {
    let Connections { title_case_headers, generation, handshake } = server.connections();
    match handshake {
        Handshake::Done => {}
        Handshake::Closed => return,
        Handshake::Stalled => return pending().await,
    }
    let number = server.opened();
    let (reset, queue, heads) = (ResetFlag::default(), Queue::default(), Heads::default());
    let (stream, watched) = match number {
        Some(_) => match hang_up::watchable(stream) {
            Ok((stream, watched)) => (stream, Some(watched)),
            Err(_) => return,
        },
        None => (stream, None),
    };
    let Ok(stream) = acceptor.accept(ResettableStream::new(stream, reset.clone())).await else { return };
    let presented = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let presented = presented.map(|certificate| PeerCertificate(certificate.clone().into_owned()));
    let stream = Tapped::new(Preceded::new(stream, queue.clone()), number.map(|_| heads.clone()));
    let connection = Connection { number, heads, queue, reset };
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(presented) = &presented {
            request.extensions_mut().insert(presented.clone());
        }
        let is_dead = server.connections().generation != generation;
        let (server, connection) = (&server, &connection);
        async move {
            if is_dead {
                return pending().await;
            }
            server.respond(request, connection).await
        }
    });
    let served = http1::Builder::new()
        .auto_date_header(false)
        .title_case_headers(title_case_headers)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    let hang_up = async {
        match (watched, number) {
            (Some(watched), Some(number)) => {
                watched.closed_by_peer().await;
                server.hung_up(number);
            }
            _ => pending().await,
        }
    };
    let served = tokio::select! {
        served = served => served,
        () = hang_up => return,
    };
    if let Err(error) = served {
        tracing::trace!(%error, "A connection to a simulated server ended");
    }
}

/// Answers a request whose body is held in memory, with an answer that is.
pub(super) async fn answered_whole<F: Future<Output = Reply>>(
    request: Request<Incoming>,
    connection: &Connection,
    answer: impl FnOnce(Request<Bytes>) -> F,
) -> Result<Response<Sent>, GivenUp> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_REQUEST).collect().await.map_err(|_| GivenUp)?.to_bytes();
    let Reply { mut response, delivery } = answer(Request::from_parts(parts, body)).await;
    if let Some(before) = response.extensions_mut().remove::<Before>() {
        connection.queue.put(before);
    }
    if delivery == Delivery::HeadersStall {
        return pending().await;
    }
    deliver(response, delivery, &connection.reset)
}

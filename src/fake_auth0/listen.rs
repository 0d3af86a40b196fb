//! The tenant behind TLS on loopback: listening, refusing, going away and coming back.

use std::future::{pending, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::task;

use super::certificates::CertificateKind;
use super::reply::Delivery;
use super::wire::{Before, GivenUp, Preceded, Queue, ResetFlag, Sent, Socket, deliver};
use super::{Reply, Tenant};

const BACKLOG: u32 = 1024;
const LONGEST_REQUEST: usize = 64 * 1024;

/// A tenant that listens. Dropping this closes the port and every open connection.
pub struct Listening {
    domain: String,
    port: u16,
    ca_pem: String,
    door: Arc<Door>,
}

impl Listening {
    /// `localhost:PORT`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The port, which can be listened on again after [`Listening::stop`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority's certificate; the same for every listener of a tenant.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Goes away: the port refuses from now on, and open connections are closed as soon as their tasks run.
    pub fn stop(self) {
        drop(self);
    }

    /// The same, and waits until they are: from then on nothing is answered that was sent before.
    pub async fn closed(self) {
        let door = Arc::clone(&self.door);
        drop(self);
        // Every connection's task watches the door, and drops its connection before it ceases to.
        door.open.closed().await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.door.close();
    }
}

impl Tenant {
    /// Listens on a free port of 127.0.0.1. Where the options name no domain, `localhost:PORT` becomes it; of
    /// several listeners the latest's.
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
        let config = self.0.authority.server_config(certificate).map_err(io::Error::other)?;
        let socket = bind(port)?;
        let port = socket.local_addr()?.port();
        let door = Arc::new(Door::new(port, socket.listen(BACKLOG)?));
        let domain = format!("localhost:{port}");
        self.state().listening = Some(domain.clone());
        self.0.doors.add(&door);
        self.settle_doors();
        task::spawn("demo-listener", serve(self.clone(), door.clone(), TlsAcceptor::from(config)));
        Ok(Listening { domain, port, ca_pem: self.0.authority.pem(), door })
    }
}

fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

/// Every listener of a tenant, to be told of a fault that concerns them.
#[derive(Default)]
pub(super) struct Doors(Mutex<Vec<Weak<Door>>>);

impl Doors {
    fn add(&self, door: &Arc<Door>) {
        let mut doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        doors.retain(|door| door.strong_count() > 0);
        doors.push(Arc::downgrade(door));
    }

    /// Before this returns, every port refuses, or accepts again.
    pub fn refuse(&self, refuse: bool) {
        let doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        doors.iter().filter_map(Weak::upgrade).for_each(|door| door.refuse(refuse));
    }
}

/// One port: what state it is in, and a signal for the tasks behind it.
struct Door {
    port: u16,
    gate: Mutex<Gate>,
    open: watch::Sender<bool>,
}

enum Gate {
    Open(TcpListener),
    /// Bound, so that nobody else takes the port, but not listening: connecting to it is refused.
    Refusing(Option<TcpSocket>),
    Closed,
}

impl Door {
    fn new(port: u16, listener: TcpListener) -> Self {
        Self { port, gate: Mutex::new(Gate::Open(listener)), open: watch::Sender::new(true) }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        *self.gate() = Gate::Closed;
        self.open.send_replace(false);
    }

    fn refuse(&self, refuse: bool) {
        let mut gate = self.gate();
        match (&mut *gate, refuse) {
            (Gate::Open(_), true) => {
                // The listener has to be gone before its port can be bound again.
                *gate = Gate::Refusing(None);
                *gate = Gate::Refusing(bind(self.port).ok());
            }
            (Gate::Refusing(socket), false) => {
                let socket = socket.take().map_or_else(|| bind(self.port), Ok);
                match socket.and_then(|socket| socket.listen(BACKLOG)) {
                    Ok(listener) => *gate = Gate::Open(listener),
                    Err(error) => tracing::error!(%error, port = self.port, "The port was taken meanwhile"),
                }
            }
            _ => return,
        }
        self.open.send_replace(matches!(*gate, Gate::Open(_)));
    }

    fn is_closed(&self) -> bool {
        matches!(*self.gate(), Gate::Closed)
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        match &*self.gate() {
            Gate::Open(listener) => Poll::Ready(Ok(ready!(listener.poll_accept(cx))?.0)),
            _ => Poll::Pending,
        }
    }
}

async fn serve(tenant: Tenant, door: Arc<Door>, acceptor: TlsAcceptor) {
    let mut open = door.open.subscribe();
    while !door.is_closed() {
        tokio::select! {
            accepted = poll_fn(|cx| door.poll_accept(cx)) => match accepted {
                Ok(stream) => {
                    let connection = serve_connection(tenant.clone(), stream, acceptor.clone());
                    task::spawn("demo-connection", while_open(door.open.subscribe(), connection));
                }
                // Out of file descriptors, most likely; there will be some again.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            _ = open.changed() => {}
        }
    }
}

/// Runs `connection` until the door shuts; then drops it, which closes it.
async fn while_open(mut open: watch::Receiver<bool>, connection: impl Future<Output = ()>) {
    tokio::select! {
        () = connection => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

async fn serve_connection(tenant: Tenant, stream: TcpStream, acceptor: TlsAcceptor) {
    let reset = ResetFlag::default();
    let queue = Queue::default();
    let (title_case, generation) = {
        let state = tenant.state();
        (state.options.title_case_headers, state.connections_died)
    };
    let Ok(stream) = acceptor.accept(Socket::new(stream, reset.clone())).await else { return };
    let stream = Preceded::new(stream, queue.clone());
    let service = service_fn(|request| {
        let is_dead = tenant.state().connections_died != generation;
        respond(&tenant, request, is_dead, &reset, &queue)
    });
    let served = http1::Builder::new()
        .auto_date_header(false)
        .title_case_headers(title_case)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "A connection to the simulated tenant ended");
    }
}

async fn respond(
    tenant: &Tenant,
    request: Request<Incoming>,
    is_dead: bool,
    reset: &ResetFlag,
    queue: &Queue,
) -> Result<Response<Sent>, GivenUp> {
    if is_dead {
        return pending().await;
    }
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_REQUEST).collect().await.map_err(|_| GivenUp)?.to_bytes();
    let Reply { mut response, delivery } = tenant.answer(Request::from_parts(parts, body)).await;
    if let Some(before) = response.extensions_mut().remove::<Before>() {
        queue.put(before);
    }
    if delivery == Delivery::HeadersStall {
        return pending().await;
    }
    deliver(response, delivery, reset)
}

//! The TCP listener for probes and metrics, for those who cannot reach a Unix socket: kubelets, Prometheus. Never a
//! token, never a user: of the routes there are it has those that anybody may ask for.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::server::{self, Services};

/// Connections at a time: a few scrapers and probes, each of which asks and leaves. Further ones wait.
pub const MAX_CONNECTIONS: usize = 32;

/// For a request's head, and for how long a connection may stay without one.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// For how long callers are told that an idle connection stays open: less than [`HEAD_TIME`].
const KEPT: HeaderValue = HeaderValue::from_static("timeout=5");

/// A connection is over after this long, whatever it does; a scraper that keeps its own open makes another.
const LIFETIME: Duration = Duration::from_secs(300);

/// hyper's bound on what it buffers of a connection.
const MAX_BUFFER: usize = 32 * 1024;

/// After an accept that failed for want of descriptors or memory.
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
#[error(
    "admin.address {address} cannot be listened on: {cause}; choose another port, or stop whoever has it"
)]
pub struct AdminError {
    address: SocketAddr,
    cause: io::Error,
}

/// Listens. Needs no runtime; the sandbox forbids it later.
pub fn bind(address: SocketAddr) -> Result<TcpListener, AdminError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|cause| AdminError { address, cause })
}

/// Answers for as long as it is not dropped: probes tell the truth during a shutdown, too.
pub async fn serve(listener: tokio::net::TcpListener, services: Arc<Services>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            (accepted, place) = next => match accepted {
                Ok((stream, _)) => {
                    let services = Arc::clone(&services);
                    connections.spawn(async move {
                        tokio::time::timeout(LIFETIME, answer(stream, services)).await.ok();
                        drop(place);
                    });
                }
                Err(_) => tokio::time::sleep(AFTER_A_FAILED_ACCEPT).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(stream: TcpStream, services: Arc<Services>) {
    let service = service_fn(|request| {
        let services = Arc::clone(&services);
        async move { Ok::<_, Infallible>(server::answer_openly(&services, &request, KEPT)) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "A connection to admin.address ended");
    }
}

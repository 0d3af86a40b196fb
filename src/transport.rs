//! Sends one request and reads its response: TLS only, no redirects, bounded in time and size.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper_util::client::legacy::connect::CaptureConnection;
use tokio::time::Instant;

use crate::domain::error::Failure;
use crate::signing::ClientCertificate;

pub mod address;
pub mod bearer;
mod body_reading;
mod causes;
pub mod connect;
mod cut;
mod descriptor_shortage;
mod exchange_end;
mod https;
mod maybe_proxied;
mod no_proxy;
pub mod read_bounds;
pub mod resolver;
pub mod response;
mod stream_body;
pub mod streaming;
pub mod tcp;
pub mod tls;
pub mod zeroize_io;

pub use https::{TransportError, TransportSettings, build};

use read_bounds::ReadBounds;
use response::Answer;

/// Sends one request and reads one response. It does not interpret statuses.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request`, whose URI is absolute, and reads the whole response. A [`Seen`] in the request's extensions
    /// is told the connection.
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_>;

    /// Sends `request` through a new connection.
    fn send_anew(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        self.send(request)
    }

    /// Excludes all present connections from further use.
    fn retire(&self) {}

    /// A transport to the same network that presents `certificate` where a server asks for one; `None` if this one
    /// speaks no TLS.
    fn presenting(&self, certificate: &Arc<ClientCertificate>) -> Option<Arc<dyn Transport>> {
        let _ = certificate;
        None
    }
}

/// Observes the connection of one request while the request is under way.
#[derive(Clone)]
pub struct Seen {
    begun: Instant,
    connection: Arc<OnceLock<CaptureConnection>>,
}

impl Seen {
    /// An observer for a request that is about to be sent.
    pub fn new() -> Self {
        Self { begun: Instant::now(), connection: Arc::default() }
    }

    /// Whether a connection was there for the request to be sent through; `None` if the transport does not tell. Without
    /// one, the peer has certainly not processed the request.
    pub fn has_connected(&self) -> Option<bool> {
        self.connection.get().map(|connection| connection.connection_metadata().is_some())
    }

    /// Whether the request was sent through an older connection and nothing was read from it since.
    pub fn is_silent(&self) -> bool {
        let Some(connection) = self.connection.get() else { return false };
        let mut parts = Request::new(());
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.get_extras(parts.extensions_mut());
        }
        parts.extensions().get::<ReadBounds>().is_some_and(|bounds| bounds.is_silent_since(self.begun))
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self::new()
    }
}

/// A request under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

//! Sends one request and hands its answer on as it comes: TLS only, no redirects, no decompression, any length.
//!
//! The time that an answer may take, and its length, are the caller's to bound. Of an answer, hyper holds its read buffer
//! of 16 KiB and one piece of at most as much; of a request's body it collects at most 16 pieces before it writes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::{Request, Response, StatusCode};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::domain::error::Failure;

use super::address::Reach;
use super::causes::Causes;
use super::connect::Timed;
use super::exchange_end::{ExchangeEnd, Incomplete, Outgoing};
use super::https::{Connector, MOST_IDLE, POOL_IDLE, TransportError, TransportSettings};
use super::maybe_proxied::MaybeProxied;
use super::read_bounds::{READ_BUFFER, ReadBounds};
use super::{body_reading, tls};

pub use super::stream_body::{BodyError, StreamBody};

/// Sends requests whose bodies, and whose answers' bodies, come piece by piece.
pub trait StreamingTransport: Send + Sync + 'static {
    /// Sends `request`, whose URI is absolute, and returns the answer once its head is complete. The path and the query
    /// are sent byte for byte. A request is sent once; only one of which nothing was sent is tried on another connection.
    ///
    /// An answer that comes while the request's body is still being sent is handed on, and what is left of that body is
    /// not sent once the answer has ended. Dropping the future, or the answer's body before its end, closes the
    /// connection.
    fn open(&self, request: Request<StreamBody>) -> Opening<'_>;
}

/// A request under way, until the head of its answer.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Response<StreamBody>, Failure>> + Send + 'a>>;

/// The streaming transport for production: HTTP/1.1 over TLS, with connections kept alive.
struct StreamingHttps {
    client: Client<Connector, Outgoing>,
    causes: Causes,
}

/// Builds the streaming transport that `settings` describe, which connects to the addresses in `reach`. Its
/// `request_timeout` has no meaning here.
///
/// # Errors
/// The certificate authorities or the proxy's address cannot be used.
pub fn build_streaming(
    settings: &TransportSettings<'_>,
    reach: Reach,
) -> Result<Arc<dyn StreamingTransport>, TransportError> {
    let TransportSettings { table, is_absolute, connect_timeout, .. } = *settings;
    let tls = tls::client_config(settings.extra_roots, table)?;
    let route =
        MaybeProxied::new(settings.proxy, is_absolute, reach).map_err(|_| TransportError::Proxy { table })?;
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
    let connector = Timed::streaming(https.wrap_connector(route.clone()), connect_timeout);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(MOST_IDLE)
        .http1_read_buf_exact_size(READ_BUFFER)
        .build(connector);
    Ok(Arc::new(StreamingHttps { client, causes: Causes { route, is_certified: false } }))
}

impl StreamingTransport for StreamingHttps {
    fn open(&self, mut request: Request<StreamBody>) -> Opening<'_> {
        let uri = request.uri().clone();
        Box::pin(async move {
            let enough = body_reading::count_interim(&mut request);
            let connection = capture_connection(&mut request);
            let (parts, body) = request.into_parts();
            let (body, end) = ExchangeEnd::of(body, connection.clone());
            let request = Request::from_parts(parts, body);
            let response = tokio::select! {
                response = self.client.request(request) => {
                    response.map_err(|error| self.causes.classify(&error, &uri))?
                }
                () = enough.notified() => return Err(Failure::Malformed { what: body_reading::INTERIM }),
            };
            // What follows would not be HTTP.
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Err(Failure::Malformed { what: "an upgrade that was not asked for" });
            }
            if let Some(bounds) = response.extensions().get::<ReadBounds>() {
                if bounds.has_grown() {
                    connection.connection_metadata().as_ref().inspect(|connected| connected.poison());
                }
                bounds.head_is_read();
            }
            Ok(response.map(|body| Incomplete::new(body, end).boxed_unsync()))
        })
    }
}

#[cfg(test)]
mod tests;

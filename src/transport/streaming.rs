//! Sends one request and hands its answer on as it comes: TLS only, no redirects, no decompression, any length.
//!
//! The time that an answer may take, and its length, are the caller's to bound. Of an answer, hyper holds its read buffer
//! of 16 KiB and one piece of at most as much; of a request's body it collects at most 16 pieces before it writes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;

use crate::domain::error::Failure;

use super::address::Reach;
use super::causes::Causes;
use super::connect::Timed;
use super::exchange_end::{ExchangeEnd, Incomplete, Outgoing};
use super::https::{self, Connector, TransportError, TransportSettings};
use super::maybe_proxied::MaybeProxied;
use super::tls;

pub use super::stream_body::{BodyError, StreamBody};

/// Sends requests whose bodies, and whose answers' bodies, come piece by piece.
pub trait StreamingTransport: Send + Sync + 'static {
    /// Sends `request`, whose URI is absolute, and returns the answer once its head is complete. The path and the query
    /// are sent byte for byte. A request is sent once; only one of which nothing was sent is tried on another connection.
    /// One with a body and another method than `POST`, `PUT` or `PATCH` is the last on its connection.
    ///
    /// An answer that comes while the request's body is still being sent is handed on, and what is left of that body is
    /// not sent once the answer has ended. Dropping the future, or the answer's body before its end, closes the
    /// connection.
    fn open(&self, request: Request<StreamBody>) -> Opening<'_>;
}

/// A request under way, until the head of its answer.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Response<StreamBody>, Failure>> + Send + 'a>>;

/// The most idle connections that are kept to a host. With fewer than calls that are made at a time, most calls pay for a TLS
/// handshake: with four, 32 clients cost 205 µs of processor time per call instead of 50.
pub const MOST_IDLE: usize = 32;

/// Methods whose body every server reads. A server that ignores the body of another one (a `GET`, say) takes it for the
/// next request on the connection, and would answer that in place of another user's.
const HAVE_BODY: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];

/// The streaming transport for production: HTTP/1.1 over TLS, with connections kept alive.
struct StreamingHttps {
    client: Client<Connector, Outgoing>,
    causes: Causes,
}

/// Builds the streaming transport that `settings` describe, which connects to the addresses in `reach`, and keeps
/// up to `most_idle` idle connections to a host. Its `request_timeout` has no meaning here.
///
/// # Errors
/// The certificate authorities or the proxy's address cannot be used.
pub fn build_streaming(
    settings: &TransportSettings<'_>,
    reach: Reach,
    most_idle: usize,
) -> Result<Arc<dyn StreamingTransport>, TransportError> {
    let TransportSettings { table, is_absolute, connect_timeout, .. } = *settings;
    let tls = tls::client_config(settings.extra_roots, table)?;
    let route =
        MaybeProxied::new(settings.proxy, is_absolute, reach).map_err(|_| TransportError::Proxy { table })?;
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
    let connector = Timed::streaming(https.wrap_connector(route.clone()), connect_timeout);
    let client = https::client(connector, most_idle);
    Ok(Arc::new(StreamingHttps { client, causes: Causes { route, is_certified: false } }))
}

impl StreamingTransport for StreamingHttps {
    fn open(&self, mut request: Request<StreamBody>) -> Opening<'_> {
        Box::pin(async move {
            let connection = capture_connection(&mut request);
            let (mut parts, body) = request.into_parts();
            if !body.is_end_stream() && !HAVE_BODY.contains(&parts.method) {
                parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let (body, end) = ExchangeEnd::of(body, connection.clone());
            let request = Request::from_parts(parts, body);
            let response = https::head(&self.client, &self.causes, request, &connection).await?;
            if let Some(what) = fault(response.status(), response.headers()) {
                return Err(Failure::Malformed { what });
            }
            Ok(response.map(|body| Incomplete::new(body, end).boxed_unsync()))
        })
    }
}

/// What of an answer's head is malformed, if anything is.
fn fault(status: StatusCode, headers: &HeaderMap) -> Option<&'static str> {
    // What follows would not be HTTP.
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Some("an upgrade that was not asked for");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    // hyper removes the last coding alone, and the header with the others ends here.
    let is_plain = codings.next().is_none_or(is_chunked) && codings.next().is_none();
    (!is_plain).then_some("a transfer coding other than chunked")
}

#[cfg(test)]
mod tests;

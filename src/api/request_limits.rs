//! Limits of every request: its size, the time its body takes, and headers of forwarded requests.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Version;
use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, FORWARDED, HeaderMap, HeaderName, ORIGIN, REFERER};
use hyper::http::request::Parts;

use super::error::ApiError;

/// The limits, which the HTTP reference states.
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADER_FIELDS: usize = 64;
const MAX_BODY: usize = 64 * 1024;
const BODY_TIME: Duration = Duration::from_secs(5);

const REQUEST_HEADER: HeaderName = HeaderName::from_static("cloakroom-request");

/// The result of one scan of the headers, for every route.
#[derive(Default)]
pub struct HeaderScan {
    bytes: usize,
    /// A header that proxies or browsers add.
    forwarded: Option<HeaderName>,
    /// Whether there is a `Connection` header.
    says_connection: bool,
    /// Whether the first `Cloakroom-Request` header is `true`; `None` without one.
    is_meant: Option<bool>,
}

impl HeaderScan {
    /// Scans the headers, once for all checks.
    pub fn of(headers: &mut HeaderMap) -> Self {
        let mut scan = Self::default();
        for (name, value) in headers.iter_mut() {
            scan.bytes += name.as_str().len() + value.len() + 4;
            if *name == AUTHORIZATION {
                // A user token. No code prints headers; if any ever does, it does not print this one.
                value.set_sensitive(true);
            } else if *name == REQUEST_HEADER {
                scan.is_meant.get_or_insert(*value == "true");
            } else if *name == CONNECTION {
                scan.says_connection = true;
            } else if scan.forwarded.is_none() && is_forwarding(name) {
                scan.forwarded = Some(name.clone());
            }
        }
        scan
    }

    /// Refuses header sections that are too large, and requests that a proxy or a browser has forwarded.
    pub fn check(&self, head: &Parts) -> Result<(), ApiError> {
        let line = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if head.headers.len() > MAX_HEADER_FIELDS || line + self.bytes > MAX_HEADER_BYTES {
            return Err(ApiError::HeadersTooLarge);
        }
        self.forwarded.clone().map_or(Ok(()), |name| Err(ApiError::Forwarded(name)))
    }

    /// Whether the connection persists after this request (RFC 9112 §9.3).
    pub fn goes_on(&self, head: &Parts) -> bool {
        let is_plain = head.version == Version::HTTP_11 && !self.says_connection;
        is_plain || goes_on(head.version, &head.headers)
    }

    /// Whether the request header is there, whatever its value.
    pub fn has_request_header(&self) -> bool {
        self.is_meant.is_some()
    }

    /// Whether the request header has the value `true`: the request is meant for this daemon.
    pub fn is_meant(&self) -> bool {
        self.is_meant == Some(true)
    }
}

/// Whether the version and the `Connection` headers of a request let its connection persist.
fn goes_on(version: Version, headers: &HeaderMap) -> bool {
    let says = |option: &str| {
        let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(option))
    };
    !says("close") && (version == Version::HTTP_11 || says("keep-alive"))
}

/// Whether proxies and browsers add this header, which clients of a local socket have no use for.
fn is_forwarding(name: &HeaderName) -> bool {
    *name == ORIGIN || *name == REFERER || *name == FORWARDED || name.as_str().starts_with("x-forwarded-")
}

/// Reads a body within its limits, also where the route takes none, so that the connection can persist.
pub async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(ApiError::BodyTooLarge);
    }
    match tokio::time::timeout(BODY_TIME, copy(Limited::new(body, MAX_BODY))).await {
        Err(_) => Err(ApiError::Timeout),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::BodyTooLarge),
        // The body is truncated or its chunks are malformed, so what was read may differ from what was meant.
        Ok(Err(_)) => Err(ApiError::InvalidRequest {
            parameter: "body".into(),
            detail: "the body broke off, or its chunks are malformed; nothing was done".into(),
        }),
        Ok(Ok(body)) => Ok(body.freeze()),
    }
}

/// Copies each chunk, so that its buffer is freed. Every chunk is in a buffer of 8 KiB, however small it is: the chunks
/// of a body of 64 KiB that is sent byte by byte would otherwise take half a gigabyte.
async fn copy<B>(mut body: B) -> Result<BytesMut, B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            whole.extend_from_slice(&piece);
        }
    }
    Ok(whole)
}

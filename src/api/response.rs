//! Responses. The head of a response is written last and at once, when all its values are known.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::cache::{CacheState, Served};

const CACHE_STATE: HeaderName = HeaderName::from_static("cloakroom-cache");
const REQUEST_ID: HeaderName = HeaderName::from_static("cloakroom-request-id");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// How long an idle connection stays open, for clients. The stated time is shorter than the real one, so that a client
/// that respects it sends no request into a closing connection.
pub const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Whether the connection persists after a response, and what its `Keep-Alive` header states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// The connection may close, so there is no header.
    None,
    /// On a Unix socket: less than `connection::IDLE_TIMEOUT`.
    OnSocket,
    /// On `admin.address`: less than `admin::HEAD_TIMEOUT`.
    OverTcp,
}

impl KeepAlive {
    fn value(self) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::OnSocket => Some(HeaderValue::from_static("timeout=100")),
            Self::OverTcp => Some(HeaderValue::from_static("timeout=5")),
        }
    }
}

/// The headers of a lookup's response, without their values. Nearly every response is one, and inserting each header by
/// the hash of its name costs more than the rest of the head. The map is therefore built once, and copied and filled in
/// for each response (18,555 instructions per hit, where insertion took 19,455).
static LOOKUP: LazyLock<HeaderMap> = LazyLock::new(|| {
    let names = [REQUEST_ID, CONTENT_TYPE, CACHE_STATE, AGE, CACHE_CONTROL];
    let keep_alive = KeepAlive::OnSocket.value().map(|value| (KEEP_ALIVE, value));
    names.into_iter().map(|name| (name, NO_STORE)).chain(keep_alive).collect()
});

/// The body of an answer.
pub enum AnswerBody {
    /// A body that is complete.
    Whole(Full<Bytes>),
    /// A body that arrives from a provider meanwhile. Its error aborts the connection, so that the client finds the
    /// answer to be incomplete.
    Stream(StreamedBody),
}

/// A body whose frames are passed on as they arrive.
pub type StreamedBody = Pin<Box<dyn Body<Data = Bytes, Error = BrokenStream> + Send>>;

/// Why a streamed body ends before its end. The client learns nothing of it but that the answer is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenStream {
    /// The provider's answer ended early.
    #[error("the provider has closed the connection within its answer: make the call again")]
    Cut,
    /// The provider sent nothing for too long.
    #[error("the provider has sent nothing for idle_timeout: raise it, or make the call again")]
    Idle,
    /// The provider's answer is too large.
    #[error("the provider's answer has more than response_bytes: raise it, or ask the provider for less")]
    TooLarge,
}

impl From<Bytes> for AnswerBody {
    fn from(body: Bytes) -> Self {
        Self::Whole(Full::new(body))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenStream;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenStream>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx).map_err(|never| match never {}),
            Self::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

/// The result of a handler, from which the response is made.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    /// Where the answer of a lookup came from, and its age in seconds.
    lookup: Option<(CacheState, u64)>,
    more: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Reply {
    /// A reply without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, content_type: None, lookup: None, more: Vec::new(), body: Bytes::new() }
    }

    /// A reply with this body.
    pub fn new(status: StatusCode, content_type: &'static str, body: Bytes) -> Self {
        Self { content_type: Some(HeaderValue::from_static(content_type)), body, ..Self::empty(status) }
    }

    /// Adds where the answer of a lookup came from, and its age in seconds.
    pub fn looked_up(self, state: CacheState, age: u64) -> Self {
        Self { lookup: Some((state, age)), ..self }
    }

    /// Adds a header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.more.push((name, value));
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The response to the request with this id. No response may be stored by a cache on the way.
    pub fn into_response(self, request_id: HeaderValue, keep_alive: KeepAlive) -> Response<AnswerBody> {
        let mut response = Response::new(AnswerBody::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        match (self.lookup, self.content_type) {
            (Some((state, age)), Some(content_type)) => {
                *headers = LOOKUP.clone();
                let state = HeaderValue::from_static(state.as_str());
                // One allocation, where `HeaderValue::from` has one more.
                let age =
                    HeaderValue::from_str(itoa::Buffer::new().format(age)).unwrap_or_else(|_| age.into());
                // The order is that of `LOOKUP`, which already has the remaining values.
                let values = [request_id, content_type, state, age];
                headers.values_mut().zip(values).for_each(|(slot, value)| *slot = value);
                if keep_alive != KeepAlive::OnSocket {
                    headers.remove(KEEP_ALIVE);
                    headers.extend(keep_alive.value().map(|value| (KEEP_ALIVE, value)));
                }
            }
            (_, content_type) => {
                headers.insert(REQUEST_ID, request_id);
                headers.insert(CACHE_CONTROL, NO_STORE);
                headers.extend(content_type.map(|content_type| (CONTENT_TYPE, content_type)));
                headers.extend(keep_alive.value().map(|value| (KEEP_ALIVE, value)));
            }
        }
        for (name, value) in self.more {
            headers.insert(name, value);
        }
        response
    }
}

/// The response with an answer that comes from another server. Its `Cache-Control` is that server's.
pub fn proxied(
    status: StatusCode,
    mut headers: HeaderMap,
    request_id: HeaderValue,
    keep_alive: KeepAlive,
    body: impl Body<Data = Bytes, Error = BrokenStream> + Send + 'static,
) -> Response<AnswerBody> {
    headers.insert(REQUEST_ID, request_id);
    headers.extend(keep_alive.value().map(|value| (KEEP_ALIVE, value)));
    let mut response = Response::new(AnswerBody::Stream(Box::pin(body)));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// The reply of a lookup, with its source and its age.
pub fn lookup<F>(served: &Served<F>, json: Vec<u8>) -> Reply {
    let age = served.fetched().age(served.now).as_secs();
    Reply::new(StatusCode::OK, "application/json", json.into()).looked_up(served.state, age)
}

/// A reply in JSON.
pub fn ok(body: &impl Serialize) -> Reply {
    json(StatusCode::OK, "application/json", body)
}

/// A reply with a body that is already JSON.
pub fn document(text: &'static str) -> Reply {
    Reply::new(StatusCode::OK, "application/json", Bytes::from_static(text.as_bytes()))
}

/// The reply of a probe: one line of text, with 200 or 503.
pub fn probe(state: Result<Cow<'static, str>, String>) -> Reply {
    let (status, mut line) = match state {
        Ok(line) => (StatusCode::OK, line.into_owned()),
        Err(line) => (StatusCode::SERVICE_UNAVAILABLE, line),
    };
    line.push('\n');
    Reply::new(status, "text/plain; charset=utf-8", line.into())
}

/// Metrics, in one of the two formats of Prometheus.
pub fn metrics(text: Bytes, is_open_metrics: bool) -> Reply {
    let content_type = match is_open_metrics {
        true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        false => "text/plain; version=0.0.4; charset=utf-8",
    };
    Reply::new(StatusCode::OK, content_type, text)
}

/// A reply without content (204).
pub fn done() -> Reply {
    Reply::empty(StatusCode::NO_CONTENT)
}

pub(super) fn json(status: StatusCode, content_type: &'static str, body: &impl Serialize) -> Reply {
    Reply::new(status, content_type, written(body).into())
}

/// `body` as JSON. The types of this module's callers always serialise: their keys are text and their values finite.
pub fn written(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookups_answer_has_its_values_under_their_names() {
        let reply = Reply::new(StatusCode::OK, "application/json", Bytes::from_static(b"{}"));
        let reply = reply.looked_up(CacheState::Stale, 7);
        let mut response = reply.into_response(HeaderValue::from_static("1-2"), KeepAlive::OnSocket);
        let headers = std::mem::take(response.headers_mut());
        let mut text: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        text.sort();
        assert_eq!(
            text,
            [
                "age: \"7\"",
                "cache-control: \"no-store\"",
                "cloakroom-cache: \"stale\"",
                "cloakroom-request-id: \"1-2\"",
                "content-type: \"application/json\"",
                "keep-alive: \"timeout=100\"",
            ]
        );
        assert_eq!(headers.get("age"), Some(&HeaderValue::from_static("7")), "and is found by name");
    }
}

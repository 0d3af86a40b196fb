//! Answers: a response, how much of it reaches the client, and Auth0's formats of errors.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::domain::freshness::Timestamp;

/// A simulated server's reaction to a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The complete response.
    pub response: Response<Bytes>,
    /// How much of the response is delivered. A transport without sockets must apply it.
    pub delivery: Delivery,
}

/// How much of a response arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// All of it.
    #[default]
    Whole,
    /// Nothing: the connection is refused, or closed before a byte is sent.
    Refused,
    /// Nothing: the request is read, and the connection is closed before a byte is sent.
    Closed,
    /// Status, headers and half the body; then the connection is reset.
    ResetMidway,
    /// Nothing, ever; the connection stays open.
    HeadersStall,
    /// Status, headers and half the body; then nothing more, and the connection stays open.
    BodyStalls,
    /// Status, headers with the whole body's length, and half the body; then the connection is closed.
    Truncated,
    /// All of it, one byte of the body at a time, with this pause before each.
    Dripping(Duration),
}

/// A response that refuses the request. Boxed, because a response is large and refusals are the exception.
pub(super) type Refusal = Box<Response<Bytes>>;

impl Reply {
    /// The status, if the client receives it.
    pub fn visible_status(&self) -> Option<StatusCode> {
        match self.delivery {
            Delivery::Refused | Delivery::Closed | Delivery::HeadersStall => None,
            _ => Some(self.response.status()),
        }
    }
}

pub(super) fn json(status: StatusCode, body: &Value) -> Response<Bytes> {
    with_type(status, "application/json; charset=utf-8", body.to_string())
}

pub(super) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Makes an error in the format of the Authentication API.
pub(super) fn oauth_error(status: StatusCode, error: &str, description: &str) -> Response<Bytes> {
    json(status, &json!({ "error": error, "error_description": description }))
}

/// Refuses a request to the Authentication API as invalid.
pub(super) fn invalid(description: &str) -> Refusal {
    oauth_error(StatusCode::BAD_REQUEST, "invalid_request", description).into()
}

/// Refuses a request to the Authentication API that lacks a parameter.
pub(super) fn missing(parameter: &str) -> Refusal {
    invalid(&format!("Missing required parameter: {parameter}"))
}

/// Makes an error in the format of the Management API.
pub(super) fn management_error(status: StatusCode, message: &str, code: Option<&str>) -> Response<Bytes> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut body = json!({ "statusCode": status.as_u16(), "error": reason, "message": message });
    if let (Some(code), Some(body)) = (code, body.as_object_mut()) {
        body.insert("errorCode".into(), code.into());
    }
    json(status, &body)
}

/// Makes the Management API's 401 of its JWT check, which contains the message twice.
pub(super) fn jwt_error(message: &str) -> Response<Bytes> {
    let body = json!({
        "statusCode": 401, "error": "Unauthorized", "message": message, "attributes": { "error": message },
    });
    json(StatusCode::UNAUTHORIZED, &body)
}

/// Makes the 429 of the application's quota of tokens.
pub(super) fn quota_exceeded(retry_after: u64) -> Response<Bytes> {
    let mut response =
        oauth_error(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Client quota exceeded");
    set(&mut response, "retry-after", &retry_after.to_string());
    response
}

pub(super) fn route_not_found() -> Response<Bytes> {
    management_error(StatusCode::NOT_FOUND, "Not Found", None)
}

/// Sets a header, unless the value is invalid.
pub(super) fn set(response: &mut Response<Bytes>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

/// Adds the headers of every answer: `date` and `server`.
pub(super) fn finish(response: &mut Response<Bytes>, now: Timestamp, date_offset: i64) {
    let date = now.as_secs().saturating_add(date_offset);
    if !response.headers().contains_key(header::DATE) {
        set(response, "date", &http_date(date));
    }
    if !response.headers().contains_key(header::SERVER) {
        set(response, "server", "cloudflare");
    }
}

/// Formats a UNIX time as a date of RFC 9110; a time out of its range becomes the nearest in range.
pub(super) fn http_date(secs: i64) -> String {
    // httpdate formats the years 1970 to 9999.
    let secs = u64::try_from(secs).unwrap_or(0).min(253_402_300_799);
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(secs))
}

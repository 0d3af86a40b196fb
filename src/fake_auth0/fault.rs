//! Faults: the ways in which the tenant fails on request.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::Value;

use crate::domain::freshness::Moment;

use super::calls::Endpoint;
use super::reply::{self, Delivery, http_date, oauth_error};
use super::wire::Before;

/// A way for an endpoint to fail. A fault replaces the genuine answer, unless its comment says that it changes it.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Any status, headers and body. Header names and values that are invalid in HTTP are left out.
    Status {
        /// The status code; an invalid one becomes 500.
        status: u16,
        /// Names and values.
        headers: Vec<(String, String)>,
        /// The body; the headers state its type.
        body: String,
    },
    /// Waits before processing the request: a genuine answer shows the state after the wait.
    Latency(Duration),
    /// Waits before sending the answer: a genuine answer shows the state before the wait.
    LateAnswer(Duration),
    /// Stops listening, for all endpoints, and closes open connections. For the next answers only: closes the
    /// connection without an answer.
    RefuseConnections,
    /// Sends half of the genuine answer, then resets the connection.
    ResetWhileReading,
    /// Reads the request and never answers.
    StallHeaders,
    /// Sends half of the genuine answer's body, then nothing.
    StallBody,
    /// Sends half of the genuine answer's body under the full length, then closes.
    Truncate,
    /// 200 with an empty body.
    Empty200,
    /// 200 with a web page, as from captive portals and misrouted proxies.
    Html200,
    /// The genuine answer, padded with spaces to this many bytes: valid for a client that reads all of it.
    Body(usize),
    /// The genuine answer with this `Content-Encoding` and an unchanged body: edges and middleboxes send `Identity`, or
    /// an empty value.
    Encoding(String),
    /// The genuine answer, padded with spaces to this many bytes, in chunks of one byte each.
    Crumbs(usize),
    /// This many interim responses (100 Continue) before the genuine answer; `None`: endlessly many.
    Interim(Option<usize>),
    /// Open connections stay open, but nothing that is sent on them arrives; new connections work. This is what a NAT
    /// or a load balancer does after it has lost its state.
    DeadConnections,
    /// 200 with a gzip body that the client did not ask for: 66 KB that unpack to 10 MB of zeros.
    GzipBomb,
    /// A gzip body to a request that does not ask for `identity`, as HTTP allows; else the genuine answer.
    GzipByDefault,
    /// The genuine answer, as `text/plain`.
    WrongContentType,
    /// 302 to this location.
    Redirect(String),
    /// 401 in the endpoint's format.
    Unauthorized,
    /// 429 in the endpoint's format.
    RateLimited(WaitHint),
    /// 429 of the per-application quota for machine-to-machine tokens, with its own headers.
    QuotaExceeded {
        /// Seconds until requests are allowed again.
        retry_after: u64,
    },
    /// 429 of an application's own rate-limit policy, with its own header.
    PolicyExceeded {
        /// Seconds until requests are allowed again.
        retry_after: u64,
    },
    /// 429 of attack protection, which lasts for a long time.
    TooManyAttempts,
    /// 503 from the edge: a web page without Auth0's headers.
    Edge503Html,
    /// A web page with any status: from an edge that rejects a client or is overloaded, a corporate proxy, or a captive
    /// portal. Its wait is stated as in a 429.
    EdgePage {
        /// The status code.
        status: u16,
        /// How the answer states when to retry.
        wait: WaitHint,
    },
    /// JSON of a gateway on the way with any status: an error that is not Auth0's.
    GatewayJson {
        /// The status code.
        status: u16,
    },
    /// A genuine grant with another `expires_in`.
    ExpiresIn(ExpiresIn),
    /// A genuine grant whose token has this suffix, as from a folded line or a padded field.
    TokenEndsIn(&'static str),
    /// A genuine grant whose JWT expired long ago.
    JwtExpInThePast,
    /// Shifts the `Date` header by this many seconds.
    DateOffset(i64),
}

/// How a 429 or a 503 states when to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitHint {
    /// `Retry-After` in seconds.
    Seconds(u64),
    /// `Retry-After` as a date, this far ahead.
    Date(Duration),
    /// `x-ratelimit-reset` this far ahead, without `Retry-After`, as sent by the global limit.
    Reset(Duration),
    /// No hint.
    None,
}

/// An invalid or unusual `expires_in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiresIn {
    /// 0.
    Zero,
    /// -1.
    Negative,
    /// Missing.
    Missing,
    /// The correct number, as text.
    Text,
    /// 1e18.
    Huge,
}

#[derive(Default)]
pub(super) struct Faults {
    standing: HashMap<Endpoint, Vec<Fault>>,
    next: HashMap<Endpoint, VecDeque<(usize, Fault)>>,
}

impl Faults {
    pub fn add(&mut self, endpoint: Endpoint, fault: Fault) {
        if matches!(fault, Fault::DeadConnections) {
            return;
        }
        self.standing.entry(endpoint).or_default().push(fault);
    }

    pub fn add_next(&mut self, endpoint: Endpoint, n: usize, fault: Fault) {
        if n > 0 {
            self.next.entry(endpoint).or_default().push_back((n, fault));
        }
    }

    pub fn clear(&mut self, endpoint: Endpoint) {
        self.standing.remove(&endpoint);
        self.next.remove(&endpoint);
    }

    pub fn refusing(&self) -> bool {
        self.standing.values().flatten().any(|fault| matches!(fault, Fault::RefuseConnections))
    }

    /// Takes the plan for the next answer of `endpoint`.
    pub fn plan(&mut self, endpoint: Endpoint) -> Plan {
        let mut plan = Plan::default();
        self.standing.get(&endpoint).into_iter().flatten().for_each(|fault| plan.add(fault));
        if self.refusing() {
            plan.add(&Fault::RefuseConnections);
        }
        if let Some(queue) = self.next.get_mut(&endpoint)
            && let Some((left, fault)) = queue.front_mut()
        {
            plan.add(fault);
            *left -= 1;
            if *left == 0 {
                queue.pop_front();
            }
        }
        plan
    }
}

/// What happens to one answer.
#[derive(Default)]
pub(super) struct Plan {
    pub latency: Duration,
    pub late: Duration,
    pub date_offset: i64,
    pub expires_in: Option<ExpiresIn>,
    pub token_ends_in: &'static str,
    pub jwt_expired: bool,
    pub delivery: Delivery,
    /// A fault that replaces or changes the genuine answer.
    body: Option<Fault>,
}

impl Plan {
    fn add(&mut self, fault: &Fault) {
        match fault {
            Fault::Latency(span) => self.latency += *span,
            Fault::LateAnswer(span) => self.late += *span,
            Fault::DateOffset(secs) => self.date_offset = *secs,
            Fault::ExpiresIn(kind) => self.expires_in = Some(*kind),
            Fault::TokenEndsIn(text) => self.token_ends_in = text,
            Fault::JwtExpInThePast => self.jwt_expired = true,
            Fault::RefuseConnections => self.delivery = Delivery::Refused,
            Fault::ResetWhileReading => self.delivery = Delivery::ResetMidway,
            Fault::StallHeaders => self.delivery = Delivery::HeadersStall,
            Fault::StallBody => self.delivery = Delivery::BodyStalls,
            Fault::Truncate => self.delivery = Delivery::Truncated,
            other => self.body = Some(other.clone()),
        }
    }

    /// Returns the answer that replaces the genuine one, if the plan has one. The tenant then issues, reads and counts
    /// nothing.
    pub fn instead(
        &self,
        endpoint: Endpoint,
        request: &Request<Bytes>,
        now: Moment,
    ) -> Option<Response<Bytes>> {
        let wants_identity =
            request.headers().get(header::ACCEPT_ENCODING).is_some_and(|value| value == "identity");
        Some(match self.body.as_ref()? {
            Fault::Status { status, headers, body } => arbitrary(*status, headers, body),
            Fault::Empty200 => reply::with_type(StatusCode::OK, "application/json; charset=utf-8", ""),
            Fault::Html200 => reply::with_type(StatusCode::OK, "text/html; charset=utf-8", PORTAL),
            Fault::GzipBomb | Fault::GzipByDefault if !(wants_identity && self.compresses_by_default()) => {
                let mut response =
                    reply::with_type(StatusCode::OK, "application/json; charset=utf-8", gzip_bomb());
                reply::set(&mut response, "content-encoding", "gzip");
                response
            }
            Fault::Redirect(to) => {
                let mut response = reply::with_type(StatusCode::FOUND, "text/plain; charset=utf-8", "Found");
                reply::set(&mut response, "location", to);
                response
            }
            Fault::Unauthorized if matches!(endpoint, Endpoint::Token | Endpoint::Exchange) => {
                oauth_error(StatusCode::UNAUTHORIZED, "access_denied", "Unauthorized")
            }
            Fault::Unauthorized => reply::jwt_error("Invalid token"),
            Fault::RateLimited(hint) => rate_limited(endpoint, *hint, now),
            Fault::QuotaExceeded { retry_after } => quota_exceeded(*retry_after),
            Fault::PolicyExceeded { retry_after } => policy_exceeded(*retry_after),
            Fault::TooManyAttempts => {
                oauth_error(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", TOO_MANY_ATTEMPTS)
            }
            Fault::Edge503Html => {
                reply::with_type(StatusCode::SERVICE_UNAVAILABLE, "text/html; charset=UTF-8", EDGE)
            }
            Fault::EdgePage { status, wait } => {
                let page =
                    format!("<html><body><h1>{status}</h1><hr><center>cloudflare</center></body></html>");
                let mut response = reply::with_type(any(*status), "text/html; charset=UTF-8", page);
                hint_at(&mut response, *wait, now);
                response
            }
            Fault::GatewayJson { status } => {
                reply::with_type(any(*status), "application/json", r#"{"message":"Forbidden"}"#)
            }
            _ => return None,
        })
    }

    fn compresses_by_default(&self) -> bool {
        matches!(self.body, Some(Fault::GzipByDefault))
    }

    /// Changes an answer, genuine or not, as planned.
    pub fn spoil(&self, response: &mut Response<Bytes>) {
        match &self.body {
            Some(Fault::Body(size)) => {
                let mut padded = response.body().to_vec();
                padded.resize((*size).max(padded.len()), b' ');
                *response.body_mut() = padded.into();
            }
            Some(Fault::Encoding(value)) => reply::set(response, "content-encoding", value),
            Some(Fault::Crumbs(size)) => {
                let mut padded = response.body().to_vec();
                padded.resize((*size).max(padded.len()), b' ');
                response.extensions_mut().insert(Before::in_crumbs(&padded));
            }
            Some(Fault::Interim(count)) => drop(response.extensions_mut().insert(Before::interim(*count))),
            Some(Fault::WrongContentType) => {
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            }
            _ => {}
        }
    }

    /// Returns the planned `expires_in`, given the correct one.
    pub fn expires_in(&self, right: u64) -> Option<Value> {
        match self.expires_in {
            None => Some(right.into()),
            Some(ExpiresIn::Zero) => Some(0.into()),
            Some(ExpiresIn::Negative) => Some((-1).into()),
            Some(ExpiresIn::Missing) => None,
            Some(ExpiresIn::Text) => Some(right.to_string().into()),
            Some(ExpiresIn::Huge) => Some(1e18.into()),
        }
    }
}

const TOO_MANY_ATTEMPTS: &str = "We have detected suspicious login behavior and further attempts will be \
                                 blocked. Please contact the administrator.";
const PORTAL: &str =
    "<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please sign in</body></html>";
const EDGE: &str = "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n\
                    <center><h1>503 Service Temporarily Unavailable</h1></center>\r\n\
                    <hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n";

fn any(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn arbitrary(status: u16, headers: &[(String, String)], body: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_owned()));
    *response.status_mut() = any(status);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn rate_limited(endpoint: Endpoint, hint: WaitHint, now: Moment) -> Response<Bytes> {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut response = match endpoint {
        Endpoint::User | Endpoint::ManagementApi => {
            reply::management_error(status, "Global limit has been reached", Some("too_many_requests"))
        }
        _ => oauth_error(status, "too_many_requests", "Rate limit exceeded. Please retry after some time."),
    };
    hint_at(&mut response, hint, now);
    response
}

pub(super) fn hint_at(response: &mut Response<Bytes>, hint: WaitHint, now: Moment) {
    let ahead = |span: Duration| now.wall.after(span).as_secs();
    match hint {
        WaitHint::Seconds(secs) => reply::set(response, "retry-after", &secs.to_string()),
        WaitHint::Date(span) => reply::set(response, "retry-after", &http_date(ahead(span))),
        WaitHint::Reset(span) => {
            reply::set(response, "x-ratelimit-limit", "50");
            reply::set(response, "x-ratelimit-remaining", "0");
            reply::set(response, "x-ratelimit-reset", &ahead(span).to_string());
        }
        WaitHint::None => {}
    }
}

fn quota_exceeded(retry_after: u64) -> Response<Bytes> {
    let mut response = reply::quota_exceeded(retry_after);
    let quota = format!("b=per_hour;q=10;r=0;t={retry_after},b=per_day;q=50;r=40;t=43200");
    reply::set(&mut response, "auth0-client-quota-limit", &quota);
    response
}

fn policy_exceeded(retry_after: u64) -> Response<Bytes> {
    let mut response =
        oauth_error(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Rate limit exceeded.");
    reply::set(&mut response, "auth0-ratelimit", &format!("client=demo;q=10;t={retry_after};r=0"));
    reply::set(&mut response, "retry-after", &retry_after.to_string());
    response
}

/// Makes a gzip stream of zeros: one literal, then "258 bytes from one back" many times. In deflate's fixed code the
/// latter is 13 bits (length symbol 285 is 1100_0101, distance 0 is 00000). The checksum is invalid: a client that
/// reads it has already unpacked everything.
fn gzip_bomb() -> Vec<u8> {
    const REPEATS: usize = 40_000;
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut bits, mut count) = (0_u32, 0);
    let mut push = |value: u32, length: u32| {
        bits |= value << count;
        count += length;
        while count >= 8 {
            bytes.extend(bits.to_le_bytes().first());
            bits >>= 8;
            count -= 8;
        }
    };
    push(0b011, 3); // last block, fixed codes
    push(0b0000_1100, 8); // literal 0: 0011_0000, written from its most significant bit
    (0..REPEATS).for_each(|_| push(0b1010_0011, 13));
    push(0, 15); // end of block, and padding of the last byte
    bytes.extend([0; 8]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unpacks fixed-code deflate of literals and copies from one back, which is all that the bomb contains.
    #[test]
    fn the_bomb_unpacks_to_ten_megabytes() {
        let bomb = gzip_bomb();
        let bits: Vec<u8> =
            bomb[10..bomb.len() - 8].iter().flat_map(|byte| (0..8).map(move |i| byte >> i & 1)).collect();
        let (head, rest) = bits.split_at(11);
        assert_eq!(head, [1, 1, 0, /* literal 0x30 */ 0, 0, 1, 1, 0, 0, 0, 0]);
        let copies =
            rest.chunks(13).take_while(|code| *code == [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]).count();
        assert_eq!(1 + 258 * copies, 10_320_001);
        assert!(rest[13 * copies..][..7].iter().all(|bit| *bit == 0), "the end of the block is seven zeros");
        assert!(bomb.len() < 70_000);
    }
}

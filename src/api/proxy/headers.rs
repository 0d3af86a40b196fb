//! Filters the headers of a proxied call: what of the request goes to the provider, and what of its answer comes back.
//!
//! Both directions drop what is meant for one connection only (RFC 9110 §7.6.1) and what belongs to the daemon, and
//! pass on everything else. Fields of the same name keep their order. Fields of different names have no order that
//! matters (RFC 9110 §5.3), and `HeaderMap` promises none.

use std::borrow::Cow;

use hyper::header::{
    ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName,
    HeaderValue, PROXY_AUTHENTICATE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use percent_encoding::percent_decode;

use super::fields::{connection_options, content_length, is_any_spelling};

/// The daemon's product token (RFC 9110 §10.1.5).
const AGENT: &str = concat!("cloakroom/", env!("CARGO_PKG_VERSION"));

/// What replaces the value of a header that contains the token.
pub(super) const REDACTED: HeaderValue = HeaderValue::from_static("[redacted]");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const SET_COOKIE2: HeaderName = HeaderName::from_static("set-cookie2");

const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, CONTENT_LENGTH, KEEP_ALIVE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// How the names of headers between the daemon and its clients begin.
const OWN: &str = "cloakroom-";

/// How a request names the programs that send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserAgent {
    /// The caller's `User-Agent` as it is; the daemon's if there is none. GitHub refuses requests without one
    /// (<https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api#user-agent>).
    Caller,
    /// The caller's `User-Agent` with the daemon's after it. For the Management API, whose log then shows both.
    CallerAndDaemon,
}

/// An answer's headers, as they go on to the caller.
#[derive(Debug)]
pub struct Filtered {
    /// The headers that go on.
    pub headers: HeaderMap,
    /// How many fields contained the token: values that were replaced, and names that were dropped with their fields.
    pub reflected: usize,
}

/// The headers of a request that go to the provider. `framing::check` has accepted them.
///
/// There is no `Host`, no `Authorization` and no `Content-Length` among them. hyper's client adds the first,
/// `BodyFraming::write` the last, and the caller of this function inserts the token.
pub fn request(headers: &HeaderMap, agent: UserAgent) -> HeaderMap {
    let named = Named::by(headers);
    let mut kept = HeaderMap::with_capacity(headers.len() + 3);
    for (name, value) in headers {
        if !is_dropped_from_request(name) && !named.contains(name) {
            kept.append(name, value.clone());
        }
    }
    name_daemon(&mut kept, agent);
    kept
}

/// The headers of an answer that go to the caller.
///
/// A value that contains one of `secrets`, as it is or percent-encoded once or twice, becomes `[redacted]`: some servers
/// send a request's headers back. A field whose name contains one, in any case, is dropped. `Content-Length` is kept if
/// it is what delimits the body, also where there is none to come (`HEAD`, 304).
///
/// `Strict-Transport-Security`, `Clear-Site-Data` and `Access-Control-*` go on. They address browsers, which are
/// refused, and the first is void without TLS (RFC 6797 §8.1).
pub fn answer(headers: HeaderMap, secrets: &[&[u8]]) -> Filtered {
    let named = Named::by(&headers);
    let length =
        if headers.contains_key(TRANSFER_ENCODING) { None } else { content_length(&headers).ok().flatten() };
    let mut kept = HeaderMap::with_capacity(headers.len() + 2);
    let mut reflected = 0;
    for (name, value) in &headers {
        if is_dropped_from_answer(name) || named.contains(name) {
            continue;
        }
        let name_text = name.as_str().as_bytes();
        // hyper has changed names to lower case.
        if secrets.iter().any(|secret| contains(name_text, secret, <[u8]>::eq_ignore_ascii_case)) {
            reflected += 1;
            continue;
        }
        let is_reflection = secrets.iter().any(|secret| reveals(value.as_bytes(), secret));
        reflected += usize::from(is_reflection);
        kept.append(name, if is_reflection { REDACTED } else { value.clone() });
    }
    if let Some(length) = length.filter(|_| !named.contains(&CONTENT_LENGTH)) {
        kept.insert(CONTENT_LENGTH, length.into());
    }
    Filtered { headers: kept, reflected }
}

fn is_dropped_from_request(name: &HeaderName) -> bool {
    const DROPPED: [HeaderName; 4] = [AUTHORIZATION, COOKIE, EXPECT, HOST];
    is_any_spelling(name, |name| {
        name.starts_with("proxy-")
            || name.starts_with(OWN)
            || HOP_BY_HOP.iter().chain(&DROPPED).any(|dropped| *dropped == *name)
    })
}

/// `Proxy-Status` goes on: it is the one `Proxy-` header that is end-to-end (RFC 9209 §2).
fn is_dropped_from_answer(name: &HeaderName) -> bool {
    const DROPPED: [HeaderName; 6] =
        [ALT_SVC, PROXY_AUTHENTICATE, PROXY_AUTHENTICATION_INFO, PROXY_CONNECTION, SET_COOKIE, SET_COOKIE2];
    is_of_one_connection(name) || DROPPED.contains(name)
}

/// Whether a header is of one connection only, or the daemon's own. Trailers are not passed on, so `Trailer` is not
/// either.
fn is_of_one_connection(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || name.as_str().starts_with(OWN)
}

fn name_daemon(headers: &mut HeaderMap, agent: UserAgent) {
    let of_caller = headers.get(USER_AGENT).filter(|value| !value.is_empty());
    let value = match (of_caller, agent) {
        (None, _) => HeaderValue::from_static(AGENT),
        (Some(_), UserAgent::Caller) => return,
        (Some(value), UserAgent::CallerAndDaemon) => {
            let both = [value.as_bytes(), b" ", AGENT.as_bytes()].concat();
            HeaderValue::from_bytes(&both).unwrap_or(HeaderValue::from_static(AGENT))
        }
    };
    headers.insert(USER_AGENT, value);
}

/// The names in a message's `Connection` headers, which are of that connection only.
struct Named(Vec<HeaderName>);

impl Named {
    fn by(headers: &HeaderMap) -> Self {
        Self(connection_options(headers).filter_map(|option| HeaderName::from_bytes(option).ok()).collect())
    }

    fn contains(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }
}

/// Whether a value contains the secret.
pub fn reveals(value: &[u8], secret: &[u8]) -> bool {
    contains(value, secret, PartialEq::eq)
}

/// Whether a text contains the secret by `is_equal`, as it is or percent-encoded: as in the query of a URL, or in that of a
/// URL within a query.
fn contains(text: &[u8], secret: &[u8], is_equal: fn(&[u8], &[u8]) -> bool) -> bool {
    if secret.is_empty() {
        return false;
    }
    let is_in = |text: &[u8]| text.windows(secret.len()).any(|part| is_equal(part, secret));
    let once = Cow::from(percent_decode(text));
    let twice = Cow::from(percent_decode(&once));
    let is_in_decoded = |text: &Cow<'_, [u8]>| matches!(text, Cow::Owned(decoded) if is_in(decoded));
    is_in(text) || is_in_decoded(&once) || is_in_decoded(&twice)
}

#[cfg(test)]
mod tests;

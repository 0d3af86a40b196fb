//! Checks the head of a proxied call before anything is sent upstream: its method, how its body is delimited, and the
//! headers that would change what a rule has judged.
//!
//! What could be read in two ways is refused, and nothing is repaired: a server behind the provider's own proxies may
//! read it in the other way (RFC 9112 §11.2).
//!
//! hyper refuses some of it before a service sees the request: differing `Content-Length` values, a
//! `Transfer-Encoding` whose last coding is another than `chunked`, or one in HTTP/1.0. The checks here do not rely on
//! that. hyper removes `Content-Length` where a request has `Transfer-Encoding` as well, and closes the connection
//! after the answer, as RFC 9112 §6.1 demands. Without the mark of `head_scan.rs` such a request passes as `Chunked`,
//! and goes on with new framing.

use hyper::header::{CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Version};

use crate::domain::target::OVERRIDE_HEADERS;

use super::fields::{NotALength, connection_options, content_length, is_any_spelling};

mod head_scan;

pub use head_scan::{HeadScan, TwoFramings};

/// How the body of a request is delimited, upstream as it was by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is no body, and no header says so.
    None,
    /// A body of this many bytes, which may be none: some providers refuse a `POST` without `Content-Length` (411).
    Length(u64),
    /// A body of unknown length.
    Chunked,
}

impl BodyFraming {
    /// Writes the length, if it is known, into the headers that go upstream.
    ///
    /// hyper's client writes `Content-Length` by itself for a body with an exact size hint, but not for one that has
    /// ended already, and writes `Transfer-Encoding: chunked` for one without (not for `GET` and `HEAD`, whose bodies
    /// it drops: `check` refuses these).
    pub fn write(self, headers: &mut HeaderMap) {
        if let Self::Length(length) = self {
            headers.insert(CONTENT_LENGTH, length.into());
        }
    }
}

/// Why the head of a request is refused. Nothing has been sent upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingFault {
    /// `TRACE` shows the injected token, `TRACK` does so as well, and `CONNECT` asks for a tunnel. Answered 405.
    Method,
    /// `Upgrade`: what follows would be no HTTP, and no rule could judge it. Answered 501.
    Upgrade,
    /// A header that changes the method or the path behind the rule's back. Answered 400 `method_override`.
    MethodOverride,
    /// `Transfer-Encoding` that is not exactly `chunked`.
    TransferEncoding,
    /// HTTP/1.0, in which an answer that breaks off looks like a whole one unless its length is known.
    Http10,
    /// Both `Transfer-Encoding` and `Content-Length`.
    TwoLengths,
    /// `Content-Length` that is no number, or several that differ.
    ContentLength,
    /// A chunked body with a method that usually has none: hyper's client would send no body at all.
    ChunkedBody,
    /// `HEAD` with a body, which many servers do not read and take for the next request.
    HeadBody,
    /// `Connection` names a header that the daemon relies on.
    ConnectionNames,
    /// `Connection` has something that is no name of a header.
    ConnectionOption,
    /// `Expect` other than `100-continue`.
    Expect,
}

impl FramingFault {
    /// The cause and the fix, in words that repeat nothing of the request.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Method => {
                "TRACE, TRACK and CONNECT are never passed on: use the method that the provider documents"
            }
            Self::Upgrade => {
                "the request asks for another protocol, and only HTTP/1.1 is passed on: send neither `Upgrade` nor \
                 `Connection: upgrade` (curl: --http1.1), and connect to the provider directly for WebSocket"
            }
            Self::MethodOverride => {
                "a header replaces the method or the path, which the rules could then not judge: remove \
                 X-HTTP-Method-Override, X-HTTP-Method, X-Method-Override, X-Original-URL and X-Rewrite-URL, and send the \
                 request with the method and the path that are meant"
            }
            Self::TransferEncoding => {
                "`Transfer-Encoding` is something else than `chunked`: send it once, with this value alone, or send \
                 `Content-Length`; a compressed body is declared by `Content-Encoding`"
            }
            Self::Http10 => {
                "in HTTP/1.0 an answer that breaks off looks like a whole one: send the request in HTTP/1.1"
            }
            Self::TwoLengths => {
                "the request has `Transfer-Encoding` and `Content-Length`: send one of the two"
            }
            Self::ContentLength => {
                "`Content-Length` is not one number, or is not the length of the body: send it once, in decimal digits"
            }
            Self::ChunkedBody => {
                "the method of this request has no chunked body: leave the body out, or send it with `Content-Length`"
            }
            Self::HeadBody => "a HEAD request has no body: leave it out",
            Self::ConnectionNames => {
                "`Connection` names a header that has to reach the daemon or the provider: remove Authorization, \
                 Content-Length, Host and Cloakroom-Request from its value"
            }
            Self::ConnectionOption => {
                "`Connection` has a value that is no name of a header: send `close`, `keep-alive`, or leave it out"
            }
            Self::Expect => {
                "the only expectation that is met is `Expect: 100-continue`: send this value, or no `Expect`"
            }
        }
    }

    /// Whether the connection has to be closed after the answer, because it is uncertain where the next request on it
    /// begins (RFC 9112 §6.3).
    pub fn ends_connection(self) -> bool {
        !matches!(self, Self::MethodOverride)
    }
}

/// Checks the head of a request whose body has `length` bytes as hyper reads it: the exact size hint, `None` without
/// one.
///
/// # Errors
///
/// The first fault that is found. Those that are answered with a code of their own are looked for first.
pub fn check(head: &Parts, length: Option<u64>) -> Result<BodyFraming, FramingFault> {
    check_meaning(head)?;
    let framing = framing(head)?;
    // The head says what hyper has made of it, or the two would send different bodies.
    let is_consistent = match framing {
        BodyFraming::None => length == Some(0),
        BodyFraming::Length(stated) => length == Some(stated),
        BodyFraming::Chunked => length.is_none(),
    };
    if !is_consistent {
        return Err(FramingFault::ContentLength);
    }
    if framing == BodyFraming::Chunked && has_no_chunked_body(&head.method) {
        return Err(FramingFault::ChunkedBody);
    }
    if head.method == Method::HEAD && length != Some(0) {
        return Err(FramingFault::HeadBody);
    }
    check_connection(&head.headers)?;
    check_expectation(&head.headers)?;
    Ok(framing)
}

/// Refuses methods that are never passed on, other protocols, and methods that are said twice.
fn check_meaning(Parts { method, headers, .. }: &Parts) -> Result<(), FramingFault> {
    const NEVER: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];
    // Methods are case-sensitive (RFC 9110 §9.1), but some servers compare them otherwise.
    if NEVER.iter().any(|never| method.as_str().eq_ignore_ascii_case(never)) {
        return Err(FramingFault::Method);
    }
    let is_upgrade = |option: &[u8]| option.eq_ignore_ascii_case(b"upgrade");
    if headers.contains_key(UPGRADE) || connection_options(headers).any(is_upgrade) {
        return Err(FramingFault::Upgrade);
    }
    if headers.keys().any(|name| is_any_spelling(name, |name| OVERRIDE_HEADERS.contains(&name))) {
        return Err(FramingFault::MethodOverride);
    }
    Ok(())
}

/// How the head says that the body is delimited (RFC 9112 §6.3).
fn framing(Parts { version, headers, extensions, .. }: &Parts) -> Result<BodyFraming, FramingFault> {
    if *version < Version::HTTP_11 {
        return Err(FramingFault::Http10);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        let length = content_length(headers).map_err(|NotALength| FramingFault::ContentLength)?;
        return Ok(length.map_or(BodyFraming::None, BodyFraming::Length));
    };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(FramingFault::TransferEncoding);
    }
    if headers.contains_key(CONTENT_LENGTH) || extensions.get::<TwoFramings>().is_some() {
        return Err(FramingFault::TwoLengths);
    }
    Ok(BodyFraming::Chunked)
}

/// Whether a chunked body is refused with this method. Sized ones go on: some APIs take a `DELETE` with one.
fn has_no_chunked_body(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS].contains(method)
}

/// Refuses `Connection` options that would remove what the daemon or the provider relies on.
fn check_connection(headers: &HeaderMap) -> Result<(), FramingFault> {
    const NEEDED: [&str; 3] = ["authorization", "content-length", "host"];
    for option in connection_options(headers) {
        let name = HeaderName::from_bytes(option).map_err(|_| FramingFault::ConnectionOption)?;
        if NEEDED.contains(&name.as_str()) || name.as_str().starts_with("cloakroom-") {
            return Err(FramingFault::ConnectionNames);
        }
    }
    Ok(())
}

/// Refuses expectations that are not met (RFC 9110 §10.1.1). hyper meets `100-continue` as soon as the body is read.
fn check_expectation(headers: &HeaderMap) -> Result<(), FramingFault> {
    let is_met = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match headers.get_all(EXPECT).iter().all(is_met) {
        true => Ok(()),
        false => Err(FramingFault::Expect),
    }
}

#[cfg(test)]
mod tests;

//! Rewrites `Link` and `Location` of an answer, so that a client follows them through the proxy, and never to another
//! route of the daemon.
//!
//! A client resolves a reference against the URL that it requested at the socket, and some clients dial the socket for
//! every host. A relative reference is therefore resolved against the provider's URL of the call. An https URL on a
//! configured host of the connection is rewritten, if what follows the host's prefix is a target that the proxy
//! accepts. What remains goes on as an https URL, which a client cannot use at a socket without TLS.
//!
//! Removed are URLs of schemes that a client could dial at the socket (`http`, `ws`, `http+unix`), and what cannot be
//! parsed. References of other schemes, and those that name the requested URL itself, go on byte for byte.
//!
//! `Content-Location` is left as it is: it names the representation that was sent (RFC 9110 §8.7), and no client is
//! asked to follow it. Bodies are never rewritten.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::Uri;
use hyper::header::{Entry, HOST, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION};

use super::headers::REDACTED;

mod field;
mod reference;

/// The longest value that is read or written, in bytes; a longer one is removed. Node's parser refuses a header section
/// of more than 16 KiB, and many short links under a long path would become a multiple of what was sent.
const MAX_VALUE: usize = 16 * 1024;

/// A configured host of a connection, and what the proxy calls it.
#[derive(Clone, Copy, Debug)]
pub struct Mount<'a> {
    /// The host, or host and port, in lower case; without the port if it is 443.
    pub authority: &'a str,
    /// The path under which the provider's API is: empty, or `/a/b` without a slash at the end.
    pub prefix: &'a str,
    /// Its name in the proxy's path; empty where the base is the whole path, as it is for the Management API.
    pub name: &'a str,
}

/// Where the references of an answer lead.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a> {
    /// The caller's `Host` (`caller_host`), with which an absolute URL becomes one: python-requests and Octokit expect
    /// absolute URLs in `Link`. Without it, an absolute URL becomes an absolute path.
    pub host: Option<&'a str>,
    /// The path before a mount's name, as the caller sent it: `/v1/users/{user_id}/proxy/{connection}`, `/api/v2`.
    pub base: &'a str,
    /// The mount that answers.
    pub current: Mount<'a>,
    /// The target of the call: the path below the mount's prefix, beginning with `/`, and the query.
    pub target: &'a str,
    /// All mounts of the connection. The current one may be among them.
    pub mounts: &'a [Mount<'a>],
    /// Whether the proxy would accept this target: a path, with the query if there is one.
    pub is_accepted: fn(&str) -> bool,
}

/// The `Host` of the caller's request, if there is exactly one that is a host with or without a port.
pub fn caller_host(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(HOST).iter();
    let (first, second) = (values.next(), values.next());
    let text = first.filter(|_| second.is_none())?.to_str().ok()?;
    let (host, port) = match text.rsplit_once(':') {
        // The colon is one of an IPv6 address.
        Some((_, rest)) if rest.ends_with(']') => (text, ""),
        Some((host, port)) => (host, port),
        None => (text, ""),
    };
    let is_name = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    let is_ipv6 = |host: &str| host.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b));
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => !address.is_empty() && is_ipv6(address),
        None => !host.is_empty() && is_name(host),
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    (is_host && (port.is_empty() || is_port(port))).then_some(text)
}

impl Links<'_> {
    /// Rewrites the `Link` and `Location` fields of an answer, and removes those that must not go on. The order stays.
    pub fn rewrite(&self, headers: &mut HeaderMap) {
        rewrite_fields(headers, LOCATION, |value| self.reference(value));
        rewrite_fields(headers, LINK, |value| self.link(value));
    }

    /// A `Link` value as it goes on: without the links whose references are removed. `None` if no link remains, or if
    /// the value is no list of links. Parameters stay byte for byte.
    fn link<'v>(&self, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        let links = field::links(value)?;
        let mut written = Vec::with_capacity(2 * value.len());
        let (mut end, mut removed) = (0, 0);
        for field::Link { reference, end: after } in &links {
            if let Some(new) = self.reference(value.get(reference.clone())?) {
                // What separates this link from the one before it, which may have been removed.
                let is_first = removed > 0 && written.is_empty();
                written.extend_from_slice(if is_first { b"<" } else { value.get(end..reference.start)? });
                written.extend_from_slice(&new);
                written.extend_from_slice(value.get(reference.end..*after)?);
            } else {
                removed += 1;
            }
            end = *after;
            if written.len() > MAX_VALUE {
                return None;
            }
        }
        written.extend_from_slice(value.get(end..)?);
        (removed == 0 || removed < links.len()).then_some(Cow::Owned(written))
    }

    /// A reference as it goes on; `None` if it must not.
    fn reference<'v>(&self, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        if let Some(rest) = reference::after_https(value) {
            let is_malformed = matches!(rest.first(), None | Some(b'/' | b'?' | b'#' | b'\\'));
            let new = std::str::from_utf8(value).ok().and_then(|text| self.proxied(text, self.host));
            return (!is_malformed).then(|| new.map_or(Cow::Borrowed(value), |new| new.into_bytes().into()));
        }
        let text = reference::plain(value)?;
        if let Some((scheme, rest)) = reference::scheme(text) {
            return reference::goes_elsewhere(scheme, rest).then_some(Cow::Borrowed(value));
        }
        if text.is_empty() || text.starts_with('#') {
            return Some(Cow::Borrowed(value));
        }
        let Mount { authority, prefix, .. } = self.current;
        let url = reference::resolve(text, authority, &[prefix, self.target].concat())?;
        let origin = self.host.filter(|_| text.starts_with("//"));
        Some(self.proxied(&url, origin).unwrap_or(url).into_bytes().into())
    }

    /// An https URL as one into the proxy, or as a path without a `host`; `None` if it does not lead to a mount.
    fn proxied(&self, url: &str, host: Option<&str>) -> Option<String> {
        // Fragments are the client's, and no part of what it sends (RFC 9110 §7.1).
        let (target, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
        let (authority, path) = reference::split(target)?;
        let (mount, tail) = self.mount(authority, path)?;
        let tail = if tail.starts_with('/') { tail.to_owned() } else { format!("/{tail}") };
        if !(self.is_accepted)(&tail) {
            return None;
        }
        let (scheme, host) = host.map_or(("", ""), |host| ("http://", host));
        let slash = if mount.name.is_empty() { "" } else { "/" };
        let written = [scheme, host, self.base, slash, mount.name, &tail, fragment].concat();
        // What is not part of a URL (RFC 3986 §2) would end a link early, and hyper would refuse some of the rest.
        let is_printable = written.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b));
        (is_printable && Uri::try_from(&written).is_ok()).then_some(written)
    }

    /// The mount at this authority whose prefix the path has, and what follows the prefix. The current mount comes
    /// first, because the caller's rules admit it, and then the one with the longest prefix.
    fn mount<'p>(&self, authority: &str, path: &'p str) -> Option<(Mount<'_>, &'p str)> {
        let tail = |mount: &Mount<'_>| {
            let tail = path.strip_prefix(mount.prefix)?;
            // `/ab` is not below `/a`, and `/a` itself has no path in the proxy. Without a prefix there is always `/`.
            let is_below = tail.starts_with('/') || mount.prefix.is_empty();
            (is_below && authority.eq_ignore_ascii_case(mount.authority)).then_some(tail)
        };
        if let Some(tail) = tail(&self.current) {
            return Some((self.current, tail));
        }
        let below = self.mounts.iter().filter_map(|mount| Some((*mount, tail(mount)?)));
        below.max_by_key(|(mount, _)| mount.prefix.len())
    }
}

/// Replaces each value by what is made of it, and removes those of which nothing is made, or something too long.
fn rewrite_fields(
    headers: &mut HeaderMap,
    name: HeaderName,
    rewritten: impl Fn(&[u8]) -> Option<Cow<'_, [u8]>>,
) {
    let Entry::Occupied(mut fields) = headers.entry(name) else { return };
    let value = |value: &HeaderValue| {
        // No client is led anywhere by a value that the daemon has blanked.
        if *value == REDACTED {
            return Some(value.clone());
        }
        let sent = Some(value.as_bytes()).filter(|value| value.len() <= MAX_VALUE)?;
        let new = rewritten(sent).filter(|new| new.len() <= MAX_VALUE)?;
        HeaderValue::from_maybe_shared(Bytes::from(new.into_owned())).ok()
    };
    let mut values = fields.iter().filter_map(value).collect::<Vec<_>>().into_iter();
    let Some(first) = values.next() else {
        fields.remove_entry_mult();
        return;
    };
    fields.insert(first);
    values.for_each(|value| fields.append(value));
}

#[cfg(test)]
mod tests;

//! Rewrites `Link` and `Location` of an answer, so that a caller follows them through the proxy.
//!
//! A reference is rewritten if it is an https URL on a configured host of the connection, or an absolute path, which
//! means the host that answers; what then follows the host's prefix has to be a target that the proxy accepts. Every
//! other reference goes on byte for byte: other hosts, ports and schemes, user information, `//host`, what cannot be
//! parsed, and relative paths, which clients resolve against the path of the proxy.
//!
//! `Content-Location` is left as it is: it names the representation that was sent (RFC 9110 §8.7), and no client is
//! asked to follow it. Bodies are never rewritten.

use bytes::Bytes;
use hyper::Uri;
use hyper::header::{Entry, HOST, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION};

mod field;

/// The longest value that is read or written, in bytes. Node's parser refuses a header section of more than 16 KiB, and
/// many short links under a long path would become a multiple of what was sent.
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
    /// Rewrites the `Link` and `Location` fields of an answer. Their number and order stay.
    pub fn rewrite(&self, headers: &mut HeaderMap) {
        self.rewrite_fields(headers, LOCATION, |value| self.reference(value));
        self.rewrite_fields(headers, LINK, |value| self.link(value));
    }

    fn rewrite_fields(
        &self,
        headers: &mut HeaderMap,
        name: HeaderName,
        rewritten: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) {
        let Entry::Occupied(mut fields) = headers.entry(name) else { return };
        for value in fields.iter_mut().filter(|value| value.len() <= MAX_VALUE) {
            let new = rewritten(value.as_bytes()).filter(|new| new.len() <= MAX_VALUE);
            if let Some(new) = new.and_then(|new| HeaderValue::from_maybe_shared(Bytes::from(new)).ok()) {
                *value = new;
            }
        }
    }

    /// A `Link` value with every reference in it rewritten that leads to a mount; `None` if none does, or if the value
    /// is no list of links. Parameters stay byte for byte.
    fn link(&self, value: &[u8]) -> Option<Vec<u8>> {
        let references = field::references(value)?;
        let mut written = Vec::with_capacity(2 * value.len());
        let (mut end, mut is_changed) = (0, false);
        for span in references {
            let Some(new) = self.reference(value.get(span.clone())?) else { continue };
            written.extend_from_slice(value.get(end..span.start)?);
            written.extend_from_slice(&new);
            (end, is_changed) = (span.end, true);
            if written.len() > MAX_VALUE {
                return None;
            }
        }
        written.extend_from_slice(value.get(end..)?);
        is_changed.then_some(written)
    }

    /// A reference as one into the proxy; `None` if it does not lead to a mount.
    fn reference(&self, value: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(value).ok()?;
        // Fragments are the client's, and no part of what it sends (RFC 9110 §7.1).
        let (target, fragment) = text.split_at(text.find('#').unwrap_or(text.len()));
        let (authority, path) = split(target)?;
        let (mount, tail) = self.mount(authority.unwrap_or(self.current.authority), path)?;
        let tail = if tail.starts_with('/') { tail.to_owned() } else { format!("/{tail}") };
        if !(self.is_accepted)(&tail) {
            return None;
        }
        let origin = self.host.filter(|_| authority.is_some());
        let (scheme, host) = origin.map_or(("", ""), |host| ("http://", host));
        let slash = if mount.name.is_empty() { "" } else { "/" };
        let written = [scheme, host, self.base, slash, mount.name, &tail, fragment].concat();
        // What is not part of a URL (RFC 3986 §2) would end a link early, and hyper would refuse some of the rest.
        let is_printable = written.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b));
        (is_printable && Uri::try_from(&written).is_ok()).then(|| written.into_bytes())
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

/// The authority of an https URL and what follows it, or no authority and an absolute path. `None` for every other
/// reference.
fn split(target: &str) -> Option<(Option<&str>, &str)> {
    const SCHEME: &str = "https://";
    if target.starts_with('/') {
        let is_path = !target.starts_with("//");
        return is_path.then_some((None, target));
    }
    let (scheme, rest) = target.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Some((Some(authority.strip_suffix(":443").unwrap_or(authority)), path))
}

#[cfg(test)]
mod tests;

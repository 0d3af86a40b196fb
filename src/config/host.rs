//! `host` or `host:port`, as `tenant.domain` and a proxy's address are written.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A host and perhaps a port, both as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostPort<'a> {
    /// A name without a dot at its end, an IPv4 address, or an IPv6 address in brackets.
    pub(super) host: &'a str,
    /// Whether a dot was removed: the name is absolute, and no search domain is appended.
    pub(super) is_absolute: bool,
    /// The port, if there is one.
    pub(super) port: Option<u16>,
}

/// Splits `text`, or says why it is not a host.
pub(super) fn split(text: &str) -> Result<HostPort<'_>, &'static str> {
    let (host, port) = match text.find(']') {
        Some(end) => text.split_at_checked(end.saturating_add(1)).unwrap_or((text, "")),
        None => text.split_at_checked(text.find(':').unwrap_or(text.len())).unwrap_or((text, "")),
    };
    let (host, is_absolute) = match host.strip_suffix('.') {
        Some(name) if name.parse::<Ipv4Addr>().is_ok() => return Err("an IP address has no dot at its end"),
        Some(name) => (name, true),
        None => (host, false),
    };
    check_host(host)?;
    let port = match port.strip_prefix(':') {
        Some(port) => Some(parse_port(port)?),
        None if port.is_empty() => None,
        None => return Err("only a port can follow the ] of an IPv6 address"),
    };
    Ok(HostPort { host, is_absolute, port })
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        return address.map(|_| ()).ok_or("invalid IPv6 address in brackets");
    }
    if !host.is_ascii() {
        return Err("write an international name in its ASCII form, which begins with xn--");
    }
    let is_label = |label: &str| {
        let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        letters && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if host.len() <= 253 && host.split('.').all(is_label) { Ok(()) } else { Err("invalid host name") }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    // `parse` alone would accept a plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or("a port is a number from 1 to 65535; IPv6 addresses are written in brackets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        let good = |text| split(text).map(|HostPort { host, port, .. }| (host, port));
        assert_eq!(good("acme.eu.auth0.com"), Ok(("acme.eu.auth0.com", None)));
        assert_eq!(good("localhost:8443"), Ok(("localhost", Some(8443))));
        assert_eq!(good("[::1]:65535"), Ok(("[::1]", Some(65535))));
        assert_eq!(good("[::1]"), Ok(("[::1]", None)));
        assert_eq!(good("acme.eu.auth0.com.:443"), Ok(("acme.eu.auth0.com", Some(443))));
        let is_absolute = |text| split(text).map(|split| split.is_absolute);
        assert_eq!(["a.", "a.:1", "a", "a:1"].map(is_absolute), [Ok(true), Ok(true), Ok(false), Ok(false)]);
        for bad in [
            "",
            ".",
            "a..",
            "127.0.0.1.",
            "[::1].",
            ":1",
            "a:",
            "a:0",
            "a:+1",
            "a:65536",
            "a:b",
            "::1",
            "[::1",
            "[::1]x",
            "[x]",
            "]",
            "a..b",
            ".a",
            "-a",
            "a-",
            "a b",
            "ä.example",
            "a@b",
            "a/b",
            &"a".repeat(64),
            &"a.".repeat(128),
        ] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}

//! Decides whether `NO_PROXY` names a host. No I/O and no clock.
//!
//! There is no standard. Go's `httpproxy` and curl, which most other programs use, differ. A host that either of them
//! would connect to directly is connected to directly.

use std::net::IpAddr;

/// Whether `list` names `domain`, which is a host with or without a port. The default port is 443.
pub(super) fn names(list: &str, domain: &str) -> bool {
    let (host, port) = split(domain);
    let host = host.to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Some(address) = address
            && let Some((network, bits)) = entry.split_once('/')
        {
            return is_in(address, network, bits);
        }
        let (name, of_port) = split(entry);
        if of_port.is_some_and(|of_port| of_port != port.unwrap_or(443)) {
            return false;
        }
        match (address, name.parse::<IpAddr>()) {
            (Some(address), Ok(named)) => address == named,
            (Some(_), Err(_)) | (None, Ok(_)) => false,
            (None, Err(_)) => is_under(&host, &name.to_ascii_lowercase()),
        }
    })
}

/// Whether `host` is covered by `name`: `example.com` and `.example.com` cover the name and its subdomains,
/// `*.example.com` only the subdomains.
fn is_under(host: &str, name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let (name, is_only_below) = match name.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (name.strip_prefix('.').unwrap_or(name), false),
    };
    match host.strip_suffix(name) {
        _ if name.is_empty() => false,
        Some("") => !is_only_below,
        Some(below) => below.ends_with('.'),
        None => false,
    }
}

/// Splits host and port. Brackets around an IPv6 address are removed.
fn split(text: &str) -> (&str, Option<u16>) {
    if text.parse::<IpAddr>().is_ok() {
        return (text, None);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (text, None),
    };
    (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
}

/// Whether `address` is in `network`: whether their first `bits` are equal.
fn is_in(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let differing = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => return false,
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits <= most && differing >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_or_curl_would_reach_directly_is_reached_directly() {
        for (list, domain, is_named) in [
            ("", "acme.eu.auth0.com", false),
            ("*", "acme.eu.auth0.com", true),
            ("acme.eu.auth0.com", "acme.eu.auth0.com", true),
            ("auth0.com", "acme.eu.auth0.com", true),
            (".auth0.com", "acme.eu.auth0.com", true),
            ("*.auth0.com", "acme.eu.auth0.com", true),
            ("*.auth0.com", "auth0.com", false),
            (".auth0.com", "auth0.com", true),
            ("AUTH0.com", "acme.eu.auth0.com", true),
            ("*.Auth0.COM", "acme.eu.auth0.com", true),
            ("auth0.com.", "acme.eu.auth0.com", true),
            ("acme.eu.auth0.com:443", "acme.eu.auth0.com", true),
            ("*.auth0.com:443", "acme.eu.auth0.com", true),
            (".auth0.com:443", "acme.eu.auth0.com:443", true),
            ("acme.eu.auth0.com:8443", "acme.eu.auth0.com", false),
            ("acme.eu.auth0.com:8443", "acme.eu.auth0.com:8443", true),
            ("localhost, 10.0.0.0/8 , *.auth0.com", "acme.eu.auth0.com", true),
            ("localhost 10.0.0.0/8 auth0.com", "acme.eu.auth0.com", true),
            (" auth0.com ", "acme.eu.auth0.com", true),
            ("uth0.com", "acme.eu.auth0.com", false),
            ("*uth0.com", "acme.eu.auth0.com", false),
            ("eu.auth0.com.example", "acme.eu.auth0.com", false),
            (".", "acme.eu.auth0.com", false),
            ("*.", "acme.eu.auth0.com", false),
            (",,", "acme.eu.auth0.com", false),
            (".localhost", "localhost:8443", true),
            ("127.0.0.1", "127.0.0.1:8443", true),
            ("127.0.0.1:8443", "127.0.0.1:8443", true),
            ("127.0.0.1:443", "127.0.0.1:8443", false),
            ("127.0.0.0/8", "127.0.0.1:8443", true),
            ("128.0.0.0/8", "127.0.0.1", false),
            ("127.0.0.1/32", "127.0.0.1", true),
            ("0.0.0.0/0", "127.0.0.1", true),
            ("127.0.0.1/33", "127.0.0.1", false),
            ("0.0.1", "127.0.0.1", false),
            ("fd00::/8", "[fd00::1]:443", true),
            ("[fd00::1]", "[fd00::1]", true),
            ("[fd00::1]:443", "[fd00::1]", true),
            ("fd00::1", "[fd00::1]", true),
            ("[fd00::1]:8443", "[fd00::1]", false),
            ("::/0", "127.0.0.1", false),
        ] {
            assert_eq!(names(list, domain), is_named, "{list:?} {domain}");
        }
    }
}

//! The URL of an API that calls are sent to.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::host::{self, HostPort};
use super::schema::Type;
use super::source_values::Value;
use super::token_endpoint::strip_scheme;
use super::values::{Parsed, line};
use crate::domain::target::Target;

/// Where an API is: https, without user, password, query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiAddress {
    /// The host in lower case, and the port unless that is 443.
    pub(super) authority: String,
    /// The path without a slash at its end; empty if it is `/`.
    pub(super) prefix: String,
    /// Whether the host is an IP address, or a name for this machine.
    pub(super) is_private: bool,
}

/// Parses the value of a key. No text of a problem repeats a part of it.
pub(super) fn parse(takes: Type, value: &Value) -> Parsed<ApiAddress> {
    split(line(takes, value)?)
}

fn split(url: &str) -> Parsed<ApiAddress> {
    let Some(rest) = strip_scheme(url, "https://") else {
        return Err(match strip_scheme(url, "http://") {
            Some(_) => "must begin with https://, the only supported scheme: users' tokens are sent there",
            None => "must be a URL that begins with https://",
        }
        .to_owned());
    };
    let (authority, path) =
        rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len())).unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("must not contain a user or a password".to_owned());
    }
    if path.contains(['?', '#']) {
        return Err("must end after the path, without a query or a fragment".to_owned());
    }
    let HostPort { host, port, .. } =
        host::split(authority).map_err(|fault| format!("has no valid host: {fault}"))?;
    let host = host.to_ascii_lowercase();
    let is_private = is_address(&host)? || host == "localhost" || host.ends_with(".localhost");
    if !path.is_empty() {
        Target::judge(path).map_err(|fault| format!("has a path that is always refused: {fault}"))?;
    }
    let port = port.filter(|port| *port != 443).map(|port| format!(":{port}")).unwrap_or_default();
    let prefix = path.strip_suffix('/').unwrap_or(path).to_owned();
    Ok(ApiAddress { authority: format!("{host}{port}"), prefix, is_private })
}

/// Whether `host`, in lower case, is an IP address. One in a form that only some programs read is refused, because they
/// disagree about which address it is: `127.1`, `0x7f.1` and `2130706433` are all 127.0.0.1 to some
/// (<https://url.spec.whatwg.org/#ends-in-a-number-checker>).
fn is_address(host: &str) -> Parsed<bool> {
    let canonical = || "has an IP address that is not in its shortest usual form".to_owned();
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let is_canonical = address.parse::<Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address);
        return is_canonical.then_some(true).ok_or_else(canonical);
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_hexadecimal =
        last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !is_hexadecimal && !last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(false);
    }
    host.parse::<Ipv4Addr>().map(|_| true).map_err(|_| canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_has_an_authority_and_a_prefix() {
        let good = |url: &str| split(url).map(|address| (address.authority, address.prefix));
        let is = |authority: &str, prefix: &str| Ok((authority.to_owned(), prefix.to_owned()));
        assert_eq!(good("https://Gmail.googleapis.com"), is("gmail.googleapis.com", ""));
        assert_eq!(good("HTTPS://a.example/"), is("a.example", ""));
        assert_eq!(good("https://a.example.:443/"), is("a.example", ""));
        assert_eq!(good("https://a.example:8443/Api/v3/"), is("a.example:8443", "/Api/v3"));
        assert_eq!(good("https://a.example/a%2Fb"), is("a.example", "/a%2Fb"));
        for bad in [
            "",
            "canary",
            "http://canary/",
            "ftp://canary/",
            "https://",
            "https:///canary",
            "https://canary@a/",
            "https://u:canary@a/",
            "https://a/?canary",
            "https://a?canary",
            "https://a/#canary",
            "https://canary:0/",
            "https://canary:x/",
            "https://a/canary//b",
            "https://a/canary/../b",
            "https://a/canary/%2e",
            "https://a/can ary",
            "https://a/canary\\b",
            "https://\u{e4}.example/",
        ] {
            let fault = split(bad).unwrap_err();
            assert!(!fault.contains("canary"), "{bad} {fault}");
        }
    }

    #[test]
    fn addresses_and_names_of_this_machine_are_private_and_odd_forms_are_refused() {
        let is_private = |host: &str| split(&format!("https://{host}/")).map(|address| address.is_private);
        for host in ["a.example", "localhost.example", "1.example", "a.0xg", "127.0.0.1.nip.io"] {
            assert_eq!(is_private(host), Ok(false), "{host}");
        }
        for host in [
            "localhost",
            "LOCALHOST:8443",
            "api.localhost",
            "localhost.",
            "127.0.0.1",
            "8.8.8.8",
            "[::1]",
            "[fd00::1]:8443",
        ] {
            assert_eq!(is_private(host), Ok(true), "{host}");
        }
        for host in [
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "a.0x1",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.01",
            "1.2.3.4.5",
            "a.1",
            "[0:0::1]",
            "[::FFFF:127.0.0.1x]",
            "[::0001]",
        ] {
            assert!(is_private(host).is_err(), "{host}");
        }
    }
}

//! The URL of a provider's token endpoint.

use std::sync::Arc;

use super::host::{self, HostPort};
use super::schema::Type;
use super::source_values::Value;
use super::values::{Parsed, line};

/// The URL of a token endpoint: https, without user, password and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEndpoint {
    url: Arc<str>,
    host: Arc<str>,
}

impl TokenEndpoint {
    /// Parses a URL, or says what is wrong with it.
    ///
    /// # Errors
    /// The text of a problem, which repeats nothing of the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Some(rest) = strip_scheme(url, "https://") else {
            let fault = match strip_scheme(url, "http://") {
                Some(_) => {
                    "must begin with https://, the only supported scheme: the client secret is sent there"
                }
                None => "must be a URL that begins with https://",
            };
            return Err(fault.to_owned());
        };
        let (authority, path) =
            rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len())).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err("must not contain a user or a password".to_owned());
        }
        if path.contains('#') {
            return Err("must not contain a fragment, the part after #".to_owned());
        }
        if !path.bytes().all(is_of_a_path) {
            return Err("contains a character that a URL has to percent-encode".to_owned());
        }
        let HostPort { host, port, .. } =
            host::split(authority).map_err(|fault| format!("has no valid host: {fault}"))?;
        let port = port.filter(|port| *port != 443).map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", host.to_ascii_lowercase());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { url: format!("https://{host}{slash}{path}").into(), host: host.into() })
    }

    /// The URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its host, and its port unless that is 443.
    pub fn host(&self) -> &Arc<str> {
        &self.host
    }
}

/// Parses the value of a key.
pub(super) fn parse(takes: Type, value: &Value) -> Parsed<TokenEndpoint> {
    TokenEndpoint::parse(line(takes, value)?)
}

/// `url` without `scheme` at its beginning, in any case.
pub(super) fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = url.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Whether `byte` may stand in the path or the query of a URL (RFC 3986 §3.3 and §3.4).
fn is_of_a_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/?".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls_without_credentials_are_token_endpoints() {
        let good = |url: &str| {
            TokenEndpoint::parse(url).map(|endpoint| (endpoint.url().to_owned(), endpoint.host().to_string()))
        };
        let is = |url: &str, host: &str| Ok((url.to_owned(), host.to_owned()));
        assert_eq!(good("https://A.example/token"), is("https://a.example/token", "a.example"));
        assert_eq!(
            good("HTTPS://a.example:443/Token?x=%20"),
            is("https://a.example/Token?x=%20", "a.example")
        );
        assert_eq!(good("https://a.example:8443"), is("https://a.example:8443/", "a.example:8443"));
        assert_eq!(good("https://[::1]:1?a=b"), is("https://[::1]:1/?a=b", "[::1]:1"));
        for bad in [
            "",
            "a.example/token",
            "http://canary/token",
            "ftp://canary/",
            "https://",
            "https:///token",
            "https://user@canary/token",
            "https://user:canary@a/token",
            "https://canary/token#x",
            "https://canary#x",
            "https://canary:0/",
            "https://a/can ary",
            "https://a/can\"ary",
            "https://a/can\\ary",
            "https://ä.example/",
        ] {
            let fault = good(bad).unwrap_err();
            assert!(!fault.contains("canary"), "{bad} {fault}");
        }
    }
}

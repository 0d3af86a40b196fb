//! `tenant.proxy` and `providers.proxy`, or else the proxy variables that other programs read, too.

use super::environment::Env;
use super::host;
use super::problem::{Checked, in_variable};
use super::reader::{Reader, Setting};
use super::values::{Parsed, text};
use crate::domain::invisible_characters;
use crate::secret::Secret;

/// The variables in the order in which curl reads them for an `https://` URL.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A proxy, from its key, or else from `HTTPS_PROXY` or `ALL_PROXY` and `NO_PROXY`, in upper or lower case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proxy {
    /// `http://[user:password@]host[:port]`; a secret because of the password.
    pub url: Option<Secret>,
    /// Hosts that are reached directly, as `NO_PROXY` lists them; empty if the key is set.
    pub no_proxy: String,
}

/// Reads the proxy from `key`, or from the environment if the key is not set.
pub(super) fn read(reader: &mut Reader, key: &str, env: &Env) -> Checked<Proxy> {
    let set = reader.parsed(key, |takes, value| parse(text(takes, value)?))?;
    if let Some(setting) = set {
        if reader.is_from_file(&setting) && setting.value.expose().contains('@') {
            let what = "the configuration, which contains the proxy's password";
            reader.require_private(&setting, what, reader.exposure)?;
        }
        let Setting { value, .. } = setting;
        // The key is about the hosts of its table alone, so there are no exceptions.
        return Ok(Proxy { url: Some(value), no_proxy: String::new() });
    }
    let Some((name, url)) = first_of(env, &PROXY_VARIABLES) else { return Ok(Proxy::default()) };
    match parse(&with_scheme(url)) {
        Ok(url) => {
            let no_proxy = first_of(env, &NO_PROXY_VARIABLES).map_or("", |(_, value)| value);
            Ok(Proxy { url: Some(url), no_proxy: no_proxy.to_owned() })
        }
        Err(text) => Err(reader.report.problem(key, Some(&in_variable(name)), text)),
    }
}

fn first_of<'a>(env: &'a Env, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
    names.iter().find_map(|name| env.get(name).map(|value| (*name, value)))
}

/// Adds the scheme to a variable without one: `HTTPS_PROXY=proxy.corp:3128` is common, and every program takes it for
/// http. The keys require the scheme, so that nothing has to be guessed.
fn with_scheme(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

/// Checks the URL. No text of a problem repeats a part of it, because it may contain a password.
fn parse(url: &str) -> Parsed<Secret> {
    if let Some(found) = invisible_characters::first(url) {
        return Err(format!(
            "contains the invisible character {found}, probably from pasted text; remove it"
        ));
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = match scheme.to_ascii_lowercase().as_str() {
        "http" => rest.strip_suffix('/').unwrap_or(rest),
        "https" => {
            return Err(
                "use http://; the proxy is reached without TLS, and the connections through it have TLS"
                    .into(),
            );
        }
        socks if socks.starts_with("socks") => {
            return Err(
                "SOCKS proxies are not supported; use an HTTP proxy that allows CONNECT, as in http://host:port"
                    .into(),
            );
        }
        _ => return Err("must be http://host:port, or http://user:password@host:port".into()),
    };
    if rest.chars().filter(|c| *c == '@').count() > 1
        || rest.rsplit_once('@').is_some_and(|(user, _)| !is_userinfo(user))
    {
        return Err(
            "special characters in user and password must be percent-encoded, such as @ as %40".into()
        );
    }
    let (user, address) = rest.rsplit_once('@').unwrap_or(("", rest));
    if address.contains(['/', '?', '#']) {
        return Err("must end after the port, without a path".into());
    }
    let host::HostPort { host, is_absolute, port } =
        host::split(address).map_err(|problem| format!("invalid address: {problem}"))?;
    let user = if user.is_empty() { String::new() } else { format!("{user}@") };
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let dot = if is_absolute { "." } else { "" };
    Ok(Secret::new(format!("http://{user}{host}{dot}{port}")))
}

/// Whether `text` is the userinfo of a URL (RFC 3986, section 3.2.1).
fn is_userinfo(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:%".contains(c);
    let is_escape = |rest: &str| rest.bytes().take_while(u8::is_ascii_hexdigit).take(2).count() == 2;
    text.chars().all(allowed) && text.split('%').skip(1).all(is_escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_proxies_are_taken_and_nothing_of_a_url_is_repeated() {
        let good = |url: &str| parse(url).unwrap().expose().to_owned();
        assert_eq!(good("http://proxy.corp:3128/"), "http://proxy.corp:3128");
        assert_eq!(good("HTTP://u:p%40@[::1]:3128"), "http://u:p%40@[::1]:3128");
        assert_eq!(good("http://proxy"), "http://proxy");
        assert_eq!(good("http://proxy.corp.:3128"), "http://proxy.corp.:3128");
        for bad in [
            "",
            "canary",
            "canary:3128",
            "https://canary",
            "socks5://canary",
            "socks5h://canary:1",
            "ftp://canary",
            "http://",
            "http://canary/x",
            "http://canary?x",
            "http://u:can ary@h",
            "http://u:c@nary@h",
            "http://u:can/ary@h",
            "http://canary%4:x@h",
            "http://canary:x",
            "http://user:canary@",
        ] {
            assert!(!parse(bad).unwrap_err().contains("canary"), "{bad}");
        }
        assert_eq!(with_scheme("proxy:3128"), "http://proxy:3128");
    }
}

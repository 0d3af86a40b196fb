//! `[tenant]`: the Auth0 tenant and the way to reach it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};

use super::environment::Env;
use super::host::{self, HostPort};
use super::problem::Checked;
use super::proxy::Proxy;
use super::reader::{Reader, Setting};
use super::reloadable::Reloadable;
use super::schema::Type;
use super::source_values::Value;
use super::values::{Parsed, absolute_path, line};
use super::{proxy, referenced_files};

const CA_FILE: &str = "tenant.ca_file";
const PROXY: &str = "tenant.proxy";

/// The suffix of Auth0's own names for tenants. Any other host is a custom domain.
const CANONICAL: &str = ".auth0.com";

/// `[tenant]`.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Host, or host and port; never a scheme or a path. https is the only scheme.
    pub domain: Arc<str>,
    /// Whether the domain was written with a dot at its end: the name is resolved as it is, without search domains.
    /// `domain` is without the dot, and so are TLS, `Host`, the audience and issuers.
    pub is_absolute: bool,
    /// The Management API's identifier.
    pub audience: Arc<str>,
    /// Certificates from `ca_file`, trusted besides the platform's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The proxy through which Auth0 is reached.
    pub proxy: Proxy,
    /// Time limit for name resolution, TCP, a proxy's CONNECT and the TLS handshake together.
    pub connect_timeout: Duration,
    /// Time limit for one answer, retries included; longer than `connect_timeout`.
    pub request_timeout: Duration,
}

impl Reloadable for Tenant {
    fn different_contents(&self, new: &Self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        if self.extra_roots != new.extra_roots {
            keys.push(CA_FILE);
        }
        if self.proxy != new.proxy {
            keys.push(PROXY);
        }
        keys
    }
}

/// Reads `[tenant]`, except for its timeouts.
pub(super) fn read(reader: &mut Reader, env: &Env, timeouts: &Checked<Timeouts>) -> Checked<Tenant> {
    let domain = domain(reader);
    let audience = audience(reader, &domain);
    let extra_roots = extra_roots(reader, CA_FILE);
    let proxy = proxy::read(reader, PROXY, env);
    let timeouts = timeouts.as_ref().map_err(|reported| *reported)?;
    let domain = domain?.value;
    Ok(Tenant {
        domain: domain.text.into(),
        is_absolute: domain.is_absolute,
        audience: audience?,
        extra_roots: extra_roots?,
        proxy: proxy?,
        connect_timeout: timeouts.connect.value,
        request_timeout: timeouts.request.value,
    })
}

/// `tenant.connect_timeout` and `tenant.request_timeout`. They are read first, because `cache.max_ttl` depends on them.
#[derive(Debug)]
pub(super) struct Timeouts {
    /// The time limit for a connection.
    pub(super) connect: Setting<Duration>,
    /// The time limit for an answer.
    pub(super) request: Setting<Duration>,
}

/// Reads both timeouts.
pub(super) fn timeouts(reader: &mut Reader) -> Checked<Timeouts> {
    let connect = reader.setting("tenant.connect_timeout");
    let request = reader.setting("tenant.request_timeout");
    let (connect, request) = (connect?, request?);
    // If connecting could use up the whole time, a slow network would look like a slow Auth0.
    reader.require_shorter(&connect, &request)?;
    Ok(Timeouts { connect, request })
}

/// `tenant.domain` as it is used everywhere except in name resolution.
#[derive(Debug, PartialEq, Eq)]
struct Domain {
    /// Host, or host and port.
    text: String,
    /// Whether a dot at the host's end was removed.
    is_absolute: bool,
}

fn domain(reader: &mut Reader) -> Checked<Setting<Domain>> {
    const KEY: &str = "tenant.domain";
    let domain = reader.parsed(KEY, parse_domain)?;
    reader.required(KEY, domain)
}

/// Parses the domain into lower case: the default audience contains it, and Auth0 compares audiences byte by byte.
fn parse_domain(takes: Type, value: &Value) -> Parsed<Domain> {
    let domain = line(takes, value)?.to_ascii_lowercase();
    let fault = if domain.contains(char::is_whitespace) {
        "must not contain spaces"
    } else if domain.starts_with("http://") {
        "remove the scheme; https is the only supported scheme"
    } else if domain.starts_with("https://") {
        "remove the scheme; use only the host name, such as acme.eu.auth0.com"
    } else if domain.contains('@') {
        "must not contain a user or a password; use only the host name, such as acme.eu.auth0.com"
    } else if domain.contains(['/', '?', '#']) {
        "must end after the host name or its port, without a slash or a path"
    } else {
        match host::split(&domain) {
            Ok(HostPort { host, is_absolute, port }) => {
                let port = port.map_or_else(String::new, |port| format!(":{port}"));
                return Ok(Domain { text: format!("{host}{port}"), is_absolute });
            }
            Err(fault) => return Err(format!("must be a host name, or a host name and a port: {fault}")),
        }
    };
    Err(fault.to_owned())
}

/// Reads the Management API's identifier. A custom domain does not change it, so it has a default only for a
/// canonical domain.
fn audience(reader: &mut Reader, domain: &Checked<Setting<Domain>>) -> Checked<Arc<str>> {
    const KEY: &str = "tenant.audience";
    let set = reader.owned(KEY, parse_audience)?;
    let canonical = domain.as_ref().ok().and_then(|domain| canonical_audience(&domain.value.text));
    match (set, canonical, domain) {
        (Some(audience), canonical, _) => {
            if canonical.is_some_and(|canonical| canonical != audience.value) {
                reader.warn(&audience, "names a different tenant than tenant.domain");
            }
            Ok(audience.value.into())
        }
        (None, Some(canonical), _) => Ok(canonical.into()),
        (None, None, Ok(domain)) => {
            let text = "required with a custom domain: the Management API's identifier, \
                        https://TENANT.REGION.auth0.com/api/v2/ with the tenant's own host name";
            Err(reader.report.problem(KEY, domain.origin.as_deref(), text))
        }
        // The domain has a problem; whether the audience is missing depends on the domain.
        (None, None, Err(reported)) => Err(*reported),
    }
}

fn canonical_audience(domain: &str) -> Option<String> {
    let host = host::split(domain).ok()?.host;
    host.ends_with(CANONICAL).then(|| format!("https://{host}/api/v2/"))
}

fn parse_audience(takes: Type, value: &Value) -> Parsed<&str> {
    let audience = line(takes, value)?;
    let host = audience.strip_prefix("https://").and_then(|rest| rest.strip_suffix("/api/v2/"));
    match host.map(host::split) {
        Some(Ok(host)) if !host.is_absolute => Ok(audience),
        None if audience.ends_with("/api/v2") => {
            Err("must end in a slash, as in /api/v2/; the slash is part of the identifier".to_owned())
        }
        _ => {
            Err("must be https://TENANT.REGION.auth0.com/api/v2/ with the tenant's own host name".to_owned())
        }
    }
}

/// Reads the certificate authorities in the file that `key` names.
pub(super) fn extra_roots(reader: &mut Reader, key: &str) -> Checked<Vec<CertificateDer<'static>>> {
    /// Five times the size of the platform's whole bundle.
    const LIMIT_KIB: u64 = 1024;

    let Some(file) = reader.owned(key, absolute_path)? else { return Ok(Vec::new()) };
    let content = referenced_files::read(Path::new(&file.value), LIMIT_KIB)
        .map_err(|error| reader.refuse(&file, error))?;
    let roots = certificates(&content.bytes).map_err(|text| reader.refuse(&file, text))?;
    reader.files.push(file.value.into());
    Ok(roots)
}

/// The certificates of a PEM file, each of which is valid as a root.
fn certificates(pem: &[u8]) -> Parsed<Vec<CertificateDer<'static>>> {
    let sections: Vec<(SectionKind, Vec<u8>)> = PemObject::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| "the file is damaged; a section of it is not valid PEM".to_owned())?;
    let has_key = sections.iter().any(|(kind, _)| is_private_key(*kind));
    let found: Vec<CertificateDer<'static>> = sections
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| der.into())
        .collect();
    let mut roots = RootCertStore::empty();
    match found.iter().position(|certificate| roots.add(certificate.clone()).is_err()) {
        _ if found.is_empty() && has_key => {
            Err("the file contains a private key and no certificate; use the authority's certificate".into())
        }
        _ if found.is_empty() => {
            Err("the file contains no certificate; use PEM with -----BEGIN CERTIFICATE-----".into())
        }
        Some(index) => Err(format!("certificate {} in the file cannot be parsed", index.saturating_add(1))),
        None => Ok(found),
    }
}

fn is_private_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_hosts() {
        let good = |text: &str| parse_domain(Type::Text(""), &text.into());
        let domain = |text: &str, is_absolute| Ok(Domain { text: text.to_owned(), is_absolute });
        assert_eq!(good("Acme.EU.auth0.com"), domain("acme.eu.auth0.com", false));
        assert_eq!(good("127.0.0.1:8443"), domain("127.0.0.1:8443", false));
        assert_eq!(good("Acme.EU.auth0.com."), domain("acme.eu.auth0.com", true));
        assert_eq!(good("acme.eu.auth0.com.:443"), domain("acme.eu.auth0.com:443", true));
        for bad in [
            "",
            " ",
            "a b",
            "http://a",
            "https://a",
            "u@a",
            "a/",
            "a/b",
            "a?b",
            "a#b",
            "a:x",
            "ftp://a",
            "a\n",
        ] {
            assert!(good(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn audiences_end_in_a_slash() {
        let good = |text: &str| parse_audience(Type::Text(""), &text.into()).is_ok();
        assert!(good("https://acme.eu.auth0.com/api/v2/"));
        for bad in [
            "",
            "https://a/api/v2",
            "http://a/api/v2/",
            "https:///api/v2/",
            "https://a/b/api/v2/",
            "https://acme.eu.auth0.com./api/v2/",
            "a/api/v2/",
        ] {
            assert!(!good(bad), "{bad}");
        }
    }
}

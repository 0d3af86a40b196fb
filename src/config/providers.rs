//! `[providers]`: how identity providers are reached.

use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::environment::Env;
use super::problem::Checked;
use super::proxy::{self, Proxy};
use super::reader::Reader;
use super::reloadable::Reloadable;
use super::tenant::extra_roots;

const CA_FILE: &str = "providers.ca_file";
const PROXY: &str = "providers.proxy";

/// `[providers]`.
#[derive(Clone, Debug)]
pub struct Providers {
    /// Certificates from `ca_file`, trusted besides the platform's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The proxy through which providers are reached.
    pub proxy: Proxy,
    /// Time limit for name resolution, TCP, a proxy's CONNECT and the TLS handshake together.
    pub connect_timeout: Duration,
    /// Time limit for one refresh, the wait for a permit and retries included; longer than `connect_timeout`.
    pub request_timeout: Duration,
    /// The rate of requests to each host.
    pub requests_per_second: f64,
    /// How many requests to each host may be sent at once after a pause.
    pub burst: u32,
}

impl Reloadable for Providers {
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

/// Reads `[providers]`. Variables of `env` name a proxy only if a provider is reached at all.
pub(super) fn read(reader: &mut Reader, env: &Env, are_reached: bool) -> Checked<Providers> {
    let extra_roots = extra_roots(reader, CA_FILE);
    let none = Env::default();
    let proxy = proxy::read(reader, PROXY, if are_reached { env } else { &none });
    let connect_timeout = reader.setting("providers.connect_timeout");
    let request_timeout = reader.setting("providers.request_timeout");
    let requests_per_second = reader.value("providers.requests_per_second");
    let burst = reader.value("providers.burst");

    let (connect_timeout, request_timeout) = (connect_timeout?, request_timeout?);
    reader.require_shorter(&connect_timeout, &request_timeout)?;
    Ok(Providers {
        extra_roots: extra_roots?,
        proxy: proxy?,
        connect_timeout: connect_timeout.value,
        request_timeout: request_timeout.value,
        requests_per_second: requests_per_second?,
        burst: burst?,
    })
}

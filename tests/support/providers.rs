//! Simulated providers joined to a daemon in memory, so that tokio's paused time governs both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloakroom::fake_auth0::provider::FakeProvider;
use cloakroom::transport::{Sending, Transport};
use http_body_util::Full;
use hyper::Request;

use super::exchange::{delivered, whole};

/// Carries requests to providers without a socket, by the host and port in the URI. A request to any other host is a
/// mistake of the daemon, and panics.
pub struct ProvidersInMemory {
    hosts: BTreeMap<String, FakeProvider>,
    timeout: Duration,
}

impl ProvidersInMemory {
    /// Providers at the hosts of those that they imitate.
    pub fn of(providers: &[&FakeProvider], timeout: Duration) -> Arc<Self> {
        let hosts = providers.iter().map(|provider| (provider.dialect().host(), *provider));
        Self::at(&hosts.collect::<Vec<_>>(), timeout)
    }

    /// Providers at these hosts.
    pub fn at(hosts: &[(&str, &FakeProvider)], timeout: Duration) -> Arc<Self> {
        let hosts = hosts.iter().map(|(host, provider)| ((*host).to_owned(), (*provider).clone()));
        Arc::new(Self { hosts: hosts.collect(), timeout })
    }
}

impl Transport for ProvidersInMemory {
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        Box::pin(async {
            let host = request.uri().authority().unwrap().as_str().to_owned();
            let provider = self.hosts.get(&host).unwrap_or_else(|| panic!("a request to {host}"));
            assert_eq!(request.uri().scheme_str(), Some("https"));
            delivered(&host, provider.answer(whole(request).await), self.timeout).await
        })
    }
}

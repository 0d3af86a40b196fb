//! The token endpoint for the application's credentials: that of the tenant's domain, and for a certificate
//! `tenant.client.token_host` or the one that the tenant's discovery document names.
//!
//! A tenant asks for certificates at a host of its own, which it lists among `mtls_endpoint_aliases` (RFC 8705 §5). All
//! other endpoints stay at the tenant's domain.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, USER_AGENT};
use hyper::{Method, Request};

use crate::config::Credential;
use crate::domain::error::{Failure, UNSENDABLE};
use crate::domain::priority::Priority;

use super::client::{Auth0, ClientSettings, Endpoint, budget_failure, own_issuer};
use super::credentials::Credentials;
use super::discovery;
use super::wire::AGENT;

impl Auth0 {
    /// The URL of the token endpoint for these credentials. Reads the discovery document if it has to be known.
    pub(super) async fn token_url(
        &self,
        settings: &ClientSettings,
        credentials: &Credentials,
    ) -> Result<Arc<str>, Failure> {
        let at = |host: &str| format!("https://{host}/oauth/token").into();
        if !matches!(credentials.credential(), Credential::TlsClientAuth(_)) {
            return Ok(at(&self.0.domain));
        }
        if let Some(host) = &settings.token_host {
            return Ok(at(host));
        }
        let now = self.0.clock.now();
        if let Some(known) = settings.token_endpoint.get(now) {
            return Ok(known);
        }
        match (self.discover(settings).await, settings.token_endpoint.last()) {
            (Ok(found), _) => {
                let url = found.unwrap_or_else(|| at(&self.0.domain));
                settings.token_endpoint.set(Arc::clone(&url), now);
                Ok(url)
            }
            (Err(_), Some(known)) => Ok(known),
            (Err(failure), None) => Err(failure),
        }
    }

    /// The token endpoint among the aliases for clients with a certificate; `None` if there is none.
    async fn discover(&self, settings: &ClientSettings) -> Result<Option<Arc<str>>, Failure> {
        let inner = &self.0;
        let acquiring = inner.budget.acquire_for_itself(Priority::Management, settings.request_timeout);
        let permit = acquiring.await.map_err(budget_failure)?;
        let request = || self.discovery_request().ok_or(Failure::Malformed { what: UNSENDABLE });
        let sent = self.send(settings, Endpoint::Discovery, request, permit, Priority::Management);
        discovery::parse(&sent.await?.0, &own_issuer(&inner.domain))
    }

    fn discovery_request(&self) -> Option<Request<Full<Bytes>>> {
        Request::builder()
            .method(Method::GET)
            .uri(format!("https://{}{}", self.0.domain, discovery::PATH))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT)
            .body(Full::default())
            .ok()
    }
}

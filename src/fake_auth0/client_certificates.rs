//! Certificates of the application, and the port that asks for them.
//!
//! At Auth0 that is a host of the customer's edge, which verifies the certificate and forwards it. Here one listener is
//! both.

use std::io;

use crate::secret::Secret;

use super::client_key_pair::{ClientKeyPair, pem};
use super::error::TenantError;
use super::listen::Listening;
use super::{CertificateKind, Tenant};

/// Which certificate the tenant's authority issues to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificateKind {
    /// Valid, with the application's client id as its common name, which is the registered subject.
    Good,
    /// Expired.
    Expired,
    /// With another subject.
    AnotherSubject,
    /// From an authority that the tenant does not know.
    UnknownIssuer,
}

/// A certificate and its key as PEM.
#[derive(Debug)]
pub struct ClientCertificateFiles {
    /// The certificate.
    pub certificate_pem: String,
    /// Its key, PKCS#8.
    pub key_pem: Secret,
}

impl Tenant {
    /// Issues a certificate to the application, for `key` or for a new EC key.
    pub fn issue_client_certificate(
        &self,
        kind: ClientCertificateKind,
        key: Option<&ClientKeyPair>,
    ) -> Result<ClientCertificateFiles, TenantError> {
        let key = match key {
            Some(key) => rcgen::KeyPair::from_pem(key.private_pem.expose())?,
            None => rcgen::KeyPair::generate()?,
        };
        let client_id = self.state().options.client_id.clone();
        let subject = if kind == ClientCertificateKind::AnotherSubject { "another" } else { &client_id };
        let is_expired = kind == ClientCertificateKind::Expired;
        let is_ours = kind != ClientCertificateKind::UnknownIssuer;
        let certificate_pem = self.0.authority.client_certificate(&key, subject, is_expired, is_ours)?;
        Ok(ClientCertificateFiles { certificate_pem, key_pem: Secret::new(key.serialize_pem()) })
    }

    /// Listens on a free port of 127.0.0.1 for clients with a certificate of the tenant's authority. It answers
    /// requests to the token endpoint alone, and the discovery document names it while
    /// [`set_mtls_aliases`](Self::set_mtls_aliases) says so.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn listen_mtls(&self) -> io::Result<Listening> {
        let config = self.0.authority.mtls_config(CertificateKind::Good).map_err(io::Error::other)?;
        let listening = self.serve_on(0, config)?;
        self.state().mtls_host = Some(listening.domain().to_owned());
        Ok(listening)
    }

    /// The certificates that the token endpoint was presented so far, as PEM, in the order of the requests.
    pub fn presented_certificates(&self) -> Vec<String> {
        self.state().presented.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// Sets whether the discovery document names the host that asks for certificates. It does at first.
    pub fn set_mtls_aliases(&self, named: bool) {
        self.state().mtls_aliases = named;
    }

    /// Sets the host that the discovery document names, for a tenant without sockets.
    pub fn set_mtls_host(&self, host: &str) {
        self.state().mtls_host = Some(host.to_owned());
    }
}

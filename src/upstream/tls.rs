//! Whom we trust: the platform's certificate authorities, and those of `tenant.ca_file` besides.

use std::error::Error;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::domain::error::TlsProblem;

/// What keeps TLS from being set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody is trusted.
    #[error(
        "no certificate authority is known on this machine: install its package of CA certificates (ca-certificates), \
         point SSL_CERT_FILE at a bundle, or set tenant.ca_file"
    )]
    NoRoots,
    /// A certificate of `tenant.ca_file` cannot be used as an authority.
    #[error("tenant.ca_file holds a certificate that cannot be used as an authority")]
    BadRoot,
    /// The crypto provider lacks what TLS needs; a fault of the build.
    #[error("this build cannot speak TLS")]
    Provider,
}

/// The platform's authorities, as they were when they were first asked for: before the sandbox, which does not let all
/// of the places be read where platforms keep them. A reload that found fewer of them would cut Auth0 off.
fn platform_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // Platforms ship certificates that nobody can parse any more; what cannot be read is simply not trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// Client settings: TLS 1.2 and 1.3, aws-lc-rs, the platform's roots and `extra`.
pub fn client_config(extra: &[CertificateDer<'static>]) -> Result<ClientConfig, TlsError> {
    let mut roots = platform_roots().clone();
    for certificate in extra {
        roots.add(certificate.clone()).map_err(|_| TlsError::BadRoot)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    // Named here and not taken from the process's default, which panics where two providers are linked.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsError::Provider)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// What is wrong, if `error` is about TLS.
pub fn problem(error: &(dyn Error + 'static)) -> Option<TlsProblem> {
    let error = error.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsProblem::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsProblem::WrongTime,
            _ => TlsProblem::Certificate,
        },
        _ => TlsProblem::Handshake,
    })
}

//! Errors of the simulated tenant.

/// Why a tenant cannot be made or cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// A signing key cannot be generated.
    #[error("no RSA key could be generated")]
    Key,
    /// A certificate cannot be made.
    #[error("no certificate could be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS refuses the certificate.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
    /// A token cannot be signed.
    #[error("a token could not be signed: {0}")]
    Signature(#[from] jsonwebtoken::errors::Error),
}

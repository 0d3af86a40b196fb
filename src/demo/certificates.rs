//! A throw-away certificate authority, and certificates that are right or wrong in one way each.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::TenantError;

/// What the tenant shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateKind {
    /// For `localhost` and `127.0.0.1`, from the authority that is published.
    Good,
    /// The same, but its time is over.
    Expired,
    /// For another host.
    WrongName,
    /// From an authority that nobody has heard of.
    UnknownIssuer,
}

/// The tenant's authority: one for its life, so that a client that trusts it may see it go and come back.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Result<Self, TenantError> {
        Self::named("cloakroom demo authority")
    }

    fn named(name: &str) -> Result<Self, TenantError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// What a server needs to show a certificate of this kind.
    pub fn server_config(&self, kind: CertificateKind) -> Result<Arc<ServerConfig>, TenantError> {
        let names = match kind {
            CertificateKind::WrongName => vec!["elsewhere.example".to_owned()],
            _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "cloakroom demo tenant");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(if kind == CertificateKind::Expired { 2001 } else { 2099 }, 1, 1);

        let key = KeyPair::generate()?;
        let certificate = match kind {
            CertificateKind::UnknownIssuer => {
                params.signed_by(&key, &Self::named("nobody in particular")?.0)?
            }
            _ => params.signed_by(&key, &self.0)?,
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key)
            })
            .map_err(TenantError::Tls)?;
        Ok(Arc::new(config))
    }
}

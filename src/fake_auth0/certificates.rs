//! A temporary certificate authority, and certificates that are valid, or invalid in one way each.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};

use super::error::TenantError;

/// Which certificate the tenant presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateKind {
    /// Valid for `localhost` and `127.0.0.1`, from the published authority.
    Good,
    /// Expired.
    Expired,
    /// Issued for another host.
    WrongName,
    /// From an unknown authority.
    UnknownIssuer,
    /// From another authority of the same name, as when a proxy's authority was recreated.
    SameName,
    /// Not valid yet.
    NotYetValid,
    /// The certificate of an authority, as some misconfigured appliances present it.
    Authority,
    /// With the host in its common name only.
    OnlyCommonName,
    /// From an authority whose name constraints exclude the host.
    OutsideConstraints,
    /// From an expired intermediate authority.
    ExpiredIntermediate,
    /// From an intermediate certificate that is not an authority's.
    NoAuthority,
    /// Issued for clients, not for servers.
    NotForServers,
    /// With an unknown critical extension.
    CriticalExtension,
}

/// The tenant's authority. It stays the same when the tenant stops and listens again, so that clients still trust it.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Result<Self, TenantError> {
        Self::named("cloakroom demo authority")
    }

    fn named(name: &str) -> Result<Self, TenantError> {
        Ok(Self(CertifiedIssuer::self_signed(authority(name), KeyPair::generate()?)?))
    }

    /// Makes an intermediate authority.
    fn below(&self, kind: CertificateKind) -> Result<CertifiedIssuer<'static, KeyPair>, TenantError> {
        let mut params = authority("cloakroom demo intermediate");
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2000, 1, 1);
        match kind {
            CertificateKind::ExpiredIntermediate => params.not_after = date_time_ymd(2001, 1, 1),
            CertificateKind::NoAuthority => params.is_ca = IsCa::ExplicitNoCa,
            _ => {
                let permitted_subtrees = vec![GeneralSubtree::DnsName("elsewhere.example".into())];
                let excluded_subtrees = Vec::new();
                params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
            }
        }
        Ok(CertifiedIssuer::signed_by(params, KeyPair::generate()?, &self.0)?)
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Makes a certificate for a client's key: expired or not, from this authority or from another one.
    pub fn client_certificate(
        &self,
        key: &KeyPair,
        subject: &str,
        is_expired: bool,
        is_ours: bool,
    ) -> Result<String, TenantError> {
        let mut params = CertificateParams::new([])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(if is_expired { 2001 } else { 2099 }, 1, 1);
        let other = if is_ours { None } else { Some(Self::named("cloakroom demo unknown authority")?) };
        Ok(params.signed_by(key, &other.as_ref().unwrap_or(self).0)?.pem())
    }

    /// Makes a server's TLS configuration with a certificate of this kind.
    pub fn server_config(&self, kind: CertificateKind) -> Result<Arc<ServerConfig>, TenantError> {
        self.config(kind, false)
    }

    /// Makes a server's TLS configuration that demands a certificate of this authority from clients.
    pub fn mtls_config(&self, kind: CertificateKind) -> Result<Arc<ServerConfig>, TenantError> {
        self.config(kind, true)
    }

    fn config(
        &self,
        kind: CertificateKind,
        demands_certificate: bool,
    ) -> Result<Arc<ServerConfig>, TenantError> {
        let names = match kind {
            CertificateKind::WrongName => vec!["elsewhere.example".to_owned()],
            CertificateKind::OnlyCommonName => Vec::new(),
            _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let not_before = if kind == CertificateKind::NotYetValid { 2098 } else { 2000 };
        params.not_before = date_time_ymd(not_before, 1, 1);
        params.not_after = date_time_ymd(if kind == CertificateKind::Expired { 2001 } else { 2099 }, 1, 1);
        match kind {
            CertificateKind::Authority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            CertificateKind::NotForServers => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }
            CertificateKind::CriticalExtension => {
                let mut unknown =
                    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
                unknown.set_criticality(true);
                params.custom_extensions.push(unknown);
            }
            _ => {}
        }

        let key = KeyPair::generate()?;
        let mut chain = Vec::new();
        let certificate = match kind {
            CertificateKind::UnknownIssuer => {
                params.signed_by(&key, &Self::named("cloakroom demo unknown authority")?.0)?
            }
            CertificateKind::SameName => params.signed_by(&key, &Self::new()?.0)?,
            CertificateKind::OutsideConstraints
            | CertificateKind::ExpiredIntermediate
            | CertificateKind::NoAuthority => {
                let intermediate = self.below(kind)?;
                chain.push(intermediate.der().clone());
                params.signed_by(&key, &intermediate)?
            }
            _ => params.signed_by(&key, &self.0)?,
        };
        chain.insert(0, certificate.der().clone());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = default_provider();
        let key = provider.key_provider.load_private_key(key).map_err(TenantError::Tls)?;
        // A fixed resolver: given key and chain directly, rustls would reject the certificates that are invalid.
        let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let provider = Arc::new(provider);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TenantError::Tls)?;
        let builder = if demands_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.0.der().clone()).map_err(TenantError::Tls)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|_| TenantError::Key)?)
        } else {
            builder.with_no_client_auth()
        };
        Ok(Arc::new(builder.with_cert_resolver(Arc::new(resolver))))
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

//! A throw-away certificate authority, and certificates that are right or wrong in one way each.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

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
    /// From another authority of the same name, as when a proxy's was made anew.
    SameName,
    /// Not valid yet.
    NotYetValid,
    /// An authority's, as appliances show that were given one by mistake.
    Authority,
    /// Names the host in its common name alone.
    OnlyCommonName,
    /// From an authority that may sign for other names alone.
    OutsideConstraints,
    /// From an intermediate authority whose time is over.
    ExpiredIntermediate,
    /// From an intermediate that is no authority.
    NoAuthority,
    /// For clients.
    NotForServers,
    /// With an unknown critical extension.
    CriticalExtension,
}

/// The tenant's authority: one for its life, so that a client that trusts it may see it go and come back.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Result<Self, TenantError> {
        Self::named("cloakroom demo authority")
    }

    fn named(name: &str) -> Result<Self, TenantError> {
        Ok(Self(CertifiedIssuer::self_signed(authority(name), KeyPair::generate()?)?))
    }

    /// An authority under this one.
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

    /// What a server needs to show a certificate of this kind.
    pub fn server_config(&self, kind: CertificateKind) -> Result<Arc<ServerConfig>, TenantError> {
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
                params.signed_by(&key, &Self::named("nobody in particular")?.0)?
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
        // Where rustls is handed both, it refuses to show what is wrong on purpose.
        let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(TenantError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        Ok(Arc::new(config))
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

//! The application's certificate and its key, with which it authenticates in TLS.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::zeroize::Zeroize;

use crate::domain::freshness::Timestamp;

use super::der::Validity;
use super::tls_key::TlsKey;
use super::{KeyError, SigningAlg, SigningKey, der, private_key};

/// Why a certificate cannot be used. The text is to be read after the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The text has no certificate.
    #[error("the file contains no certificate; use PEM with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// A private key, and no certificate.
    #[error(
        "the file contains a private key and no certificate; use the certificate that belongs to the key"
    )]
    PrivateKey,
    /// A section or a certificate is not valid.
    #[error("the certificate in the file is damaged")]
    Damaged,
    /// The key belongs to another certificate.
    #[error("the certificate does not belong to the private key: both files have to be replaced together")]
    AnotherKey,
    /// The key cannot be used, for this reason.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A certificate with its key, and the certificates of authorities that are sent with it.
#[derive(Debug)]
pub struct ClientCertificate {
    certified: Arc<CertifiedKey>,
    validity: Validity,
    signing_key: Option<Arc<SigningKey>>,
}

impl ClientCertificate {
    /// The certificates of one PEM text, the application's own first, and the key of another. `alg` is for JWTs. The
    /// caller is responsible for overwriting `key`.
    ///
    /// # Errors
    /// One of them cannot be used, or they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8], alg: SigningAlg) -> Result<Self, CertificateError> {
        let chain = chain(certificates)?;
        let validities = chain.iter().map(|der| der::validity(der).ok_or(CertificateError::Damaged));
        let validities = validities.collect::<Result<Vec<_>, _>>()?;
        let overlap = |one: Validity, other: Validity| Validity {
            not_before: one.not_before.max(other.not_before),
            not_after: one.not_after.min(other.not_after),
        };
        let validity = validities.into_iter().reduce(overlap).ok_or(CertificateError::NoCertificate)?;
        let (tls_key, signing_key) = match SigningKey::from_pem(key, alg).map(Arc::new) {
            Ok(key) => (Arc::new(TlsKey(Arc::clone(&key))) as Arc<dyn rustls::sign::SigningKey>, Some(key)),
            // TLS takes more keys than Auth0 does for JWTs.
            Err(KeyError::Ec | KeyError::OtherAlgorithm | KeyError::TooLong { .. }) => {
                (other_key(key)?, None)
            }
            Err(error) => return Err(error.into()),
        };
        let certified = CertifiedKey::new(chain, tls_key);
        match certified.keys_match() {
            Ok(()) => Ok(Self { certified: Arc::new(certified), validity, signing_key }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::AnotherKey),
            Err(_) => Err(CertificateError::Damaged),
        }
    }

    /// The certificate and its key, for TLS.
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// The certificate's SHA-256, in base64: what Auth0 lists as its thumbprint.
    pub fn fingerprint(&self) -> String {
        let der = self.certified.cert.first().map(|der| der.as_ref()).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, der))
    }

    /// The key, if it is an RSA key that can sign JWTs for Auth0.
    pub fn signing_key(&self) -> Option<&Arc<SigningKey>> {
        self.signing_key.as_ref()
    }

    /// When the first of the certificates expires.
    pub fn not_after(&self) -> Timestamp {
        self.validity.not_after
    }

    /// From when on all of the certificates are valid.
    pub fn not_before(&self) -> Timestamp {
        self.validity.not_before
    }
}

/// Two are equal if they send the same certificates. The key belongs to the first of them.
impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert && self.signing_key == other.signing_key
    }
}

impl Eq for ClientCertificate {}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let (mut chain, mut without) = (Vec::new(), CertificateError::NoCertificate);
    for section in PemObject::pem_slice_iter(pem) {
        let (kind, mut der): (SectionKind, Vec<u8>) = section.map_err(|_| CertificateError::Damaged)?;
        match kind {
            SectionKind::Certificate => chain.push(CertificateDer::from(der)),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                der.zeroize();
                without = CertificateError::PrivateKey;
            }
            _ => {}
        }
    }
    if chain.is_empty() { Err(without) } else { Ok(chain) }
}

/// A key of another kind than those that sign JWTs.
fn other_key(pem: &[u8]) -> Result<Arc<dyn rustls::sign::SigningKey>, KeyError> {
    let (kind, der) = private_key(pem)?;
    let mut key = match kind {
        SectionKind::RsaPrivateKey => PrivateKeyDer::Pkcs1(der.to_vec().into()),
        SectionKind::EcPrivateKey => PrivateKeyDer::Sec1(der.to_vec().into()),
        _ => PrivateKeyDer::Pkcs8(der.to_vec().into()),
    };
    let loaded = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key);
    key.zeroize();
    loaded.map_err(|_| KeyError::Damaged)
}

//! The application's RSA key as a client's key in TLS, so that it is in memory once if it signs JWTs as well.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, KeyPair, RsaEncoding};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::Signer;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::SigningKey;

/// The schemes of RSA keys, in the order in which they are preferred.
const SCHEMES: [(SignatureScheme, &dyn RsaEncoding); 6] = [
    (SignatureScheme::RSA_PSS_SHA512, &signature::RSA_PSS_SHA512),
    (SignatureScheme::RSA_PSS_SHA384, &signature::RSA_PSS_SHA384),
    (SignatureScheme::RSA_PSS_SHA256, &signature::RSA_PSS_SHA256),
    (SignatureScheme::RSA_PKCS1_SHA512, &signature::RSA_PKCS1_SHA512),
    (SignatureScheme::RSA_PKCS1_SHA384, &signature::RSA_PKCS1_SHA384),
    (SignatureScheme::RSA_PKCS1_SHA256, &signature::RSA_PKCS1_SHA256),
];

/// A key for rustls.
#[derive(Debug)]
pub(super) struct TlsKey(pub(super) Arc<SigningKey>);

impl rustls::sign::SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let (scheme, encoding) = SCHEMES.into_iter().find(|(scheme, _)| offered.contains(scheme))?;
        Some(Box::new(TlsSigner { key: Arc::clone(&self.0), scheme, encoding }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let der = self.0.pair.public_key().as_der().ok()?;
        Some(der.as_ref().to_vec().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

/// One signature of a handshake.
#[derive(Debug)]
struct TlsSigner {
    key: Arc<SigningKey>,
    scheme: SignatureScheme,
    encoding: &'static dyn RsaEncoding,
}

impl Signer for TlsSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let pair = &self.key.pair;
        let mut signature = vec![0; pair.public_modulus_len()];
        match pair.sign(self.encoding, &SystemRandom::new(), message, &mut signature) {
            Ok(()) => Ok(signature),
            Err(_) => Err(rustls::Error::General("the client's key could not sign".to_owned())),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

//! The application's RSA key, the JWTs that it signs (client assertions and subject tokens), and its certificate.

mod certificate;
mod der;
#[cfg(test)]
mod tests;
mod tls_key;

use std::fmt;

use aws_lc_rs::signature::{self, RsaEncoding, RsaKeyPair};
use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::{PemObject, SectionKind};
use secrecy::zeroize::Zeroizing;
use serde::Serialize;

use crate::secret::Secret;

pub use certificate::{CertificateError, ClientCertificate};
use der::{Pkcs8, RsaNumbers};

/// The shortest RSA key that Auth0 registers.
const SHORTEST_BITS: usize = 2048;

/// The longest RSA key that signs JWTs. Auth0 reads JWTs of at most 2048 bytes, and a longer signature leaves no room
/// for the claims.
const LONGEST_BITS: usize = 4096;

/// The algorithms with which Auth0 verifies a client's signatures (RFC 7518 §3.1). Auth0 supports no algorithm for EC
/// keys there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlg {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PSS with SHA-256.
    Ps256,
}

impl SigningAlg {
    /// The name in JWT headers and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Ps256 => "PS256",
        }
    }

    /// The algorithm of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Rs256, Self::Rs384, Self::Ps256].into_iter().find(|alg| alg.as_str() == name)
    }

    const fn encoding(self) -> &'static dyn RsaEncoding {
        match self {
            Self::Rs256 => &signature::RSA_PKCS1_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_SHA384,
            Self::Ps256 => &signature::RSA_PSS_SHA256,
        }
    }
}

/// Why a file has no key that can sign. The text is to be read after the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text has no PEM section that is known here.
    #[error("the file contains no private key in PEM; use -----BEGIN PRIVATE KEY----- (PKCS#8)")]
    NoPem,
    /// A section is not valid, or its content is not the key that its label states.
    #[error("the private key in the file is damaged")]
    Damaged,
    /// More than one private key, so that it is not clear which is meant.
    #[error("the file contains more than one private key; use a file with one")]
    Several,
    /// A certificate, and no private key.
    #[error("the file contains a certificate and no private key; use the key that belongs to it")]
    Certificate,
    /// A public key, which is what Auth0 is given.
    #[error("the file contains a public key; register it with Auth0, and use the private key here")]
    PublicKey,
    /// The key needs a passphrase.
    #[error(
        "the private key in the file is encrypted, and the daemon has no passphrase; decrypt it with \
         openssl pkey -in FILE -out DECRYPTED"
    )]
    Encrypted,
    /// OpenSSH's own format.
    #[error(
        "the private key is in OpenSSH's format; convert it to PKCS#8 with ssh-keygen -p -m PKCS8 -f FILE"
    )]
    OpenSsh,
    /// An EC key.
    #[error(
        "the file contains an EC key, and Auth0 verifies RSA keys alone; create one with \
         openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"
    )]
    Ec,
    /// A key of another algorithm, such as Ed25519 or DSA, or one that is restricted to PSS.
    #[error(
        "the key in the file is not a plain RSA key; create one with \
         openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"
    )]
    OtherAlgorithm,
    /// Too few bits.
    #[error("the RSA key in the file has {bits} bits; at least {SHORTEST_BITS} are required")]
    TooShort {
        /// The length of the modulus.
        bits: usize,
    },
    /// Too many bits.
    #[error(
        "the RSA key in the file has {bits} bits; at most {LONGEST_BITS} are possible, because Auth0 reads at most 2048 \
         bytes of a signed token"
    )]
    TooLong {
        /// The length of the modulus.
        bits: usize,
    },
}

/// The key could not sign: claims that are not JSON, or an internal error of the cryptographic library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client's key could not sign")]
pub struct NotSigned;

/// An RSA key that signs JWTs. Its numbers are in memory once, in aws-lc, which overwrites them when it frees them.
pub struct SigningKey {
    pair: RsaKeyPair,
    alg: SigningAlg,
    kid: String,
}

impl SigningKey {
    /// The private key of a PEM text, PKCS#8 or PKCS#1. The caller is responsible for overwriting `pem`.
    ///
    /// # Errors
    /// The text has no RSA key that Auth0 accepts; the error says what it has.
    pub fn from_pem(pem: &[u8], alg: SigningAlg) -> Result<Self, KeyError> {
        let (kind, der) = private_key(pem)?;
        let pkcs1 = match kind {
            SectionKind::RsaPrivateKey => der.as_slice(),
            SectionKind::EcPrivateKey => return Err(KeyError::Ec),
            _ => match der::pkcs8(&der).ok_or(KeyError::Damaged)? {
                Pkcs8::Rsa(pkcs1) => pkcs1,
                Pkcs8::Ec => return Err(KeyError::Ec),
                Pkcs8::Other => return Err(KeyError::OtherAlgorithm),
            },
        };
        let public = der::public_numbers(pkcs1).ok_or(KeyError::Damaged)?;
        match public.bits() {
            bits if bits < SHORTEST_BITS => return Err(KeyError::TooShort { bits }),
            bits if bits > LONGEST_BITS => return Err(KeyError::TooLong { bits }),
            _ => {}
        }
        let pair = RsaKeyPair::from_der(pkcs1).map_err(|_| KeyError::Damaged)?;
        Ok(Self { kid: thumbprint(&public), pair, alg })
    }

    /// The key's id: the thumbprint of its public key as a JWK (RFC 7638), as Auth0 computes it for a registered key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm.
    pub fn alg(&self) -> SigningAlg {
        self.alg
    }

    /// A compact JWS of `claims` with this `typ` (`None`: no `typ`) and the key's id.
    pub fn sign(&self, typ: Option<&str>, claims: &impl Serialize) -> Result<Secret, NotSigned> {
        let header = Header { alg: self.alg.as_str(), kid: &self.kid, typ };
        let mut token = encoded(&header)?;
        token.push('.');
        token.push_str(&encoded(claims)?);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = rand::SystemRandom::new();
        self.pair
            .sign(self.alg.encoding(), &random, token.as_bytes(), &mut signature)
            .map_err(|_| NotSigned)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Secret::new(token))
    }
}

/// Two keys are equal if they have the same public key and algorithm.
impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.kid == other.kid && self.alg == other.alg
    }
}

impl Eq for SigningKey {}

/// Prints the key's id, which is public.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.alg).field(&self.kid).finish()
    }
}

/// A JOSE header.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    typ: Option<&'a str>,
}

fn encoded(part: &impl Serialize) -> Result<String, NotSigned> {
    serde_json::to_vec(part).map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| NotSigned)
}

/// The one section of `pem` that is a private key.
fn private_key(pem: &[u8]) -> Result<(SectionKind, Zeroizing<Vec<u8>>), KeyError> {
    for line in pem.split(|byte| matches!(byte, b'\n' | b'\r')) {
        // An encrypted PKCS#1 key has the usual label, and this line below it (RFC 1421 §4.6.1.1).
        if line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY") || line == b"Proc-Type: 4,ENCRYPTED" {
            return Err(KeyError::Encrypted);
        }
        if line.starts_with(b"-----BEGIN OPENSSH PRIVATE KEY") {
            return Err(KeyError::OpenSsh);
        }
    }
    let mut keys = Vec::new();
    let mut without_key = KeyError::NoPem;
    for section in PemObject::pem_slice_iter(pem) {
        let (kind, der): (SectionKind, Vec<u8>) = section.map_err(|_| KeyError::Damaged)?;
        match kind {
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                keys.push((kind, Zeroizing::new(der)));
            }
            SectionKind::Certificate => without_key = KeyError::Certificate,
            SectionKind::PublicKey => without_key = KeyError::PublicKey,
            _ => {}
        }
    }
    let key = keys.pop().ok_or(without_key)?;
    if keys.is_empty() { Ok(key) } else { Err(KeyError::Several) }
}

/// RFC 7638 §3: the hash of the members that a key needs, in this order and without spaces.
fn thumbprint(RsaNumbers { n, e }: &RsaNumbers) -> String {
    let [n, e] = [n, e].map(|number| URL_SAFE_NO_PAD.encode(number));
    let jwk = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, jwk.as_bytes()))
}

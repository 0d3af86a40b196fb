//! The public keys that an application has registered, and the JWTs that they verify.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

/// The algorithms of a registered key. Auth0 has no other.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::RS384, Algorithm::PS256];

/// Auth0's limit for each use of keys.
const MOST_PER_USE: usize = 2;

/// Auth0's limit for all keys of an application.
const MOST: usize = 4;

/// The longest JWT that Auth0 reads from an application, in bytes.
const LONGEST: usize = 2048;

/// What a registered key is for. One key can be registered for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// Client assertions, `private_key_jwt`.
    Authentication,
    /// Subject tokens of a privileged worker, for Token Vault.
    TokenVault,
}

/// Why a key cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyNotRegistered {
    /// The text is not the public key in PEM of an RSA key of at least 2048 bits, or the algorithm is none of Auth0's.
    #[error("invalid public key")]
    Invalid,
    /// The key is registered for this use.
    #[error("credentials contains public keys that already exist in client")]
    Exists,
    /// Two keys are registered for this use, or four in total.
    #[error("A client can have a maximum of 4 credentials.")]
    TooMany,
}

/// Why a JWT of the application is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidJwt {
    /// More than 2048 bytes.
    TooLong,
    /// Not a JWT, or claims that are not an object.
    Malformed,
    /// An algorithm that Auth0 does not support, or another than the key was registered with.
    Algorithm,
    /// No key with this id is registered for this use, or none at all.
    UnknownKey,
    /// No registered key has signed it.
    Signature,
    /// Another `typ`.
    Type,
    /// `iss` is not the application.
    Issuer,
    /// `sub` is not as required.
    Subject,
    /// `aud` is not the tenant's issuer as one text, with a slash at its end.
    Audience,
    /// `jti` is absent or longer than 64 characters.
    NoId,
    /// `jti` was used before.
    Replayed,
    /// `exp` is absent or past.
    Expired,
    /// `exp` is more than five minutes ahead.
    ExpiresTooLate,
    /// `iat` or `nbf` is more than ten seconds ahead, or `iat` too long ago.
    IssuedAt,
    /// `audit_context` is absent or longer than 256 characters.
    AuditContext,
}

/// The keys of an application.
#[derive(Default)]
pub(super) struct ClientKeys(Vec<ClientKey>);

struct ClientKey {
    kid: String,
    algorithm: Algorithm,
    public: DecodingKey,
    uses: Vec<KeyUse>,
}

impl ClientKeys {
    pub fn register(
        &mut self,
        purpose: KeyUse,
        pem: &str,
        algorithm: &str,
    ) -> Result<String, KeyNotRegistered> {
        let algorithm = algorithm.parse().ok().filter(|known| ALGORITHMS.contains(known));
        let (algorithm, (n, e)) = algorithm.zip(rsa_key(pem)).ok_or(KeyNotRegistered::Invalid)?;
        let kid = thumbprint(&n, &e);
        let for_this = self.0.iter().filter(|key| key.uses.contains(&purpose)).count();
        let is_full = for_this >= MOST_PER_USE;
        if let Some(known) = self.0.iter_mut().find(|key| key.kid == kid) {
            return match known.uses.contains(&purpose) {
                true => Err(KeyNotRegistered::Exists),
                false if is_full => Err(KeyNotRegistered::TooMany),
                false => {
                    known.uses.push(purpose);
                    Ok(kid)
                }
            };
        }
        if is_full || self.0.len() >= MOST {
            return Err(KeyNotRegistered::TooMany);
        }
        let public = DecodingKey::from_rsa_raw_components(&n, &e);
        self.0.push(ClientKey { kid: kid.clone(), algorithm, public, uses: vec![purpose] });
        Ok(kid)
    }

    pub fn remove(&mut self, purpose: KeyUse, kid: &str) {
        for key in self.0.iter_mut().filter(|key| key.kid == kid) {
            key.uses.retain(|of| *of != purpose);
        }
        self.0.retain(|key| !key.uses.is_empty());
    }

    /// The header and the claims of `jwt`, if a key that is registered for this use has signed it. The caller judges
    /// the claims.
    pub fn verify(&self, purpose: KeyUse, jwt: &str) -> Result<(Header, Value), InvalidJwt> {
        if jwt.len() > LONGEST {
            return Err(InvalidJwt::TooLong);
        }
        let header = header(jwt)?;
        let named = |key: &&ClientKey| header.kid.as_ref().is_none_or(|kid| *kid == key.kid);
        let keys: Vec<_> = self.0.iter().filter(|key| key.uses.contains(&purpose)).filter(named).collect();
        if keys.is_empty() {
            return Err(InvalidJwt::UnknownKey);
        }
        let mut keys = keys.into_iter().filter(|key| key.algorithm == header.alg).peekable();
        if keys.peek().is_none() {
            return Err(InvalidJwt::Algorithm);
        }
        let claims = keys.find_map(|key| {
            // The crate would read the system's clock for its own checks of times.
            let mut rules = Validation::new(key.algorithm);
            rules.validate_exp = false;
            rules.validate_aud = false;
            rules.required_spec_claims.clear();
            jsonwebtoken::decode::<Value>(jwt, &key.public, &rules).ok().map(|decoded| decoded.claims)
        });
        claims.map(|claims| (header, claims)).ok_or(InvalidJwt::Signature)
    }
}

/// The header of a JWT. An algorithm that `jsonwebtoken` does not know makes it invalid, such as `none`.
fn header(jwt: &str) -> Result<Header, InvalidJwt> {
    let first = jwt.split('.').next().unwrap_or_default();
    let decoded = URL_SAFE_NO_PAD.decode(first).map_err(|_| InvalidJwt::Malformed)?;
    let value: Value = serde_json::from_slice(&decoded).map_err(|_| InvalidJwt::Malformed)?;
    let algorithm = value.get("alg").and_then(Value::as_str).unwrap_or_default().parse();
    match algorithm {
        Ok(algorithm) if ALGORITHMS.contains(&algorithm) => {}
        _ => return Err(InvalidJwt::Algorithm),
    }
    serde_json::from_value(value).map_err(|_| InvalidJwt::Malformed)
}

/// Modulus and exponent of an RSA key of at least 2048 bits, from a SubjectPublicKeyInfo in PEM (RFC 3279 §2.3.1).
fn rsa_key(pem: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (info, _) = element(&der, 0x30)?;
    let (_algorithm, rest) = element(info, 0x30)?;
    let (bits, _) = element(rest, 0x03)?;
    let (key, _) = element(bits.get(1..)?, 0x30)?;
    let (n, rest) = element(key, 0x02)?;
    let (e, _) = element(rest, 0x02)?;
    let [n, e] =
        [n, e].map(|number| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>());
    (n.len() >= 256).then_some((n, e))
}

/// The content of the first element of some DER, and what follows it. Elements have at most 65535 bytes.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der {
        [found, length @ 0..=0x7f, rest @ ..] if *found == tag => (usize::from(*length), rest),
        [found, 0x81, length, rest @ ..] if *found == tag => (usize::from(*length), rest),
        [found, 0x82, high, low, rest @ ..] if *found == tag => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// RFC 7638.
fn thumbprint(n: &[u8], e: &[u8]) -> String {
    let [n, e] = [n, e].map(|number| URL_SAFE_NO_PAD.encode(number));
    let canonical = format!("{{\"e\":\"{e}\",\"kty\":\"RSA\",\"n\":\"{n}\"}}");
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
}

//! The tenant's signing keys: RSA keys that are generated at run time and never stored.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use super::error::TenantError;

/// Keys that the tenants of this process share, unless `own_keys` is set. Generating one takes a tenth of a second.
static GENERATED: Mutex<Vec<SigningKey>> = Mutex::new(Vec::new());

/// Length of the PKCS#8 header before the key, which is equal for all RSA keys of 1024 to 16384 bits.
const PKCS8_PREFIX: usize = 26;

#[derive(Clone)]
struct SigningKey {
    kid: String,
    n: String,
    e: String,
    signing: EncodingKey,
    verifying: DecodingKey,
}

/// The published keys: the current one, the next one, and the past ones.
pub(super) struct Keys {
    current: SigningKey,
    next: SigningKey,
    past: Vec<SigningKey>,
    generated: usize,
}

/// Why a bearer token is not one of this tenant's.
pub(super) enum NotOurs {
    /// The token is not a JWT, or names none of the published keys.
    Invalid,
    /// The signature is not by the named key.
    Signature,
}

impl Keys {
    pub fn new(own: bool) -> Result<Self, TenantError> {
        Ok(Self { current: key(0, own)?, next: key(1, own)?, past: Vec::new(), generated: 2 })
    }

    pub fn rotate(&mut self, own: bool) -> Result<(), TenantError> {
        let fresh = key(self.generated, own)?;
        self.generated += 1;
        let current = std::mem::replace(&mut self.next, fresh);
        self.past.push(std::mem::replace(&mut self.current, current));
        Ok(())
    }

    /// Signs `claims` as a JWT with the current key.
    pub fn sign(&self, claims: &Value) -> Result<String, TenantError> {
        self.sign_as(|_| (), claims)
    }

    /// Signs `claims` under a header that `change` modifies.
    pub fn sign_as(&self, change: impl FnOnce(&mut Header), claims: &Value) -> Result<String, TenantError> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.current.kid.clone());
        change(&mut header);
        Ok(jsonwebtoken::encode(&header, claims, &self.current.signing)?)
    }

    /// Returns the claims of a JWT that one of the keys has signed. The caller checks times, audience and issuer,
    /// because the crate would read the system's clock for that.
    pub fn verify(&self, token: &str) -> Result<Value, NotOurs> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| NotOurs::Invalid)?;
        let key = header.kid.and_then(|kid| self.published().find(|key| key.kid == kid));
        let Some(key) = key.filter(|_| header.alg == Algorithm::RS256) else { return Err(NotOurs::Invalid) };
        let mut rules = Validation::new(Algorithm::RS256);
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        jsonwebtoken::decode(token, &key.verifying, &rules)
            .map(|token| token.claims)
            .map_err(|_| NotOurs::Signature)
    }

    pub fn jwks(&self, states_alg: bool) -> Value {
        let keys = self.published().map(|key| {
            let mut jwk = json!({ "kty": "RSA", "use": "sig", "kid": key.kid, "n": key.n, "e": key.e });
            if let Some(jwk) = jwk.as_object_mut().filter(|_| states_alg) {
                jwk.insert("alg".into(), "RS256".into());
            }
            jwk
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }

    fn published(&self) -> impl Iterator<Item = &SigningKey> {
        [&self.current, &self.next].into_iter().chain(&self.past)
    }
}

/// Returns the shared key number `index` of the process, or a new one if `own`.
fn key(index: usize, own: bool) -> Result<SigningKey, TenantError> {
    if own {
        return generate();
    }
    let mut generated = GENERATED.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(key) = generated.get(index) {
            return Ok(key.clone());
        }
        generated.push(generate()?);
    }
}

fn generate() -> Result<SigningKey, TenantError> {
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| TenantError::Key)?;
    let pkcs8 = pair.as_der().map_err(|_| TenantError::Key)?;
    // jsonwebtoken needs the PKCS#1 key inside, which is the last member. No dependency unwraps it.
    let pkcs1 = pkcs8.as_ref().get(PKCS8_PREFIX..).ok_or(TenantError::Key)?;
    let signing = EncodingKey::from_rsa_der(pkcs1);
    let AlgorithmParameters::RSA(public) = Jwk::from_encoding_key(&signing, Algorithm::RS256)?.algorithm
    else {
        return Err(TenantError::Key);
    };
    let verifying = DecodingKey::from_rsa_components(&public.n, &public.e)?;
    // The id must differ between keys: a part of the modulus does.
    let kid = public.n.chars().rev().take(21).collect();
    Ok(SigningKey { kid, n: public.n, e: public.e, signing, verifying })
}

//! The tenant's signing keys: RSA, drawn when the process runs, never written anywhere.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use super::TenantError;

/// Drawing a key takes a tenth of a second; tenants of one process take theirs from here unless told otherwise.
static DRAWN: Mutex<Vec<SigningKey>> = Mutex::new(Vec::new());

/// Bytes of a PKCS#8 structure before the key itself: the same for all RSA keys of 1024 to 16384 bits.
const PKCS8_PREFIX: usize = 26;

#[derive(Clone)]
struct SigningKey {
    kid: String,
    n: String,
    e: String,
    signing: EncodingKey,
    verifying: DecodingKey,
}

/// What is published: the key in use first, the next one, then those of the past.
pub(super) struct Keys {
    current: SigningKey,
    next: SigningKey,
    past: Vec<SigningKey>,
    drawn: usize,
}

/// Why a bearer is no token of ours.
pub(super) enum NotOurs {
    /// No JWT, or one that names no key of ours.
    Invalid,
    /// Its signature is not the key's.
    Signature,
}

impl Keys {
    pub fn new(own: bool) -> Result<Self, TenantError> {
        Ok(Self { current: key(0, own)?, next: key(1, own)?, past: Vec::new(), drawn: 2 })
    }

    pub fn rotate(&mut self, own: bool) -> Result<(), TenantError> {
        let fresh = key(self.drawn, own)?;
        self.drawn += 1;
        let current = std::mem::replace(&mut self.next, fresh);
        self.past.push(std::mem::replace(&mut self.current, current));
        Ok(())
    }

    /// `claims` as a JWT of the key in use.
    pub fn sign(&self, claims: &Value) -> Result<String, TenantError> {
        self.sign_as(|_| (), claims)
    }

    /// The same under a header that `change` has changed.
    pub fn sign_as(&self, change: impl FnOnce(&mut Header), claims: &Value) -> Result<String, TenantError> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.current.kid.clone());
        change(&mut header);
        Ok(jsonwebtoken::encode(&header, claims, &self.current.signing)?)
    }

    /// The claims of a JWT that one of the keys has signed. Times, audience and issuer are the caller's to judge:
    /// the crate would read the system's clock for them.
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

/// The `index`th key of the process, or one that nobody else has.
fn key(index: usize, own: bool) -> Result<SigningKey, TenantError> {
    if own {
        return draw();
    }
    let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(key) = drawn.get(index) {
            return Ok(key.clone());
        }
        drawn.push(draw()?);
    }
}

fn draw() -> Result<SigningKey, TenantError> {
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| TenantError::Key)?;
    let pkcs8 = pair.as_der().map_err(|_| TenantError::Key)?;
    // jsonwebtoken wants the PKCS#1 key inside, and there is nothing else to unwrap it. It is the last member.
    let pkcs1 = pkcs8.as_ref().get(PKCS8_PREFIX..).ok_or(TenantError::Key)?;
    let signing = EncodingKey::from_rsa_der(pkcs1);
    let AlgorithmParameters::RSA(public) = Jwk::from_encoding_key(&signing, Algorithm::RS256)?.algorithm
    else {
        return Err(TenantError::Key);
    };
    let verifying = DecodingKey::from_rsa_components(&public.n, &public.e)?;
    // Any name will do that differs between keys; a piece of the modulus does.
    let kid = public.n.chars().rev().take(21).collect();
    Ok(SigningKey { kid, n: public.n, e: public.e, signing, verifying })
}

//! Client assertions: how Auth0 judges them, and a log of those that arrived.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::domain::freshness::Timestamp;

use super::client_keys::{ClientKeys, InvalidJwt, KeyUse};

/// How far `iat` and `nbf` may be ahead, in seconds.
const SKEW: i64 = 10;

/// How far `exp` may be ahead, in seconds.
const LONGEST_LIFE: i64 = 300;

/// The longest `jti`, in characters.
const LONGEST_ID: usize = 64;

/// A client assertion that reached the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// The key that its header names.
    pub kid: Option<String>,
    /// Its `jti`.
    pub jti: Option<String>,
    /// Its `exp`.
    pub exp: Option<i64>,
    /// The verdict; `None` if a fault replaced the answer.
    pub verdict: Option<Result<(), InvalidJwt>>,
}

/// The log of assertions, and the ids of those that were used.
#[derive(Default)]
pub(super) struct Assertions {
    used: UsedIds,
    log: Vec<Assertion>,
}

impl Assertions {
    /// Records `jwt`, which is not judged.
    pub fn overhear(&mut self, jwt: &str) {
        let part = |at| -> Option<Value> {
            let part = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(at)?);
            serde_json::from_slice(&part.ok()?).ok()
        };
        let (header, claims) = (part(0).unwrap_or_default(), part(1).unwrap_or_default());
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        self.log.push(Assertion {
            kid: text(header.get("kid")),
            jti: text(claims.get("jti")),
            exp: claims.get("exp").and_then(Value::as_i64),
            verdict: None,
        });
    }

    /// Judges and records `jwt`, an assertion of `client_id` for one of these issuers.
    pub fn judge(
        &mut self,
        keys: &ClientKeys,
        jwt: &str,
        client_id: &str,
        issuers: &[String],
        now: Timestamp,
    ) -> Result<(), InvalidJwt> {
        let verdict = self.verdict(keys, jwt, client_id, issuers, now);
        self.overhear(jwt);
        if let Some(latest) = self.log.last_mut() {
            latest.verdict = Some(verdict);
        }
        verdict
    }

    fn verdict(
        &mut self,
        keys: &ClientKeys,
        jwt: &str,
        client_id: &str,
        issuers: &[String],
        now: Timestamp,
    ) -> Result<(), InvalidJwt> {
        let (_, claims) = keys.verify(KeyUse::Authentication, jwt)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(client_id) {
            return Err(InvalidJwt::Issuer);
        }
        if text("sub") != Some(client_id) {
            return Err(InvalidJwt::Subject);
        }
        // A list, as the RFC allows it, is refused.
        if !text("aud").is_some_and(|aud| issuers.iter().any(|issuer| issuer == aud)) {
            return Err(InvalidJwt::Audience);
        }
        let now = now.as_secs();
        let time = |name: &str| claims.get(name).and_then(Value::as_i64);
        let exp = time("exp").filter(|exp| *exp > now).ok_or(InvalidJwt::Expired)?;
        if exp > now + LONGEST_LIFE {
            return Err(InvalidJwt::ExpiresTooLate);
        }
        if ["iat", "nbf"].into_iter().filter_map(time).any(|from| from > now + SKEW) {
            return Err(InvalidJwt::IssuedAt);
        }
        let jti = text("jti").filter(|jti| (1..=LONGEST_ID).contains(&jti.chars().count()));
        self.used.take(jti.ok_or(InvalidJwt::NoId)?, exp, now)
    }

    /// Every assertion so far.
    pub fn log(&self) -> Vec<Assertion> {
        self.log.clone()
    }
}

/// The ids of JWTs that were used, each until it expires.
#[derive(Default)]
pub(super) struct UsedIds(HashMap<String, i64>);

impl UsedIds {
    /// Uses up `jti` until `exp`. Both times are UNIX seconds.
    pub fn take(&mut self, jti: &str, exp: i64, now: i64) -> Result<(), InvalidJwt> {
        self.0.retain(|_, exp| *exp > now);
        match self.0.insert(jti.to_owned(), exp) {
            None => Ok(()),
            Some(_) => Err(InvalidJwt::Replayed),
        }
    }
}

//! Judges the subject token of a privileged exchange by the rules that Auth0 documents.

use serde_json::Value;

use crate::domain::freshness::Timestamp;

use super::super::assertions::UsedIds;
use super::super::client_keys::{ClientKeys, InvalidJwt, KeyUse};

/// The `typ` of a subject token.
const TYP: &str = "token-vault-req+jwt";

/// The age at which a subject token is refused, whatever its `exp`, in seconds.
const OLDEST: i64 = 60;

/// How far `iat` and `nbf` may be ahead, in seconds.
const SKEW: i64 = 10;

/// The longest `jti`, in characters.
const LONGEST_ID: usize = 64;

/// The longest `audit_context`, in characters.
const LONGEST_CONTEXT: usize = 256;

/// What a subject token has to be like, besides its own rules.
pub struct Expected<'a> {
    /// The application's keys.
    pub keys: &'a ClientKeys,
    /// The application's client id.
    pub client_id: &'a str,
    /// The issuers of the tenant: of the requested domain and of the canonical one.
    pub issuers: &'a [String],
    /// The tenant's time.
    pub now: Timestamp,
}

/// What a valid subject token says.
pub struct Subject {
    pub user_id: String,
    pub audit_context: String,
    pub jti: String,
}

/// Judges `jwt`. The `jti` of a valid one is used up.
pub fn judge(jwt: &str, expected: &Expected<'_>, used: &mut UsedIds) -> Result<Subject, InvalidJwt> {
    let (header, claims) = expected.keys.verify(KeyUse::TokenVault, jwt)?;
    if header.typ.as_deref() != Some(TYP) {
        return Err(InvalidJwt::Type);
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if text("iss") != Some(expected.client_id) {
        return Err(InvalidJwt::Issuer);
    }
    if !text("aud").is_some_and(|aud| expected.issuers.iter().any(|issuer| issuer == aud)) {
        return Err(InvalidJwt::Audience);
    }
    let (now, time) = (expected.now.as_secs(), |name: &str| claims.get(name).and_then(Value::as_i64));
    let issued = time("iat").filter(|issued| now.saturating_sub(*issued) <= OLDEST);
    let issued = issued.ok_or(InvalidJwt::IssuedAt)?;
    if [Some(issued), time("nbf")].into_iter().flatten().any(|from| from > now.saturating_add(SKEW)) {
        return Err(InvalidJwt::IssuedAt);
    }
    if claims.get("exp").is_some() && time("exp").is_none_or(|exp| exp <= now) {
        return Err(InvalidJwt::Expired);
    }
    let user_id = text("sub").ok_or(InvalidJwt::Subject)?.to_owned();
    let audit_context = text("audit_context").filter(|text| text.chars().count() <= LONGEST_CONTEXT);
    let audit_context = audit_context.ok_or(InvalidJwt::AuditContext)?.to_owned();
    let jti = text("jti").filter(|jti| jti.chars().count() <= LONGEST_ID).ok_or(InvalidJwt::NoId)?;
    // An older token is refused for its age.
    used.take(jti, issued.saturating_add(OLDEST).saturating_add(1), now)?;
    Ok(Subject { user_id, audit_context, jti: jti.to_owned() })
}

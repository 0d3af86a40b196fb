//! The texts of simulated tokens: recognisable fakes that begin as the provider's do.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::domain::freshness::Moment;

use super::dialect::Dialect;
use super::position::Position;

/// The text of a refresh token that the provider itself issued.
pub(super) fn refresh_token(dialect: Dialect, position: Position) -> String {
    let Position { family, generation } = position;
    format!("{}demo-refresh-{}-{family}-{generation}", dialect.prefixes().1, dialect.name())
}

/// The text of access token `number`.
pub(super) fn access_token(
    dialect: Dialect,
    family: usize,
    number: u64,
    lifetime: Option<Duration>,
    now: Moment,
) -> String {
    let name = format!("demo-{}-{family}-{number}", dialect.name());
    match dialect.issues_jwts() {
        true => jwt(&name, lifetime, now),
        false => format!("{}{name}", dialect.prefixes().0),
    }
}

/// Makes a JWT whose signature only the provider's own API could verify, if it were real.
fn jwt(name: &str, lifetime: Option<Duration>, now: Moment) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "RS256", "kid": "demo", "typ": "JWT" });
    let mut claims = json!({ "iat": now.wall.as_secs(), "jti": name });
    if let (Some(lifetime), Some(claims)) = (lifetime, claims.as_object_mut()) {
        claims.insert("exp".into(), now.wall.after(lifetime).as_secs().into());
    }
    format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode("demo-signature"))
}

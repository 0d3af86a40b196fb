//! Claims of an access token that looks like a JWT: its expiry and its scopes.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::domain::freshness::Timestamp;
use crate::domain::scope;
use crate::json::lenient::{Few, Number, Text};
use crate::json::unreadable;

/// What a token says of itself. Nothing is verified: the expiry can only make a token expire earlier, and the scopes
/// only inform the client.
#[derive(Debug, Default)]
pub struct TokenClaims {
    /// When it expires.
    pub exp: Option<Timestamp>,
    /// Its scopes, separated by spaces.
    pub scopes: Option<String>,
}

/// Base64 with or without padding. Encoders that are not made for JWTs add it, or use the other alphabet.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The claims of a token that looks like a JWT.
pub fn read(token: &str) -> Option<TokenClaims> {
    // Most providers' tokens are opaque, which their dots show without decoding. One of five parts is encrypted.
    if token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return None;
    }
    let payload = token.split('.').nth(1)?.replace('+', "-").replace('/', "_");
    let claims: WireClaims = unreadable::object(&ANY_PADDING.decode(payload).ok()?)?;
    // Entra writes `scp` as text (Microsoft: access token claims reference), Okta as a list; RFC 9068 has `scope`.
    let scopes = [&claims.scp, &claims.scope].into_iter().find_map(ScopeClaim::scopes);
    Some(TokenClaims { exp: claims.exp.date(), scopes })
}

#[derive(Default, Deserialize)]
struct WireClaims {
    #[serde(default)]
    exp: Number,
    #[serde(default)]
    scp: ScopeClaim,
    #[serde(default)]
    scope: ScopeClaim,
}

/// The most elements of a list of scopes that are read.
const MOST_SCOPES: usize = 256;

/// Scopes as one text or as a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum ScopeClaim {
    List(Few<Text, MOST_SCOPES>),
    One(Text),
}

impl Default for ScopeClaim {
    fn default() -> Self {
        Self::One(Text::Absent)
    }
}

impl ScopeClaim {
    fn scopes(&self) -> Option<String> {
        match self {
            Self::One(text) => scope::normalized(text.given()),
            Self::List(list) => scope::normalized(list.first.iter().filter_map(Text::given)),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn scopes(payload: &str) -> Option<String> {
        read(&format!("h.{}.s", URL_SAFE_NO_PAD.encode(payload))).and_then(|claims| claims.scopes)
    }

    #[test]
    fn scopes_are_read_from_either_claim_as_text_or_as_a_list() {
        for (payload, expected) in [
            (r#"{"scp":"Mail.Read User.Read"}"#, Some("Mail.Read User.Read")),
            (r#"{"scp":["openid","email"]}"#, Some("openid email")),
            (r#"{"scope":"a,b"}"#, Some("a b")),
            (r#"{"scp":[],"scope":"a"}"#, Some("a")),
            (r#"{"scp":{"a":1},"scope":7}"#, Some("7")),
            (r#"{"exp":1}"#, None),
        ] {
            assert_eq!(scopes(payload).as_deref(), expected, "{payload}");
        }
        assert!(read("opaque").is_none() && read("a.b.c.d.e").is_none());
    }
}

//! An end user's own token, taken apart and judged.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom::domain::claims::{Expected, InvalidUserToken};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::user_token::jwt::Jwt;
use cloakroom::user_token::keys::Key;
use serde_json::Value;

use crate::upstream::tells_nothing;

const ISSUER: &str = "https://acme.eu.auth0.com/";
const AUDIENCE: &str = "https://api.acme.example";

/// As long as the tokens that are looked at, before they are encoded.
const LONGEST: usize = 8 * 1024;

/// The first line is a header, the second are claims, the rest a signature, none of them encoded. The input as it is
/// is a token, too.
pub fn judge(data: &[u8]) {
    if let Ok(token) = str::from_utf8(data) {
        is_refused(token).err();
    }
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let [header, claims, signature] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let token = [header, claims, signature].map(encoded).join(".");
    let Ok(jwt) = is_refused(&token) else { return };
    assert!(header.len() + claims.len() < 2 * LONGEST);

    // Whoever can be read was written so: no kind, no demand and no algorithm that is not ours.
    // What no type of JSON holds is skipped where it stands in what is not read.
    let Ok(header) = serde_json::from_slice::<Value>(header) else { return };
    assert!(
        matches!(header["alg"].as_str(), Some("RS256" | "PS256")) && header["crit"].is_null(),
        "{header}"
    );
    assert_eq!(header["kid"].as_str(), Some(jwt.key.as_str()));

    let now = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
    let expected = Expected::new(vec![ISSUER.into()], vec![AUDIENCE.into(), "3Xk9".into()]);
    match expected.judge(&jwt.claims, now) {
        Err(why) => tells_nothing(&why),
        Ok(user) => {
            let Ok(claims) = serde_json::from_slice::<Value>(claims) else { return };
            assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some(ISSUER), Some(user.as_str())));
            let ours = |audience: &Value| audience == AUDIENCE || audience == "3Xk9";
            assert!(ours(&claims["aud"]) || claims["aud"].as_array().is_some_and(|all| all.iter().any(ours)));
            let at = |name: &str| claims[name].as_f64().map(|secs| secs - now.as_secs() as f64);
            assert!(at("exp").is_some_and(|left| left > -61.0), "{claims}");
            assert!(at("nbf").is_none_or(|ahead| ahead < 61.0) && at("iat").is_none_or(|ahead| ahead < 61.0));
            assert!(!user.as_str().ends_with("@clients") && claims["events"].is_null());
        }
    }
}

/// Nobody has the private half of this key: there is none.
fn is_refused(token: &str) -> Result<Jwt<'_>, InvalidUserToken> {
    let parsed = Jwt::parse(token);
    match &parsed {
        Err(why) => tells_nothing(why),
        Ok(jwt) => {
            let n = "Q".repeat(342);
            let key = Key::rsa("k", None, &n, "AQAB").unwrap();
            assert_eq!(jwt.check(&key), Err(InvalidUserToken::Signature));
        }
    }
    parsed
}

/// As the parts of a token are.
pub fn encoded(part: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

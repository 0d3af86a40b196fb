//! Parses a user token and checks its signature. No I/O and no clock.
//!
//! The header is untrusted until the signature has been checked, and forgers choose its `alg`: `none`, or `HS256` keyed
//! with the public key. So `alg` may only name one of two algorithms for RSA keys, and has to match the one that the
//! key set states. The `jsonwebtoken` crate's own checks of times are not used, because they read a clock of their own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::domain::claims::{Claims, InvalidUserToken};
use crate::domain::freshness::Timestamp;
use crate::json;

use super::keys::{Algorithm, Key};

/// The longest token in bytes. A request's headers take at most 16 KiB, and the other headers need some of that.
const LONGEST: usize = 12 * 1024;

/// The accepted values of `typ`: access tokens (RFC 9068 §2.1) and plain JWTs. Compared without regard to case.
const TYPES: [&str; 4] = ["JWT", "at+jwt", "application/jwt", "application/at+jwt"];

/// A parsed token whose signature has not been checked.
#[derive(Debug)]
pub struct Jwt<'a> {
    /// Its claims.
    pub claims: Claims,
    /// The id of the key that it names.
    pub key: String,
    algorithm: Algorithm,
    message: &'a str,
    signature: &'a str,
}

impl<'a> Jwt<'a> {
    /// Parses `token`. A token that is too long is not decoded at all.
    pub fn parse(token: &'a str) -> Result<Self, InvalidUserToken> {
        if token.len() > LONGEST {
            return Err(InvalidUserToken::TooLong);
        }
        let (message, signature) = match token.bytes().filter(|byte| *byte == b'.').count() {
            0 => return Err(InvalidUserToken::Opaque),
            2 => token.rsplit_once('.').ok_or(InvalidUserToken::Malformed)?,
            4 => return Err(InvalidUserToken::Encrypted),
            _ => return Err(InvalidUserToken::Malformed),
        };
        let (header, payload) = message.split_once('.').ok_or(InvalidUserToken::Malformed)?;
        let header: Header = part(header)?;
        let algorithm = Algorithm::named(&header.alg).ok_or(InvalidUserToken::Algorithm)?;
        let is_known = |kind: &String| TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind));
        // A token with a critical extension that is not understood must be refused (RFC 7515 §4.1.11).
        if header.crit.is_some() || !header.typ.as_ref().is_none_or(is_known) {
            return Err(InvalidUserToken::AnotherKind);
        }
        let key = header.kid.filter(|kid| !kid.is_empty()).ok_or(InvalidUserToken::NoKey)?;
        let payload: Payload = part(payload)?;
        // A logout token has an ID token's issuer, audience and subject, and may lack a type.
        if payload.events.is_some() {
            return Err(InvalidUserToken::AnotherKind);
        }
        if payload.cnf.is_some() {
            return Err(InvalidUserToken::Bound);
        }
        Ok(Self { claims: payload.into(), key, algorithm, message, signature })
    }

    /// Checks that `key` has signed the token.
    pub fn check(&self, key: &Key) -> Result<(), InvalidUserToken> {
        if key.algorithm.is_some_and(|stated| stated != self.algorithm) {
            return Err(InvalidUserToken::AnotherAlgorithm);
        }
        let algorithm = match self.algorithm {
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        };
        match crypto::verify(self.signature, self.message.as_bytes(), &key.public, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(InvalidUserToken::Signature),
        }
    }
}

/// Decodes a part of a token, which is base64 of JSON. The error's own text is dropped, because it would quote the
/// token.
fn part<T: DeserializeOwned>(text: &str) -> Result<T, InvalidUserToken> {
    let decoded = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidUserToken::Malformed)?;
    json::object(&decoded).map_err(|_| InvalidUserToken::Malformed)
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

/// The payload of a token. Strict, unlike the parsing of Auth0's answers: a claim of another type is not reliable, and
/// a claim that appears twice is ambiguous.
#[derive(Deserialize)]
struct Payload {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<OneOrMore>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    gty: Option<OneOrMore>,
    events: Option<IgnoredAny>,
    cnf: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Vec<String> {
    fn from(texts: OneOrMore) -> Self {
        match texts {
            OneOrMore::One(text) => vec![text],
            OneOrMore::More(texts) => texts,
        }
    }
}

impl From<Payload> for Claims {
    fn from(payload: Payload) -> Self {
        // Fractions are allowed (RFC 7519 §2). A number outside the range of dates becomes the first or the last date.
        let date = |secs: f64| Timestamp::from_millis((secs * 1e3) as i64);
        Self {
            issuer: payload.iss,
            subject: payload.sub,
            audiences: payload.aud.map(Into::into).unwrap_or_default(),
            expires: payload.exp.map(date),
            not_before: payload.nbf.map(date),
            issued: payload.iat.map(date),
            grant_types: payload.gty.map(Into::into).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"alg":"RS256","typ":"JWT","kid":"k"}"#;

    fn token(header: &str, payload: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(header), encode(payload), encode("signature"))
    }

    fn refusal(token: &str) -> InvalidUserToken {
        Jwt::parse(token).unwrap_err()
    }

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let text = token(
            HEADER,
            r#"{"iss":"i","sub":"s","aud":["a","b"],"exp":1700000000.25,"nbf":1,"iat":-1,"gty":"password","more":{}}"#,
        );
        let jwt = Jwt::parse(&text).unwrap();
        let claims = Claims {
            issuer: Some("i".into()),
            subject: Some("s".into()),
            audiences: vec!["a".into(), "b".into()],
            expires: Some(Timestamp::from_millis(1_700_000_000_250)),
            not_before: Some(Timestamp::from_secs(1)),
            issued: Some(Timestamp::from_secs(-1)),
            grant_types: vec!["password".into()],
        };
        assert_eq!((jwt.claims, jwt.key.as_str(), jwt.algorithm), (claims, "k", Algorithm::Rs256));
        let bare = token(r#"{"alg":"PS256","kid":"k"}"#, r#"{"aud":"a","exp":1e300}"#);
        let bare = Jwt::parse(&bare).unwrap();
        assert_eq!(bare.claims.audiences, ["a"]);
        assert_eq!(bare.claims.expires, Some(Timestamp::from_millis(i64::MAX)));
        for typ in TYPES.iter().flat_map(|typ| [typ.to_ascii_uppercase(), typ.to_ascii_lowercase()]) {
            let header = format!(r#"{{"alg":"RS256","typ":"{typ}","kid":"k"}}"#);
            assert!(Jwt::parse(&token(&header, "{}")).is_ok(), "{typ}");
        }
    }

    #[test]
    fn anything_but_a_user_token_is_refused_by_what_it_is() {
        use InvalidUserToken as No;
        for (text, why) in [
            ("", No::Opaque),
            ("eyJhbGciOiJSUzI1NiJ9", No::Opaque),
            ("a.b", No::Malformed),
            ("a.b.c", No::Malformed),
            ("..", No::Malformed),
            ("a.b.c.d", No::Malformed),
            ("eyJhbGciOiJkaXIifQ..iv.ciphertext.tag", No::Encrypted),
            ("a.b.c.d.e.f", No::Malformed),
        ] {
            assert_eq!(refusal(text), why, "{text}");
        }
        for (header, why) in [
            (r#"{"alg":"none","kid":"k"}"#, No::Algorithm),
            (r#"{"alg":"None","kid":"k"}"#, No::Algorithm),
            (r#"{"alg":"","kid":"k"}"#, No::Algorithm),
            (r#"{"alg":"HS256","kid":"k"}"#, No::Algorithm),
            (r#"{"alg":"RS512","kid":"k"}"#, No::Algorithm),
            (r#"{"alg":"ES256","kid":"k"}"#, No::Algorithm),
            (r#"{"alg":"EdDSA","kid":"k"}"#, No::Algorithm),
            (r#"{"alg":"rs256","kid":"k"}"#, No::Algorithm),
            (r#"{"kid":"k"}"#, No::Malformed),
            (r#"{"alg":["RS256"],"kid":"k"}"#, No::Malformed),
            (r#"{"alg":"RS256","alg":"RS256","kid":"k"}"#, No::Malformed),
            (r#"{"alg":"RS256","kid":5}"#, No::Malformed),
            (r#"["RS256"]"#, No::Malformed),
            (r#"["RS256","k","JWT",null]"#, No::Malformed),
            ("{", No::Malformed),
            (r#"{"alg":"RS256"}"#, No::NoKey),
            (r#"{"alg":"RS256","kid":""}"#, No::NoKey),
            (r#"{"alg":"RS256","kid":null}"#, No::NoKey),
            (r#"{"alg":"RS256","kid":"k","crit":["exp"]}"#, No::AnotherKind),
            (r#"{"alg":"RS256","kid":"k","typ":"logout+jwt"}"#, No::AnotherKind),
            (r#"{"alg":"RS256","kid":"k","typ":"dpop+jwt"}"#, No::AnotherKind),
        ] {
            assert_eq!(refusal(&token(header, "{}")), why, "{header}");
        }
        for (payload, why) in [
            (r#"{"exp":"1700000000"}"#, No::Malformed),
            (r#"{"exp":true}"#, No::Malformed),
            (r#"{"exp":1,"exp":2}"#, No::Malformed),
            (r#"{"sub":5}"#, No::Malformed),
            (r#"{"sub":"a","sub":"b"}"#, No::Malformed),
            (r#"{"iss":["i"]}"#, No::Malformed),
            (r#"{"aud":{"a":1}}"#, No::Malformed),
            (r#"{"aud":["a",1]}"#, No::Malformed),
            ("[]x", No::Malformed),
            ("", No::Malformed),
            (r#"{"events":{"logout":{}}}"#, No::AnotherKind),
            (r#"{"cnf":{"jkt":"x"}}"#, No::Bound),
            (r#"{"cnf":{"x5t#S256":"x"}}"#, No::Bound),
            (r#"{"cnf":{}}"#, No::Bound),
            (r#"{"cnf":"x"}"#, No::Bound),
        ] {
            assert_eq!(refusal(&token(HEADER, payload)), why, "{payload}");
        }
        let padded = token(HEADER, "{}").replacen('.', "=.", 1);
        assert_eq!(refusal(&padded), No::Malformed);
    }

    #[test]
    fn the_length_is_checked_first() {
        assert_eq!(refusal(&".".repeat(LONGEST + 1)), InvalidUserToken::TooLong);
        assert_eq!(refusal(&".".repeat(LONGEST)), InvalidUserToken::Malformed);
        let long = |size| token(HEADER, &format!(r#"{{"padding":"{}"}}"#, "x".repeat(size)));
        assert!(Jwt::parse(&long(8_000)).is_ok());
        assert_eq!(refusal(&long(80_000)), InvalidUserToken::TooLong);
    }
}

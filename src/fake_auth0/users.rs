//! The sample users: those of Auth0's tutorials, and one for every variant of an identity.
//!
//! Tokens are recognisable fakes. Unless a sample is about expiry, they were issued a minute before the tenant started,
//! with a lifetime of an hour.

pub(super) mod logins;
pub(super) mod refreshable;
mod tokens;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::domain::freshness::Timestamp;

/// A Google user, as in the oldest tutorial.
pub const GOOGLE: &str = "google-oauth2|103547991597142817347";
/// Another Google user, `john.doe`, as in the current tutorial.
pub const JOHN: &str = "google-oauth2|111199914890750704174";
/// A user with a primary Google identity and a linked GitHub identity, both with a token.
pub const LINKED: &str = "google-oauth2|115015401343387192604";
/// A GitHub user: the token never expires, and the identity's `user_id` is a number.
pub const GITHUB: &str = "github|583231";
/// An Entra ID user, whose token is a JWT that expires before `last_login + expires_in` does.
pub const ENTRA: &str = "waad|Yq2uL8mWc0ZsT4vXnR1pK7aEJd3FbGh5";
/// A Twitter user: OAuth 1, so the token has a second half.
pub const TWITTER: &str = "twitter|2244994945";
/// A database user without a token.
pub const DATABASE: &str = "auth0|64ad8b1c2f9e7d0012a3b4c5";
/// A Google user who logged in years ago; the token expired an hour later.
pub const EXPIRED: &str = "google-oauth2|109876543210987654321";
/// A blocked user, whose token is still valid.
pub const BLOCKED: &str = "google-oauth2|104040404040404040404";
/// A user whose id contains `/` and `@`, which must be escaped in a path.
pub const SLASH: &str = "oidc|corp/jane@corp.example";
/// A user whose identity has an empty token, as after unlinking.
pub const EMPTY_TOKEN: &str = "google-oauth2|100000000000000000001";
/// A user whose `expires_in` is a number written as text.
pub const TEXT_EXPIRY: &str = "oauth2|acme-00417";
/// A user with two accounts of one connection, both with a token. The second account's id is a number.
pub const TWINS: &str = "google-oauth2|100000000000000000002";
/// A user whose `expires_in` is 0, which some providers send for "does not expire".
pub const ZERO_EXPIRY: &str = "oauth2|acme-00418";
/// A user without `last_login`, as after an import, whose token has a lifetime.
pub const NO_LOGIN: &str = "google-oauth2|100000000000000000003";
/// A user whose `expires_in` is the date at which the token expires, in seconds since the UNIX epoch.
pub const DATED_EXPIRY: &str = "oauth2|acme-00419";
/// A user whose token is a JWT in the plain base64 alphabet, with padding.
pub const PADDED_JWT: &str = "oidc|corp/padded@corp.example";
/// A user with two identities; the linked one's token contains [`LONE_SURROGATE`].
pub const UNREADABLE: &str = "google-oauth2|100000000000000000004";

/// An Entra ID user whose token has expired, with a refresh token.
pub const EXPIRED_ENTRA: &str = "waad|kG4bW9tQx2Ls7YfUo5Rd1NvCzE8hJm3P";
/// A user of a connection `gitlab`, whose refresh tokens are for a single use. The token has expired.
pub const EXPIRED_GITLAB: &str = "oauth2|gitlab|4711";
/// A user with expired identities at Google, GitHub and Slack, each with a refresh token. The connection of the last is
/// `slack`.
pub const SEVERAL: &str = "google-oauth2|100000000000000000005";
/// A user with two Google accounts, whose tokens have both expired, each with a refresh token.
pub const EXPIRED_TWINS: &str = "google-oauth2|100000000000000000006";
/// A blocked user whose token has expired, with a refresh token.
pub const BLOCKED_EXPIRED: &str = "google-oauth2|100000000000000000007";
/// A user whose token has expired, without a refresh token, as after a login that did not ask for offline access.
pub const NO_REFRESH_TOKEN: &str = "google-oauth2|100000000000000000008";

/// Represents half of a UTF-16 pair in a user's texts, because a Rust text cannot contain one. The tenant sends it as
/// the escape `\ud800`, as programs do that cut texts at a number of UTF-16 units.
pub const LONE_SURROGATE: char = '\u{fdd0}';

/// The lifetime that Google states, in seconds.
const HOUR: u32 = 3_599;

/// Returns the sample users without those of [`refreshable`], as of `now`.
pub(super) fn samples(now: Timestamp) -> Vec<Value> {
    let login = now.before(Duration::from_secs(60));
    let google = |user: &str, name: &str| {
        identity(
            "google-oauth2",
            &json!(user),
            true,
            json!({
                "access_token": format!("ya29.demo-{name}"), "refresh_token": format!("1//demo-refresh-{name}"),
                "expires_in": HOUR,
            }),
        )
    };
    let github = json!({ "access_token": "gho_demo-octo" });
    let linked_github = with(
        identity("github", &json!(9_919), true, json!({ "access_token": "gho_demo-linked" })),
        json!({ "profileData": { "name": "Lin Ked", "nickname": "linked", "email": "lin@example.com" } }),
    );
    let long_ago = Timestamp::parse("2017-03-15T07:14:32.451Z").unwrap_or(login);
    vec![
        user(GOOGLE, "John Foo", login, vec![google("103547991597142817347", "foo")]),
        user(JOHN, "John Doe", login, vec![google("111199914890750704174", "doe")]),
        user(LINKED, "Lin Ked", login, vec![google("115015401343387192604", "linked"), linked_github]),
        user(GITHUB, "Octo Cat", login, vec![identity("github", &json!(583_231), true, github)]),
        user(ENTRA, "Enid Tra", login, vec![entra(now, "enid")]),
        user(
            TWITTER,
            "Tweety",
            login,
            vec![identity(
                "twitter",
                &json!("2244994945"),
                true,
                json!({
                    "access_token": "2244994945-demo", "access_token_secret": "demo-token-secret",
                }),
            )],
        ),
        user(
            DATABASE,
            "Dana Base",
            login,
            vec![with(
                identity("auth0", &json!("64ad8b1c2f9e7d0012a3b4c5"), false, json!({})),
                json!({ "connection": "Username-Password-Authentication" }),
            )],
        ),
        user(EXPIRED, "Ex Pired", long_ago, vec![google("109876543210987654321", "expired")]),
        with(
            user(BLOCKED, "Blo Cked", login, vec![google("104040404040404040404", "blocked")]),
            json!({ "blocked": true }),
        ),
        user(
            SLASH,
            "Jane Corp",
            login,
            vec![with(
                identity(
                    "oidc",
                    &json!("corp/jane@corp.example"),
                    false,
                    json!({
                        "access_token": "demo-oidc-jane", "refresh_token": "demo-refresh-jane", "expires_in": HOUR,
                    }),
                ),
                json!({ "connection": "corp" }),
            )],
        ),
        user(
            EMPTY_TOKEN,
            "Emp Ty",
            login,
            vec![with(google("100000000000000000001", "empty"), json!({ "access_token": "" }))],
        ),
        user(
            TEXT_EXPIRY,
            "Tex T",
            login,
            vec![with(
                identity(
                    "oauth2",
                    &json!("acme-00417"),
                    true,
                    json!({
                        "access_token": "demo-acme-text", "expires_in": HOUR.to_string(),
                    }),
                ),
                json!({ "connection": "acme" }),
            )],
        ),
    ]
    .into_iter()
    .chain(odd_samples(now, login))
    .collect()
}

/// Those whose identities say what few providers' say.
fn odd_samples(now: Timestamp, login: Timestamp) -> [Value; 6] {
    let google = |user: Value, token: &str| {
        identity("google-oauth2", &user, true, json!({ "access_token": token, "expires_in": HOUR }))
    };
    let acme = |user: &str, tokens: Value| {
        with(identity("oauth2", &json!(user), true, tokens), json!({ "connection": "acme" }))
    };
    let mut no_login =
        user(NO_LOGIN, "No Login", login, vec![google(json!("100000000000000000003"), "ya29.demo-no-login")]);
    no_login.as_object_mut().into_iter().for_each(|user| drop(user.remove("last_login")));
    let dated = now.after(Duration::from_secs(1_800)).as_secs();
    let padded = json!({ "access_token": padded_jwt(now), "expires_in": HOUR });
    let cut = json!({ "access_token": format!("gho_demo-{LONE_SURROGATE}") });
    [
        user(
            TWINS,
            "Twi Ns",
            login,
            vec![
                google(json!("100000000000000000002"), "ya29.demo-twin-1"),
                google(json!(1_034), "ya29.demo-twin-2"),
            ],
        ),
        user(
            ZERO_EXPIRY,
            "Ze Ro",
            login,
            vec![acme("acme-00418", json!({ "access_token": "demo-acme-zero", "expires_in": 0 }))],
        ),
        no_login,
        user(
            DATED_EXPIRY,
            "Da Ted",
            login,
            vec![acme("acme-00419", json!({ "access_token": "demo-acme-dated", "expires_in": dated }))],
        ),
        user(
            PADDED_JWT,
            "Pad Ded",
            login,
            vec![with(
                identity("oidc", &json!("corp/padded@corp.example"), false, padded),
                json!({ "connection": "corp" }),
            )],
        ),
        user(
            UNREADABLE,
            "Un Readable",
            login,
            vec![
                google(json!("100000000000000000004"), "ya29.demo-readable"),
                identity("github", &json!(9_920), true, cut),
            ],
        ),
    ]
}

fn user(id: &str, name: &str, login: Timestamp, identities: Vec<Value>) -> Value {
    let nickname = name.to_lowercase().replace(' ', ".");
    let (given, family) = name.split_once(' ').unwrap_or((name, ""));
    json!({
        "user_id": id,
        "name": name,
        "given_name": given,
        "family_name": family,
        "nickname": nickname,
        "email": format!("{nickname}@example.com"),
        "email_verified": true,
        "picture": format!("https://images.example/{nickname}.png"),
        "identities": identities,
        "created_at": "2017-03-15T07:13:41.134Z",
        "updated_at": iso(login),
        "last_ip": "127.0.0.1",
        "last_login": iso(login),
        "logins_count": 99,
    })
}

fn identity(provider: &str, user_id: &Value, is_social: bool, tokens: Value) -> Value {
    let identity = json!({
        "provider": provider, "connection": provider, "user_id": user_id, "isSocial": is_social,
    });
    with(identity, tokens)
}

fn entra(now: Timestamp, name: &str) -> Value {
    let tokens = json!({
        "access_token": jwt(now, name), "refresh_token": format!("demo-refresh-{name}"), "expires_in": HOUR,
    });
    with(
        identity("waad", &json!("Yq2uL8mWc0ZsT4vXnR1pK7aEJd3FbGh5"), false, tokens),
        json!({ "connection": "entra" }),
    )
}

/// Makes a JWT like Entra ID's, with a lifetime of three quarters of an hour. Only Entra's own API could verify a real
/// one.
fn jwt(now: Timestamp, name: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "RS256", "kid": "demo", "typ": "JWT" });
    let claims = json!({
        "aud": "https://graph.microsoft.com",
        "iss": "https://sts.windows.net/demo/",
        "iat": now.as_secs(),
        "exp": now.after(Duration::from_secs(2_700)).as_secs(),
        "unique_name": name,
    });
    format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode("demo-signature"))
}

/// Makes a JWT with a lifetime of a quarter of an hour, in the plain base64 alphabet with padding, as from encoders
/// that are not made for JWTs. Its claims encode to both characters that only the plain alphabet has, and need padding.
fn padded_jwt(now: Timestamp) -> String {
    let exp = now.after(Duration::from_secs(900)).as_secs();
    let claims = json!({ "exp": exp, "name": "???>>>~~~", "sub": "padded" });
    let part = |value: &Value| STANDARD.encode(value.to_string());
    let header = json!({ "alg": "RS256", "typ": "JWT" });
    format!("{}.{}.{}", part(&header), part(&claims), STANDARD.encode("demo-signature"))
}

/// Returns `object` with the members of `more` added or replaced.
fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

/// Formats a date like Auth0: UTC, always with milliseconds.
pub(super) fn iso(at: Timestamp) -> String {
    let stamp = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{stamp:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// Returns `last_login + expires_in` of a sample, relative to now.
    fn expiry(user: &Value, identity: usize) -> Option<i64> {
        let login = Timestamp::parse(user["last_login"].as_str().unwrap()).unwrap();
        let expires_in = user["identities"][identity].get("expires_in")?;
        let secs = expires_in.as_i64().or_else(|| expires_in.as_str()?.parse().ok()).unwrap();
        Some(login.as_secs() + secs - NOW.as_secs())
    }

    #[test]
    fn every_sample_matches_its_description() {
        let samples: Vec<_> = samples(NOW).into_iter().chain(refreshable::samples(NOW)).collect();
        let of = |id: &str| samples.iter().find(|user| user["user_id"] == id).unwrap().clone();
        let token = |id: &str| of(id)["identities"][0].get("access_token").cloned();
        assert_eq!(samples.len(), 24);
        for id in [GOOGLE, JOHN, LINKED, BLOCKED, SLASH, TEXT_EXPIRY] {
            assert_eq!(expiry(&of(id), 0), Some(3_539), "{id}");
        }
        assert!(expiry(&of(EXPIRED), 0).unwrap() < -200_000_000);
        assert_eq!(expiry(&of(GITHUB), 0), None);
        assert!(of(GITHUB)["identities"][0]["user_id"].is_i64());
        assert_eq!(of(LINKED)["identities"][1]["profileData"]["nickname"], "linked");
        assert!(of(TWITTER)["identities"][0]["access_token_secret"].is_string());
        assert_eq!(token(DATABASE), None);
        assert_eq!(of(DATABASE)["identities"][0]["connection"], "Username-Password-Authentication");
        assert_eq!(token(EMPTY_TOKEN), Some(json!("")));
        assert_eq!(of(BLOCKED)["blocked"], true);
        assert!(of(TEXT_EXPIRY)["identities"][0]["expires_in"].is_string());

        assert_eq!(of(TWINS)["identities"][0]["connection"], of(TWINS)["identities"][1]["connection"]);
        assert_eq!(expiry(&of(ZERO_EXPIRY), 0), Some(-60));
        assert_eq!(of(NO_LOGIN).get("last_login"), None);
        assert_eq!(of(DATED_EXPIRY)["identities"][0]["expires_in"], NOW.as_secs() + 1_800);
        let padded = token(PADDED_JWT).unwrap();
        assert!(padded.as_str().unwrap().contains(['+', '/']) && padded.as_str().unwrap().contains('='));
        assert!(of(UNREADABLE)["identities"][1]["access_token"].as_str().unwrap().ends_with(LONE_SURROGATE));

        for (id, identities) in
            [(EXPIRED_ENTRA, 1), (EXPIRED_GITLAB, 1), (SEVERAL, 3), (EXPIRED_TWINS, 2), (BLOCKED_EXPIRED, 1)]
        {
            assert_eq!(of(id)["identities"].as_array().unwrap().len(), identities, "{id}");
            for number in 0..identities {
                assert!(expiry(&of(id), number).unwrap() < 0, "{id}");
                assert!(of(id)["identities"][number]["refresh_token"].is_string(), "{id}");
            }
        }
        assert_eq!(of(BLOCKED_EXPIRED)["blocked"], true);
        assert_eq!(of(NO_REFRESH_TOKEN)["identities"][0].get("refresh_token"), None);

        let jwt = token(ENTRA).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(jwt.as_str().unwrap().split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["exp"], NOW.as_secs() + 2_700);
    }

    #[test]
    fn dates_always_have_milliseconds() {
        assert_eq!(iso(Timestamp::from_secs(1_489_562_072)), "2017-03-15T07:14:32.000Z");
        assert_eq!(iso(Timestamp::from_millis(1_489_562_072_451)), "2017-03-15T07:14:32.451Z");
    }
}

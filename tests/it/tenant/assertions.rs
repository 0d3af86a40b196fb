//! `private_key_jwt`: which assertions the tenant takes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom::fake_auth0::{ClientAuth, ClientKeyPair, InvalidJwt, KeyNotRegistered, KeyUse, TenantOptions};
use cloakroom::signing::{SigningAlg, SigningKey};
use serde_json::{Value, json};

use super::https::Answer;
use super::{START, World, assert_says, world_of};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn key_world() -> World {
    let world =
        world_of(TenantOptions { client_auth: ClientAuth::PrivateKeyJwt, ..TenantOptions::default() });
    let public = &ClientKeyPair::shared(0).unwrap().public_pem;
    world.tenant.register_key(KeyUse::Authentication, public, "RS256").unwrap();
    world
}

fn signing_key(index: usize, alg: SigningAlg) -> SigningKey {
    let pair = ClientKeyPair::shared(index).unwrap();
    SigningKey::from_pem(pair.private_pem.expose().as_bytes(), alg).unwrap()
}

impl World {
    /// Claims as Auth0 documents them, with this `jti`.
    fn claims(&self, jti: &str) -> Value {
        let now = START.as_secs();
        json!({
            "iss": "demo-client", "sub": "demo-client", "aud": format!("https://{}/", self.tenant.domain()),
            "iat": now, "exp": now + 60, "jti": jti,
        })
    }

    async fn grant_by(&self, assertion: &str) -> Answer {
        let fields =
            [("client_secret", ""), ("client_assertion_type", TYPE), ("client_assertion", assertion)];
        self.grant_with(&fields).await
    }

    /// What the tenant finds wrong with the latest assertion.
    fn verdict(&self) -> Result<(), InvalidJwt> {
        self.tenant.assertions().last().unwrap().verdict.unwrap()
    }
}

fn refused() -> Value {
    json!({ "error": "invalid_client", "error_description": "Client authentication failed" })
}

#[tokio::test(start_paused = true)]
async fn an_assertion_as_documented_is_good_once() {
    let world = key_world();
    let key = signing_key(0, SigningAlg::Rs256);
    let assertion = key.sign(None, &world.claims("1")).unwrap();
    let answer = world.grant_by(assertion.expose()).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let seen = world.tenant.assertions().pop().unwrap();
    assert_eq!((seen.kid.as_deref(), seen.jti.as_deref()), (Some(key.kid()), Some("1")));

    assert_says(&world.grant_by(assertion.expose()).await, 401, refused());
    assert_eq!(world.verdict(), Err(InvalidJwt::Replayed));
    let next = key.sign(None, &world.claims("2")).unwrap();
    assert_eq!(world.grant_by(next.expose()).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn every_other_assertion_is_refused_in_the_same_words() {
    let world = key_world();
    let key = signing_key(0, SigningAlg::Rs256);
    let now = START.as_secs();
    let domain = world.tenant.domain();
    let with = |name: &str, value: Value| {
        let mut claims = world.claims(&format!("{name} {value}").chars().take(60).collect::<String>());
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        key.sign(None, &claims).unwrap().expose().to_owned()
    };
    let unsigned = |header: &str| {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", part(header), part(&world.claims("unsigned").to_string()))
    };
    let by = |index: usize, alg: SigningAlg| {
        signing_key(index, alg).sign(None, &world.claims("by another")).unwrap().expose().to_owned()
    };
    let genuine = with("jti", json!("cut"));
    let kid = key.kid();
    let cases = [
        (with("iss", json!("another")), InvalidJwt::Issuer),
        (with("sub", Value::Null), InvalidJwt::Subject),
        (with("aud", json!(format!("https://{domain}"))), InvalidJwt::Audience),
        (with("aud", json!(format!("https://{domain}/oauth/token"))), InvalidJwt::Audience),
        (with("aud", json!([format!("https://{domain}/")])), InvalidJwt::Audience),
        (with("exp", json!(now)), InvalidJwt::Expired),
        (with("exp", Value::Null), InvalidJwt::Expired),
        (with("exp", json!(now + 301)), InvalidJwt::ExpiresTooLate),
        (with("iat", json!(now + 11)), InvalidJwt::IssuedAt),
        (with("nbf", json!(now + 11)), InvalidJwt::IssuedAt),
        (with("jti", Value::Null), InvalidJwt::NoId),
        (with("jti", json!("x".repeat(65))), InvalidJwt::NoId),
        (with("more", json!("x".repeat(2048))), InvalidJwt::TooLong),
        (by(1, SigningAlg::Rs256), InvalidJwt::UnknownKey),
        (by(0, SigningAlg::Ps256), InvalidJwt::Algorithm),
        (unsigned(r#"{"alg":"none"}"#), InvalidJwt::Algorithm),
        (unsigned(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#)), InvalidJwt::Algorithm),
        (unsigned(r#"{"alg":"ES256"}"#), InvalidJwt::Algorithm),
        (unsigned(r#"{"alg":"RS512"}"#), InvalidJwt::Algorithm),
        (unsigned(r#"{"alg":"RS256"}"#), InvalidJwt::Signature),
        (unsigned("x"), InvalidJwt::Malformed),
        (genuine[..genuine.len() - 8].to_owned(), InvalidJwt::Signature),
    ];
    for (assertion, why) in cases {
        let answer = world.grant_by(&assertion).await;
        assert_eq!(world.verdict(), Err(why), "{assertion}");
        assert_says(&answer, 401, refused());
    }
    for good in [with("iat", json!(now + 10)), with("iat", Value::Null), with("exp", json!(now + 300))] {
        assert_eq!(world.grant_by(&good).await.status, 200, "{:?}", world.verdict());
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_has_two_keys_at_most_and_each_once() {
    let world = key_world();
    let pair = |index: usize| ClientKeyPair::shared(index).unwrap();
    let register = |purpose, index: usize| {
        world.tenant.register_key(purpose, &pair(index).public_pem, "RS256").map(drop)
    };
    assert_eq!(register(KeyUse::Authentication, 0), Err(KeyNotRegistered::Exists));
    assert_eq!(register(KeyUse::Authentication, 1), Ok(()));
    assert_eq!(register(KeyUse::Authentication, 2), Err(KeyNotRegistered::TooMany));
    assert_eq!(register(KeyUse::TokenVault, 1), Ok(()));
    assert_eq!(register(KeyUse::TokenVault, 2), Ok(()));
    assert_eq!(register(KeyUse::TokenVault, 0), Err(KeyNotRegistered::TooMany));
    let private = pair(3).private_pem.expose().to_owned();
    for (pem, alg) in [("", "RS256"), (&*private, "RS256"), (&*pair(3).public_pem, "ES256")] {
        let refused = world.tenant.register_key(KeyUse::Authentication, pem, alg);
        assert_eq!(refused, Err(KeyNotRegistered::Invalid), "{alg}");
    }

    // A key of the other use does not authenticate, and a removed key does not either.
    let granted = async |index: usize, jti: &str| {
        let assertion = signing_key(index, SigningAlg::Rs256).sign(None, &world.claims(jti)).unwrap();
        world.grant_by(assertion.expose()).await.status == 200
    };
    assert!(granted(0, "a").await && granted(1, "b").await && !granted(2, "c").await);
    world.tenant.remove_key(KeyUse::Authentication, signing_key(0, SigningAlg::Rs256).kid());
    assert!(!granted(0, "d").await && granted(1, "e").await);
}

#[tokio::test(start_paused = true)]
async fn one_method_at_a_time_and_only_the_registered_one() {
    let world = key_world();
    let assertion = signing_key(0, SigningAlg::Rs256).sign(None, &world.claims("1")).unwrap();
    let fields = [("client_assertion_type", TYPE), ("client_assertion", assertion.expose())];
    let both = world.grant_with(&fields).await;
    assert_eq!((both.status.as_u16(), &both.json()["error"]), (400, &json!("invalid_request")));
    assert_says(&world.grant_with(&[]).await, 401, refused());
    world.tenant.set_client_auth(ClientAuth::SecretPost);
    assert_says(&world.grant_by(assertion.expose()).await, 401, refused());
}

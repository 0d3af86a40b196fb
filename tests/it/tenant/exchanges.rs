//! Token Vault: which exchanges of a privileged worker the tenant answers with a token.

use std::time::Duration;

use cloakroom::fake_auth0::{
    ClientAuth, ClientKeyPair, ConnectedAccount, InvalidJwt, KeyUse, Refreshing, TenantOptions,
    VaultSettings, users,
};
use cloakroom::signing::{SigningAlg, SigningKey};
use serde_json::{Value, json};

use super::https::Answer;
use super::{START, World, assert_says, world_of};

const GRANT: &str = "urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token";
const ISSUED: &str = "http://auth0.com/oauth/token-type/token-vault-access-token";
const HOUR: Duration = Duration::from_secs(3_600);

/// A tenant whose application is set up for Token Vault, with one connected account. The application authenticates with
/// its secret, which Auth0 accepts here as well.
fn vault_world() -> World {
    let world = world_of(TenantOptions { client_auth: ClientAuth::SecretPost, ..TenantOptions::default() });
    let public = &ClientKeyPair::shared(0).unwrap().public_pem;
    world.tenant.register_key(KeyUse::TokenVault, public, "RS256").unwrap();
    world.tenant.change_vault(|vault| vault.allow(&["google-oauth2"], &["email", "calendar"]));
    let account = ConnectedAccount::new(users::GOOGLE, "google-oauth2", "1035", &["email", "calendar"]);
    world.tenant.connect_account(account);
    world
}

impl World {
    fn subject(&self, jti: &str) -> Value {
        let now = self.clock.now().wall.as_secs();
        json!({
            "sub": users::GOOGLE, "iss": "demo-client", "aud": format!("https://{}/", self.tenant.domain()),
            "iat": now, "exp": now + 60, "jti": jti, "audit_context": "test",
        })
    }

    /// An exchange with a subject token of these claims, and with these parameters changed or (if empty) left out.
    async fn exchange_as(&self, typ: Option<&str>, claims: &Value, changes: &[(&str, &str)]) -> Answer {
        let pair = ClientKeyPair::shared(0).unwrap();
        let key = SigningKey::from_pem(pair.private_pem.expose().as_bytes(), SigningAlg::Rs256).unwrap();
        let token = key.sign(typ, claims).unwrap();
        let mut form = vec![
            ("grant_type", GRANT),
            ("client_id", "demo-client"),
            ("client_secret", "demo-client-secret"),
            ("subject_token", token.expose()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("requested_token_type", ISSUED),
            ("connection", "google-oauth2"),
        ];
        for (name, value) in changes {
            form.retain(|(other, _)| other != name);
            form.push((name, value));
        }
        form.retain(|(_, value)| !value.is_empty());
        self.https.post_form("/oauth/token", &form).await.unwrap()
    }

    async fn exchange(&self, jti: &str, changes: &[(&str, &str)]) -> Answer {
        self.exchange_as(Some("token-vault-req+jwt"), &self.subject(jti), changes).await
    }
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["error"].as_str().unwrap_or("none").to_owned())
}

#[tokio::test(start_paused = true)]
async fn the_stored_token_is_answered_while_it_is_valid_and_refreshed_then() {
    let world = vault_world();
    let first = world.exchange("1", &[]).await;
    assert_says(
        &first,
        200,
        json!({
            "access_token": "vault-google-oauth2-1035-1", "scope": "email calendar", "expires_in": 3_600,
            "issued_token_type": ISSUED, "token_type": "Bearer",
        }),
    );
    world.clock.suspend(HOUR - Duration::from_secs(3));
    let again = world.exchange("2", &[]).await.json();
    assert_eq!((&again["access_token"], &again["expires_in"]), (&first.json()["access_token"], &json!(3)));
    world.clock.suspend(Duration::from_secs(3));
    let refreshed = world.exchange("3", &[]).await.json();
    assert_eq!(refreshed["access_token"], "vault-google-oauth2-1035-2");
    assert_eq!(refreshed["expires_in"], 3_600);

    world.tenant.set_refreshing("google-oauth2", Refreshing::Fails);
    assert_eq!(world.exchange("4", &[]).await.status, 200, "no refresh is needed");
    world.clock.suspend(HOUR);
    assert_says(
        &world.exchange("5", &[]).await,
        401,
        json!({
            "error": "federated_connection_refresh_token_flow_failed",
            "error_description": "Refresh Token flow for the Federated Connection failed",
        }),
    );
    world.tenant.set_refreshing("google-oauth2", Refreshing::Absent);
    let not_found = json!({
        "error": "federated_connection_refresh_token_not_found",
        "error_description": "Federated connection Refresh Token not found.",
    });
    assert_says(&world.exchange("6", &[]).await, 401, not_found.clone());
    world.tenant.disconnect_account(users::GOOGLE, "google-oauth2", None);
    assert_says(&world.exchange("7", &[]).await, 401, not_found);

    let log = world.tenant.exchanges();
    assert_eq!(log.len(), 7);
    assert_eq!(
        (log[0].user_id.as_deref(), log[0].audit_context.as_deref()),
        (Some(users::GOOGLE), Some("test"))
    );
    assert_eq!((log[0].jti.as_deref(), &log[0].error), (Some("1"), &None));
    assert_eq!(log[6].error.as_deref(), Some("federated_connection_refresh_token_not_found"));
}

#[tokio::test(start_paused = true)]
async fn several_accounts_of_one_connection_are_told_apart_by_the_hint() {
    let world = vault_world();
    let account = ConnectedAccount::new(users::GOOGLE, "google-oauth2", "2046", &["email"]);
    let second = world.tenant.connect_account(account);
    for (hint, token) in [("1035", "vault-google-oauth2-1035-1"), ("2046", &second), ("", &second)] {
        let answer = world.exchange(&format!("jti {hint}"), &[("login_hint", hint)]).await.json();
        assert_eq!(answer["access_token"], token, "{hint:?}");
    }
    let (status, code) = code(&world.exchange("other", &[("login_hint", "3057")]).await);
    assert_eq!((status, &*code), (401, "federated_connection_refresh_token_not_found"));
}

#[tokio::test(start_paused = true)]
async fn scopes_are_narrowed_within_what_is_granted_and_written_as_the_provider_does() {
    let world = vault_world();
    assert_eq!(world.exchange("1", &[("scope", "calendar")]).await.json()["scope"], "calendar");
    let beyond = world.exchange("2", &[("scope", "calendar drive")]).await;
    assert_eq!(code(&beyond), (403, "access_denied".to_owned()));
    world.tenant.change_vault(|vault| vault.scope_separator = ",");
    assert_eq!(world.exchange("3", &[]).await.json()["scope"], "email,calendar");
}

/// What is wrong with a subject token, if anything.
type Wrong = Result<(), InvalidJwt>;

#[tokio::test(start_paused = true)]
async fn a_subject_token_is_judged_as_documented() {
    let world = vault_world();
    let now = START.as_secs();
    let cases: [(&str, Value, Wrong); 26] = [
        ("jti", json!("fresh"), Ok(())),
        ("iat", json!(now - 60), Ok(())),
        ("iat", json!(now + 10), Ok(())),
        ("exp", json!(now + 9_000), Ok(())),
        ("exp", Value::Null, Ok(())),
        ("audit_context", json!("é".repeat(256)), Ok(())),
        ("jti", json!("x".repeat(64)), Ok(())),
        ("org_id", json!("org_1"), Ok(())),
        ("jti", json!("fresh"), Err(InvalidJwt::Replayed)),
        ("jti", Value::Null, Err(InvalidJwt::NoId)),
        ("jti", json!("x".repeat(65)), Err(InvalidJwt::NoId)),
        ("iat", json!(now - 61), Err(InvalidJwt::IssuedAt)),
        ("iat", json!(now - 120), Err(InvalidJwt::IssuedAt)),
        ("iat", json!(now + 11), Err(InvalidJwt::IssuedAt)),
        ("iat", json!("now"), Err(InvalidJwt::IssuedAt)),
        ("iat", Value::Null, Err(InvalidJwt::IssuedAt)),
        ("nbf", json!(now + 11), Err(InvalidJwt::IssuedAt)),
        ("exp", json!(now), Err(InvalidJwt::Expired)),
        ("exp", json!("later"), Err(InvalidJwt::Expired)),
        ("aud", json!(format!("https://{}", world.tenant.domain())), Err(InvalidJwt::Audience)),
        ("aud", json!([format!("https://{}/", world.tenant.domain())]), Err(InvalidJwt::Audience)),
        ("iss", json!("another"), Err(InvalidJwt::Issuer)),
        ("sub", json!(""), Err(InvalidJwt::Subject)),
        ("audit_context", Value::Null, Err(InvalidJwt::AuditContext)),
        ("audit_context", json!(""), Err(InvalidJwt::AuditContext)),
        ("audit_context", json!("x".repeat(257)), Err(InvalidJwt::AuditContext)),
    ];
    for (at, (name, value, wrong)) in cases.into_iter().enumerate() {
        let mut claims = world.subject(&format!("case {at}"));
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            ref value => claims[name] = value.clone(),
        }
        let answer = world.exchange_as(Some("token-vault-req+jwt"), &claims, &[]).await;
        let expected = if wrong.is_ok() { (200, "none") } else { (400, "invalid_request") };
        assert_eq!(code(&answer), (expected.0, expected.1.to_owned()), "{name} {value}");
        let refused = world.tenant.exchanges().pop().unwrap().refused;
        assert_eq!(refused, wrong.err(), "{name} {value}");
    }
    for typ in [None, Some("JWT"), Some("application/token-vault-req+jwt")] {
        let answer = world.exchange_as(typ, &world.subject(&format!("{typ:?}")), &[]).await;
        assert_eq!(answer.status, 400, "{typ:?}");
        assert_eq!(world.tenant.exchanges().pop().unwrap().refused, Some(InvalidJwt::Type));
    }
}

#[tokio::test(start_paused = true)]
async fn the_key_has_to_be_one_of_the_privileged_access() {
    let world = vault_world();
    let kid = {
        let pair = ClientKeyPair::shared(0).unwrap();
        let key = SigningKey::from_pem(pair.private_pem.expose().as_bytes(), SigningAlg::Rs256).unwrap();
        key.kid().to_owned()
    };
    world
        .tenant
        .register_key(KeyUse::Authentication, &ClientKeyPair::shared(0).unwrap().public_pem, "RS256")
        .unwrap();
    world.tenant.remove_key(KeyUse::TokenVault, &kid);
    assert_eq!(code(&world.exchange("1", &[]).await), (400, "invalid_request".to_owned()));
    assert_eq!(world.tenant.exchanges().pop().unwrap().refused, Some(InvalidJwt::UnknownKey));
}

#[tokio::test(start_paused = true)]
async fn every_setting_is_needed_and_its_lack_has_a_code_of_its_own() {
    type Change = fn(&mut VaultSettings);
    let cases: [(Change, u16, &str); 8] = [
        (|vault| vault.grant_type_allowed = false, 403, "unauthorized_client"),
        (|vault| vault.oidc_conformant = false, 403, "unauthorized_client"),
        (|vault| vault.first_party = false, 403, "unauthorized_client"),
        (|vault| vault.ip_allowlist = vec!["198.51.100.0/24".into()], 403, "access_denied"),
        (|vault| vault.ip_allowlist.clear(), 403, "access_denied"),
        (|vault| vault.grants.clear(), 403, "access_denied"),
        (|vault| vault.enabled.clear(), 403, "access_denied"),
        (|vault| vault.always_mfa = true, 403, "mfa_required"),
    ];
    for (at, (change, status, expected)) in cases.into_iter().enumerate() {
        let world = vault_world();
        assert_eq!(world.exchange("before", &[]).await.status, 200);
        world.tenant.change_vault(change);
        assert_eq!(code(&world.exchange("after", &[]).await), (status, expected.to_owned()), "case {at}");
    }
    // An application as Auth0's Management API creates it.
    let world = vault_world();
    world.tenant.change_vault(|vault| *vault = VaultSettings::default());
    assert_eq!(code(&world.exchange("1", &[]).await), (403, "unauthorized_client".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn every_parameter_is_needed() {
    let world = vault_world();
    for (name, value, status, expected) in [
        ("client_secret", "wrong", 401, "access_denied"),
        ("subject_token", "", 400, "invalid_request"),
        ("subject_token", "x.y.z", 400, "invalid_request"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token", 400, "invalid_request"),
        ("requested_token_type", "", 400, "invalid_request"),
        (
            "requested_token_type",
            "http://auth0.com/oauth/token-type/token-vault-refresh-token",
            400,
            "invalid_request",
        ),
        ("connection", "", 400, "invalid_request"),
        ("connection", "github", 403, "access_denied"),
    ] {
        let answer = world.exchange(&format!("{name} {value}"), &[(name, value)]).await;
        assert_eq!(code(&answer), (status, expected.to_owned()), "{name} {value}");
    }
    let mut claims = world.subject("a user who does not exist");
    claims["sub"] = json!("auth0|nobody");
    let answer = world.exchange_as(Some("token-vault-req+jwt"), &claims, &[]).await;
    assert_eq!(code(&answer), (401, "federated_connection_refresh_token_not_found".to_owned()));
}

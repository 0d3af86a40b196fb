//! Lookups through a whole daemon whose connection has Token Vault as its second source.

use std::time::Duration;

use cloakroom::fake_auth0::{
    ClientAuth, ClientKeyPair, ConnectedAccount, Endpoint, KeyUse, TenantOptions, users,
};
use serde_json::json;

use super::{GOOGLE, HOUR};
use crate::support::configuration::write_private;
use crate::support::in_memory;
use crate::support::world::World;

const SETTINGS: &str = "[tenant.client]\nid = \"demo-client\"\nauth = \"private_key_jwt\"\n\
                        key_file = \"{dir}/client-key.pem\"\n[vault]\n[[connection]]\nname = \"google-oauth2\"\n\
                        sources = [\"identities\", \"vault\"]\n";

async fn world() -> World {
    world_with("").await
}

/// A daemon whose client may exchange at one connection. `settings` are keys of `[tenant]`, and further tables.
pub(super) async fn world_with(settings: &str) -> World {
    let domain = Some("tenant.example".to_owned());
    let client_auth = ClientAuth::PrivateKeyJwt;
    let (tenant, clocks) =
        in_memory::tenant(TenantOptions { domain, client_auth, ..TenantOptions::default() });
    let pair = ClientKeyPair::shared(0).unwrap();
    for purpose in [KeyUse::Authentication, KeyUse::TokenVault] {
        tenant.register_key(purpose, &pair.public_pem, "RS256").unwrap();
    }
    tenant.change_vault(|vault| vault.allow(&[GOOGLE], &["calendar"]));
    let directory = tempfile::tempdir().unwrap();
    write_private(&directory.path().join("client-key.pem"), pair.private_pem.expose());
    World::reloadable_in(directory, (tenant, clocks), &format!("{settings}{SETTINGS}")).await
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_replaced_by_that_of_the_vault_and_the_next_lookup_is_a_hit() {
    let world = world().await;
    let path = World::path(users::EXPIRED);
    assert_eq!(world.get(&path).await.problem(), (410, "connect_required".into()));
    let account = users::EXPIRED.split_once('|').unwrap().1;
    world.tenant.connect_account(ConnectedAccount::new(users::EXPIRED, GOOGLE, account, &["calendar"]));
    // What was found is forgotten after a while.
    tokio::time::sleep(HOUR).await;
    let exchanges = || world.tenant.calls_to(Endpoint::Exchange).len();
    let before = exchanges();
    let answer = world.get(&path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(
        body["access_token"],
        format!("vault-google-oauth2-{account}-2"),
        "the stored one has expired"
    );
    assert_eq!((&body["source"], &body["expiry_basis"]), (&"vault".into(), &"issued".into()));
    assert_eq!(body["scopes"], json!(["calendar"]));
    assert_eq!(exchanges() - before, 1);
    assert_eq!(world.get(&path).await.header("cloakroom-cache"), Some("hit"));
    assert_eq!(exchanges() - before, 1);
    let asked = world.tenant.exchanges().pop().unwrap();
    assert_eq!(
        (asked.login_hint.as_deref(), asked.user_id.as_deref()),
        (Some(account), Some(users::EXPIRED))
    );
}

#[tokio::test(start_paused = true)]
async fn a_misconfigured_vault_is_the_operators_and_a_valid_token_needs_no_vault() {
    let world = world().await;
    world.tenant.change_vault(|vault| vault.ip_allowlist.clear());
    let refused = world.get(&World::path(users::EXPIRED)).await;
    assert_eq!(refused.problem(), (502, "source_misconfigured".into()));
    assert!(refused.detail().contains("privileged access"), "{}", refused.detail());
    assert_eq!(world.get(&World::path(users::GOOGLE)).await.status, 200);
    assert_eq!(world.tenant.calls_to(Endpoint::Exchange).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn status_says_what_an_operator_has_to_change_until_it_is_changed() {
    let world = world().await;
    let standing = async || world.get("/v1/status").await.json()["sources"][0].clone();
    let none = json!({
        "connection": GOOGLE, "source": "vault", "host": "tenant.example", "misconfigured": null,
    });
    assert_eq!(standing().await, none);
    world.tenant.change_vault(|vault| vault.grant_type_allowed = false);
    assert_eq!(world.get(&World::path(users::EXPIRED)).await.status, 502);
    let said = standing().await["misconfigured"].as_str().unwrap().to_owned();
    assert!(said.contains("enable the Token Vault grant type"), "{said}");
    assert_eq!(world.get("/v1/status").await.json()["upstream"]["exchange_requests"], 1);
    world.tenant.change_vault(|vault| vault.grant_type_allowed = true);
    tokio::time::sleep(HOUR).await;
    assert_eq!(world.get(&World::path(users::EXPIRED)).await.status, 410);
    assert_eq!(standing().await, none);
}

/// The vault returns the same token until that has expired.
#[tokio::test(start_paused = true)]
async fn a_reported_token_that_the_vault_returns_again_is_no_exchange_for_each_lookup() {
    let world = world().await;
    let (path, account) = (World::path(users::EXPIRED), users::EXPIRED.split_once('|').unwrap().1);
    world.tenant.connect_account(ConnectedAccount::new(users::EXPIRED, GOOGLE, account, &["calendar"]));
    let first = world.get(&path).await;
    assert_eq!(first.status, 200, "{first:?}");
    let body = json!({ "fingerprint": first.json()["fingerprint"] }).to_string();
    let report = path.replace("/token", "/report");
    let told = world.send_with("POST", &report, &[("cloakroom-request", "true")], &body).await;
    assert_eq!(told.json()["outcome"], "dropped");
    for _ in 0..20 {
        let got = world.get(&path).await;
        assert_eq!(
            (got.problem(), &got.json()["reason"]),
            ((410, "login_required".into()), &"reported".into())
        );
    }
    assert_eq!(world.tenant.exchanges().len(), 2);
    // A newer one is found after a while, without a login.
    tokio::time::sleep(HOUR).await;
    assert_eq!(world.get(&path).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_refresh_keeps_no_refresh_token() {
    let world = world().await;
    let put = |refresh_token: &str| {
        assert!(world.tenant.put_user(json!({
            "user_id": "auth0|7", "last_login": in_memory::START, "identities": [{
                "connection": GOOGLE, "provider": GOOGLE, "user_id": "7", "access_token": "a", "expires_in": 3_599,
                "refresh_token": refresh_token,
            }],
        })));
    };
    put(&"r".repeat(10_000));
    assert_eq!(world.get(&World::path("auth0|7")).await.status, 200);
    assert!(world.cache().size().1 < 10_000, "{:?}", world.cache().size());
}

#[tokio::test(start_paused = true)]
async fn two_accounts_of_one_connection_are_told_apart_by_their_own_ids() {
    let world = world().await;
    let id = "auth0|two-accounts";
    let account = |number: &str| json!({ "connection": GOOGLE, "provider": GOOGLE, "user_id": number });
    assert!(
        world.tenant.put_user(json!({ "user_id": id, "identities": [account("1035"), account("2046")] }))
    );
    for number in ["1035", "2046"] {
        world.tenant.connect_account(ConnectedAccount::new(id, GOOGLE, number, &["calendar"]));
    }
    let path = World::path(id);
    let both = world.get(&path).await;
    assert_eq!(both.problem(), (409, "ambiguous_identity".into()));
    let listed =
        |number: &str| json!({ "connection": GOOGLE, "provider": GOOGLE, "identity_user_id": number });
    assert_eq!(both.json()["identities"], json!([listed("1035"), listed("2046")]));
    let named = world.get(&format!("{path}?connection={GOOGLE}")).await;
    assert_eq!(named.problem(), (409, "ambiguous_identity".into()));
    assert_eq!(world.tenant.exchanges().len(), 0, "the vault would choose one of them");
    for state in ["miss", "hit"] {
        for number in ["1035", "2046"] {
            let one = world.get(&format!("{path}?identity_user_id={number}")).await;
            assert_eq!((one.status.as_u16(), one.header("cloakroom-cache")), (200, Some(state)), "{one:?}");
            let body = one.json();
            assert_eq!(body["identity_user_id"], number);
            let token = body["access_token"].as_str().unwrap();
            assert!(token.starts_with(&format!("vault-{GOOGLE}-{number}-")), "{token}");
        }
    }
    let hints: Vec<_> = world.tenant.exchanges().into_iter().map(|asked| asked.login_hint.unwrap()).collect();
    assert_eq!(hints, ["1035", "2046"]);
    // An account that was never used for a login is none of the user's identities, so its id cannot be told.
    world.tenant.connect_account(ConnectedAccount::new(id, GOOGLE, "3057", &["calendar"]));
    let unlisted = world.get(&format!("{path}?identity_user_id=3057")).await;
    assert_eq!(unlisted.problem(), (404, "identity_not_found".into()));
}

/// What Auth0 said half a minute ago is not enough to ask a user for anything.
#[tokio::test(start_paused = true)]
async fn auth0_is_asked_for_a_newer_login_before_a_user_is_asked_to_do_anything() {
    let world = world().await;
    let path = World::path(users::JOHN);
    let first = world.get(&path).await.json()["expires_in"].as_u64().unwrap();
    tokio::time::sleep(Duration::from_secs(first - 60)).await;
    assert_eq!(world.get(&path).await.status, 200);
    let newer = world.tenant.login(users::JOHN, GOOGLE).unwrap();
    tokio::time::sleep(Duration::from_secs(45)).await;
    let reads = world.tenant.calls_to(Endpoint::User).len();
    let answer = world.get(&path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["access_token"], newer);
    assert_eq!(world.tenant.calls_to(Endpoint::User).len() - reads, 1);
}

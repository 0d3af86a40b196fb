//! What changes while it runs, and what it notes down.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom::fake_auth0::{Endpoint, RateLimit, TenantOptions, users};
use serde_json::{Value, json};

use super::{World, assert_says, world, world_of};

#[tokio::test(start_paused = true)]
async fn keys_and_discovery_are_published() {
    let world = world();
    let domain = world.listening.domain();
    let kids = async || {
        let jwks = world.https.get("/.well-known/jwks.json", &[]).await.unwrap().json();
        let keys = jwks["keys"].as_array().unwrap().clone();
        for key in &keys {
            assert_eq!((&key["kty"], &key["use"], &key["e"]), (&json!("RSA"), &json!("sig"), &json!("AQAB")));
            assert_eq!(URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap().len(), 256);
        }
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let kid_of = |bearer: &str| {
        let head = bearer.strip_prefix("Bearer ").unwrap().split('.').next().unwrap();
        let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
        assert_eq!((&head["alg"], &head["typ"]), (&json!("RS256"), &json!("JWT")));
        head["kid"].as_str().unwrap().to_owned()
    };
    let before = kids().await;
    assert_eq!(before.len(), 2);
    let old = world.bearer().await;
    assert_eq!(kid_of(&old), before[0]);

    world.tenant.rotate_signing_key().unwrap();
    let after = kids().await;
    assert_eq!(after.len(), 3);
    assert_eq!(kid_of(&world.bearer().await), before[1], "what was next is current");
    assert_eq!((&after[0], &after[2]), (&before[1], &before[0]));
    assert_eq!(world.user(&old, "github%7C583231").await.status, 200, "the previous key still counts");

    let discovery = world.https.get("/.well-known/openid-configuration", &[]).await.unwrap().json();
    assert_eq!(discovery["issuer"], format!("https://{domain}/"));
    assert_eq!(discovery["token_endpoint"], format!("https://{domain}/oauth/token"));
    assert_eq!(discovery["jwks_uri"], format!("https://{domain}/.well-known/jwks.json"));
}

#[tokio::test(start_paused = true)]
async fn anything_else_is_not_found() {
    let world = world();
    let not_found = json!({ "statusCode": 404, "error": "Not Found", "message": "Not Found" });
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/oauth/token"),
        ("GET", "/api/v2/users/"),
        ("GET", "/api/v2/client-grants"),
        ("PUT", "/api/v2/users/github%7C583231"),
    ] {
        let answer = world.https.send(method, path, &[], "").await.unwrap();
        assert_says(&answer, 404, not_found.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_limit_is_enforced_when_asked() {
    let limit = RateLimit { per_second: 2, burst: 2 };
    let world = world_of(TenantOptions { rate_limit: Some(limit), ..TenantOptions::default() });
    let bearer = world.bearer().await;
    let remaining = async || {
        let answer = world.user(&bearer, "github%7C583231").await;
        (answer.status.as_u16(), answer.header("x-ratelimit-remaining").unwrap().to_owned())
    };
    assert_eq!(remaining().await, (200, "1".into()));
    assert_eq!(remaining().await, (200, "0".into()));
    let refused = world.user(&bearer, "github%7C583231").await;
    assert_eq!(refused.header("retry-after"), None);
    assert_eq!(refused.header("x-ratelimit-limit"), Some("2"));
    assert_eq!(refused.header("x-ratelimit-reset"), Some("1800000001"));
    assert_says(
        &refused,
        429,
        json!({
            "statusCode": 429, "error": "Too Many Requests", "message": "Global limit has been reached",
            "errorCode": "too_many_requests",
        }),
    );
    world.clock.suspend(Duration::from_secs(1));
    assert_eq!(remaining().await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn users_change_while_it_runs() {
    let world = world();
    let bearer = world.bearer().await;
    let read = async |path: &str| world.user(&bearer, path).await.json();

    world.clock.suspend(Duration::from_secs(100));
    let token = world.tenant.login(users::LINKED, "github").unwrap();
    let user = read("google-oauth2%7C115015401343387192604").await;
    assert_eq!(
        user["identities"][0]["access_token"], "ya29.demo-linked",
        "the other identity keeps its token"
    );
    assert_eq!(user["identities"][1]["access_token"], token);
    assert_eq!(user["identities"][1]["profileData"]["nickname"], "linked");
    assert_eq!(user["last_login"], "2027-01-15T08:01:40.000Z");
    assert_eq!(user["logins_count"], 100);
    assert_eq!(world.tenant.login(users::LINKED, "corp"), None);
    assert_eq!(world.tenant.login(users::DATABASE, "Username-Password-Authentication"), None);
    assert_eq!(world.tenant.login("github|1", "github"), None);

    assert_eq!(read("google-oauth2%7C104040404040404040404").await["blocked"], true);
    world.tenant.unblock(users::BLOCKED);
    assert_eq!(read("google-oauth2%7C104040404040404040404").await.get("blocked"), None);
    world.tenant.block(users::GITHUB);
    let blocked = read("github%7C583231").await;
    assert_eq!(blocked["blocked"], true);
    assert_eq!(blocked["identities"][0]["user_id"], 583_231, "GitHub's is a number");
    assert_eq!(blocked["identities"][0]["access_token"], "gho_demo-octo", "blocked, and still shown");

    assert!(world.tenant.remove_user(users::GITHUB).is_some());
    assert_eq!(read("github%7C583231").await["errorCode"], "inexistent_user");
    assert!(!world.tenant.put_user(json!({ "name": "nobody" })));
}

#[tokio::test(start_paused = true)]
async fn the_log_of_calls_is_in_order_and_tells_no_secret() {
    let world = world();
    let bearer = world.bearer().await;
    world.user(&bearer, "github%7C583231?fields=user_id").await;
    world.grant_with(&[("client_secret", "wrong")]).await;
    let calls = world.tenant.calls();
    let seen: Vec<_> =
        calls.iter().map(|call| (call.endpoint, call.path.as_str(), call.status.unwrap().as_u16())).collect();
    assert_eq!(
        seen,
        [
            (Endpoint::Token, "/oauth/token", 200),
            (Endpoint::User, "/api/v2/users/github%7C583231?fields=user_id", 200),
            (Endpoint::Token, "/oauth/token", 401),
        ]
    );
    assert!(calls.iter().all(|call| !call.overlapped));
    let printed = format!("{calls:?}");
    assert!(
        !printed.contains("demo-client-secret") && !printed.contains(bearer.trim_start_matches("Bearer "))
    );
}

#[tokio::test(start_paused = true)]
async fn header_names_are_written_as_asked() {
    // Only the bytes on the wire tell, so this client speaks TLS by hand.
    for (title_case, expected) in [(true, "\r\nX-Ratelimit-Limit: "), (false, "\r\nx-ratelimit-limit: ")] {
        let world = world_of(TenantOptions { title_case_headers: title_case, ..TenantOptions::default() });
        let raw = super::https::raw(&world.listening, "GET /api/v2/users/a%7Cb HTTP/1.0\r\n\r\n").await;
        assert!(raw.contains(expected), "{raw}");
    }
}

/// Whoever changes its certificate can be sure that nothing is answered under the old one.
#[tokio::test(start_paused = true)]
async fn once_it_is_closed_nobody_is_answered_through_a_connection_from_before() {
    let World { tenant, listening, https, .. } = world();
    assert_eq!(https.get("/.well-known/jwks.json", &[]).await.unwrap().status, 200);
    listening.closed().await;
    assert!(https.get("/.well-known/jwks.json", &[]).await.is_err());
    assert_eq!(tenant.calls().len(), 1);
}

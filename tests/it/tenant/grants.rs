//! `POST /oauth/token`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloakroom::fake_auth0::{ClientAuth, TenantOptions};
use cloakroom::secret::Secret;
use serde_json::{Value, json};

use super::{START, assert_says, claims, world, world_of};

#[tokio::test(start_paused = true)]
async fn a_grant_is_answered_as_recorded() {
    let world = world();
    let domain = world.listening.domain();
    let answer = world.grant_with(&[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    assert_eq!(answer.header("date"), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
    for name in ["x-auth0-requestid", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
        assert!(answer.header(name).is_some(), "{name}");
    }
    assert!(answer.header("set-cookie").unwrap().starts_with("did="));

    let body = answer.json();
    let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["access_token", "expires_in", "scope", "token_type"]);
    assert_eq!(body["expires_in"], 86_400);
    assert_eq!(body["scope"], "read:users read:user_idp_tokens");
    assert_eq!(body["token_type"], "Bearer");

    let now = START.as_secs();
    assert_eq!(
        claims(body["access_token"].as_str().unwrap()),
        json!({
            "iss": format!("https://{domain}/"), "sub": "demo-client@clients",
            "aud": format!("https://{domain}/api/v2/"), "iat": now, "exp": now + 86_400,
            "scope": "read:users read:user_idp_tokens", "gty": "client-credentials", "azp": "demo-client",
            "jti": "demo-0",
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_grant_may_be_asked_for_in_json_and_for_fewer_scopes() {
    let world = world();
    let mut body: Value = world.grant_form().into_iter().map(|(k, v)| (k.to_owned(), json!(v))).collect();
    body["scope"] = json!("read:users read:clients");
    let answer = world.https.post_json("/oauth/token", &body).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["scope"], "read:users");
}

#[tokio::test(start_paused = true)]
async fn every_refused_grant_has_the_documented_body() {
    let world = world();
    let unauthorized = json!({ "error": "access_denied", "error_description": "Unauthorized" });
    assert_says(&world.grant_with(&[("client_secret", "wrong")]).await, 401, unauthorized.clone());
    assert_says(&world.grant_with(&[("client_secret", "")]).await, 401, unauthorized.clone());
    assert_says(&world.grant_with(&[("client_id", "nobody")]).await, 401, unauthorized);

    let no_slash = world.tenant.audience().trim_end_matches('/').to_owned();
    let disabled = format!("Service not enabled within domain: {no_slash}");
    assert_says(
        &world.grant_with(&[("audience", &no_slash)]).await,
        403,
        json!({ "error": "access_denied", "error_description": disabled }),
    );
    assert_eq!(world.grant_with(&[("audience", "")]).await.status, 403);

    assert_says(
        &world.grant_with(&[("grant_type", "")]).await,
        400,
        json!({ "error": "invalid_request", "error_description": "Missing required parameter: grant_type" }),
    );
    assert_eq!(world.grant_with(&[("client_id", "")]).await.json()["error"], "invalid_request");
    let password = world.grant_with(&[("grant_type", "password")]).await;
    assert_eq!(
        (password.status.as_u16(), &password.json()["error"]),
        (400, &json!("unsupported_grant_type"))
    );
    for body in ["{", "[]", r#"{"grant_type":1}"#] {
        let json = [("content-type", "application/json")];
        let answer = world.https.send("POST", "/oauth/token", &json, body).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!("invalid_request")));
    }
    let plain = world.https.send("POST", "/oauth/token", &[], "grant_type=client_credentials").await.unwrap();
    assert_eq!(plain.status, 400);
}

#[tokio::test(start_paused = true)]
async fn an_application_without_rights_is_told_which() {
    let world = world();
    world.tenant.set_client_grant(false);
    let description = format!(
        "Client is not authorized to access \"{}\". You need to create a \"client-grant\" associated to this \
         API. See: https://auth0.com/docs/api/v2#!/Client_Grants/post_client_grants",
        world.tenant.audience()
    );
    let body = json!({ "error": "access_denied", "error_description": description });
    assert_says(&world.grant_with(&[]).await, 403, body);

    world.tenant.set_client_grant(true);
    world.tenant.set_grant_type_allowed(false);
    assert_says(
        &world.grant_with(&[]).await,
        403,
        json!({
            "error": "unauthorized_client",
            "error_description": "Grant type 'client_credentials' not allowed for the client.",
            "error_uri": "https://auth0.com/docs/clients/client-grant-types",
        }),
    );
}

#[tokio::test(start_paused = true)]
async fn basic_authentication_decodes_each_half() {
    // As RFC 6749 §2.3.1 has it; the encoded forms were worked out by hand.
    let world = world_of(TenantOptions {
        client_id: "id:with colon".into(),
        client_secret: Secret::new("se+cret%3A:\u{fc}"),
        client_auth: ClientAuth::SecretBasic,
        ..TenantOptions::default()
    });
    let audience = form_urlencoded::byte_serialize(world.tenant.audience().as_bytes()).collect::<String>();
    let body = format!("grant_type=client_credentials&audience={audience}");
    let post = async |authorization: &str, body: &str| {
        let form = ("content-type", "application/x-www-form-urlencoded");
        world
            .https
            .send("POST", "/oauth/token", &[form, ("authorization", authorization)], body)
            .await
            .unwrap()
    };

    let right = STANDARD.encode("id%3Awith+colon:se%2Bcret%253A%3A%C3%BC");
    assert_eq!(post(&format!("Basic {right}"), &body).await.status, 200);
    let raw = STANDARD.encode("id:with colon:se+cret%3A:\u{fc}");
    assert_eq!(post(&format!("Basic {raw}"), &body).await.status, 401);

    let refused = json!({ "error": "invalid_client", "error_description": "Client authentication failed" });
    assert_says(&post("Basic !", &body).await, 401, refused.clone());
    let both = post(&format!("Basic {right}"), &format!("{body}&client_secret=x")).await;
    assert_eq!((both.status.as_u16(), &both.json()["error"]), (400, &json!("invalid_request")));
    let posted =
        world.grant_with(&[("client_id", "id:with colon"), ("client_secret", "se+cret%3A:\u{fc}")]).await;
    assert_says(&posted, 401, refused);
}

#[tokio::test(start_paused = true)]
async fn an_application_set_to_post_refuses_basic() {
    let world = world_of(TenantOptions { client_auth: ClientAuth::SecretPost, ..TenantOptions::default() });
    assert_eq!(world.grant_with(&[]).await.status, 200);
    let authorization = format!("Basic {}", STANDARD.encode("demo-client:demo-client-secret"));
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("authorization", authorization.as_str())];
    let answer =
        world.https.send("POST", "/oauth/token", &headers, "grant_type=client_credentials").await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (401, &json!("invalid_client")));
}

#[tokio::test(start_paused = true)]
async fn a_rotated_secret_and_changed_scopes_count_from_the_next_grant() {
    let world = world();
    let old = world.bearer().await;
    world.tenant.rotate_client_secret(Secret::new("another"));
    assert_eq!(world.grant_with(&[]).await.status, 401);
    assert_eq!(world.user(&old, "github%7C583231").await.status, 200, "a token outlives the secret");

    world.tenant.grant_scopes(&["read:users"]);
    let fresh = world.grant_with(&[("client_secret", "another")]).await.json();
    assert_eq!(fresh["scope"], "read:users");
    let fresh = format!("Bearer {}", fresh["access_token"].as_str().unwrap());
    let seen = async |bearer: &str| {
        let user = world.user(bearer, "twitter%7C2244994945").await.json();
        user["identities"][0].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let all = ["access_token", "access_token_secret", "connection", "isSocial", "provider", "user_id"];
    assert_eq!(seen(&old).await, all, "an old JWT keeps its scopes");
    assert_eq!(seen(&fresh).await, ["connection", "isSocial", "provider", "user_id"], "without a word");
    let google = world.user(&fresh, "google-oauth2%7C103547991597142817347").await.json();
    for hidden in ["access_token", "refresh_token", "expires_in"] {
        assert_eq!(google["identities"][0].get(hidden), None, "{hidden}");
    }
}

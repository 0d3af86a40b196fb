//! Tests of the Management API's routes, without a socket.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::domain::freshness::Timestamp;
use crate::fake_auth0::reply::Reply;
use crate::fake_auth0::{Endpoint, Tenant, TenantOptions, users};
use crate::secret::Secret;
use serde_json::json;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const LINKED: &str = "google-oauth2%7C115015401343387192604";

/// A tenant, and a further application of it.
struct Side {
    tenant: Tenant,
    scopes: Vec<&'static str>,
}

fn side(scopes: &[&'static str]) -> Side {
    let tenant = Tenant::new(Clock::simulated(START), TenantOptions::default()).unwrap();
    tenant.register_application("ops", Secret::new("ops-secret"), scopes);
    Side { tenant, scopes: scopes.to_vec() }
}

impl Side {
    async fn grant(&self, id: &str, secret: &str) -> Value {
        let body = json!({
            "grant_type": "client_credentials", "client_id": id, "client_secret": secret,
            "audience": self.tenant.audience(),
        });
        let request = Request::post("/oauth/token").header("host", "localhost");
        let request =
            request.header("content-type", "application/json").body(body.to_string().into()).unwrap();
        body_of(&self.tenant.answer(request).await)
    }

    async fn call(&self, method: &str, target: &str, body: Value) -> (u16, Value) {
        let token = self.grant("ops", "ops-secret").await["access_token"].as_str().unwrap().to_owned();
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        self.call_with(&token, method, target, body, "application/json").await
    }

    async fn call_with(
        &self,
        token: &str,
        method: &str,
        target: &str,
        body: Bytes,
        content_type: &str,
    ) -> (u16, Value) {
        let request = Request::builder().method(method).uri(format!("/api/v2/{target}"));
        let request = request.header("host", "localhost").header("authorization", format!("Bearer {token}"));
        let request =
            request.header("content-type", content_type).header("auth0-custom-domain", "login.example");
        let reply = self.tenant.answer(request.body(body).unwrap()).await;
        assert!(reply.response.headers().contains_key("x-ratelimit-remaining"));
        (reply.response.status().as_u16(), body_of(&reply))
    }
}

fn body_of(reply: &Reply) -> Value {
    match reply.response.body() {
        empty if empty.is_empty() => Value::Null,
        body => serde_json::from_slice(body).unwrap(),
    }
}

#[tokio::test]
async fn a_further_application_gets_tokens_with_its_own_scopes() {
    let side = side(&["read:users", "update:users"]);
    let issued = side.grant("ops", "ops-secret").await;
    assert_eq!(issued["scope"], "read:users update:users");
    assert_eq!(
        side.grant("demo-client", "demo-client-secret").await["scope"],
        "read:users read:user_idp_tokens"
    );
    assert_eq!(side.grant("ops", "demo-client-secret").await["error"], "access_denied");
    assert_eq!(side.grant("demo-client", "ops-secret").await["error"], "access_denied");
    assert!(side.tenant.set_application_scopes("ops", &["read:clients"]));
    assert!(!side.tenant.set_application_scopes("unknown", &[]));
    assert_eq!(side.grant("ops", "ops-secret").await["scope"], "read:clients");

    let token = issued["access_token"].as_str().unwrap();
    let read =
        async |token: &str| side.call_with(token, "GET", "users/github%7C583231", Bytes::new(), "").await.0;
    assert_eq!(read(token).await, 200, "a token keeps its scopes");
    let call = side.tenant.calls_to(Endpoint::User).remove(0);
    assert_eq!(
        (call.client_id.as_deref(), call.custom_domain.as_deref()),
        (Some("ops"), Some("login.example"))
    );
    let own =
        side.grant("demo-client", "demo-client-secret").await["access_token"].as_str().unwrap().to_owned();
    side.tenant.revoke_tokens_of("ops");
    assert_eq!((read(token).await, read(&own).await), (401, 200));
}

#[tokio::test]
async fn each_route_needs_its_scope() {
    let side = side(&["openid"]);
    for (method, target, scope) in [
        ("GET", "users", "read:users"),
        ("GET", "users/github%7C583231", "read:users"),
        ("GET", "users-by-email?email=a%40example.com", "read:users"),
        ("POST", "users", "create:users"),
        ("PATCH", "users/github%7C583231", "update:users"),
        ("DELETE", "users/github%7C583231", "delete:users"),
        ("POST", "users/github%7C583231/identities", "update:users"),
        ("DELETE", "users/github%7C583231/identities/github/1", "update:users"),
        ("GET", "clients", "read:clients"),
        ("POST", "jobs/users-imports", "create:users"),
    ] {
        let (status, body) = side.call(method, target, json!({})).await;
        assert_eq!(
            (status, body["errorCode"].as_str()),
            (403, Some("insufficient_scope")),
            "{method} {target}"
        );
        assert!(body["message"].as_str().unwrap().contains(scope), "{method} {target}: {body}");
    }
    for target in ["", "users/", "../oauth/token", "nothing", "users/a%7Cb/logs"] {
        assert_eq!(side.call("GET", target, Value::Null).await.0, 404, "{target}");
    }
    assert!(side.tenant.calls_to(Endpoint::ManagementApi).len() > 10);
}

#[tokio::test]
async fn tokens_of_identities_are_shown_on_every_route_or_on_none() {
    let all = ["read:users", "create:users", "update:users", "delete:users", "read:user_idp_tokens"];
    for shows in [true, false] {
        let side = side(if shows { &all } else { &all[..4] });
        assert_eq!(side.scopes.len(), if shows { 5 } else { 4 });
        let link = json!({ "provider": "github", "user_id": 583_231 });
        for (method, target, body) in [
            ("GET", "users?q=nickname%3Alin.ked".to_owned(), Value::Null),
            ("GET", "users?q=name%3Alin*&include_totals=true&fields=identities".into(), Value::Null),
            ("GET", format!("users/{LINKED}"), Value::Null),
            ("GET", "users-by-email?email=LIN.ked%40example.com".into(), Value::Null),
            ("PATCH", format!("users/{LINKED}"), json!({ "user_metadata": { "a": 1 } })),
            ("POST", format!("users/{LINKED}/identities"), link),
            ("DELETE", format!("users/{LINKED}/identities/github/583231"), Value::Null),
        ] {
            let (status, body) = side.call(method, &target, body).await;
            assert!(status == 200 || status == 201, "{method} {target}: {body}");
            let text = body.to_string();
            assert!(text.contains("google-oauth2"), "{method} {target}: {text}");
            assert_eq!(text.contains("ya29.demo-linked"), shows, "{method} {target}: {text}");
            assert_eq!(text.contains("refresh_token"), shows, "{method} {target}: {text}");
        }
    }
}

#[tokio::test]
async fn lists_have_pages_totals_and_searches() {
    let side = side(&["read:users"]);
    let (_, all) = side.call("GET", "users?per_page=100", Value::Null).await;
    let total = all.as_array().unwrap().len();
    assert!(total > 20);
    let (_, page) =
        side.call("GET", "users?per_page=5&page=1&include_totals=true&fields=user_id", Value::Null).await;
    assert_eq!((&page["start"], &page["length"], &page["total"]), (&json!(5), &json!(5), &json!(total)));
    assert_eq!(page["users"][0], json!({ "user_id": all[5]["user_id"] }));
    let found = async |query: &str| side.call("GET", query, Value::Null).await.1.as_array().unwrap().len();
    assert_eq!(found("users?q=email%3A%22octo.cat%40example.com%22&search_engine=v3").await, 1);
    assert_eq!(found("users?q=name%3Ajohn*%20AND%20identities.connection%3Agoogle-oauth2").await, 2);
    assert_eq!(found("users?q=name%3Anothing").await, 0);
    assert_eq!(found("users?connection=github").await, 4);
    for bad in ["users?per_page=101", "users?page=x", "users?colour=red", "users-by-email"] {
        assert_eq!(side.call("GET", bad, Value::Null).await.1["errorCode"], "invalid_query_string", "{bad}");
    }
}

#[tokio::test]
async fn users_are_created_changed_and_deleted() {
    let side = side(&["read:users", "create:users", "update:users", "delete:users"]);
    let new = json!({
        "connection": "Username-Password-Authentication", "email": "new@example.com", "password": "demo",
        "user_id": "new", "app_metadata": { "a": 1, "b": { "c": 2 } },
    });
    let (status, created) = side.call("POST", "users", new.clone()).await;
    assert_eq!((status, &created["user_id"], created.get("password")), (201, &json!("auth0|new"), None));
    assert_eq!(side.call("POST", "users", new).await.0, 409);
    assert_eq!(side.call("POST", "users", json!({})).await.1["errorCode"], "invalid_body");

    let change = json!({ "app_metadata": { "a": null, "d": 3 }, "blocked": true, "email": null });
    let (status, changed) = side.call("PATCH", "users/auth0%7Cnew", change).await;
    assert_eq!((status, &changed["app_metadata"]), (200, &json!({ "b": { "c": 2 }, "d": 3 })));
    assert_eq!((&changed["blocked"], changed.get("email")), (&json!(true), None));
    let refused = side.call("PATCH", "users/auth0%7Cnew", json!({ "identities": [] })).await;
    assert_eq!(refused.1["errorCode"], "invalid_body");
    assert_eq!(side.call("PATCH", "users/auth0%7Cunknown", json!({})).await.0, 404);

    assert_eq!(side.call("DELETE", "users/auth0%7Cnew", Value::Null).await, (204, Value::Null));
    assert_eq!(side.call("GET", "users/auth0%7Cnew", Value::Null).await.0, 404);
    let call = side.tenant.calls_to(Endpoint::ManagementApi).pop().unwrap();
    assert_eq!((call.user_id.as_deref(), call.method), (Some("auth0|new"), Method::DELETE));
}

#[tokio::test]
async fn users_are_linked_and_unlinked() {
    let side = side(&["read:users", "update:users"]);
    let github = json!({ "provider": "github", "user_id": "583231" });
    let target = "users/google-oauth2%7C103547991597142817347/identities";
    let (status, identities) = side.call("POST", target, github.clone()).await;
    assert_eq!((status, &identities[1]["profileData"]["name"]), (201, &json!("Octo Cat")));
    assert_eq!(side.tenant.user(users::GITHUB), None);
    assert_eq!(side.call("POST", target, github).await.0, 404);
    assert_eq!(
        side.call("DELETE", &format!("{target}/google-oauth2/103547991597142817347"), Value::Null).await.0,
        400
    );
    let (status, left) = side.call("DELETE", &format!("{target}/github/583231"), Value::Null).await;
    assert_eq!((status, left.as_array().unwrap().len()), (200, 1));
    let apart = side.tenant.user(users::GITHUB).unwrap();
    assert_eq!((&apart["name"], &apart["identities"][0]["access_token"]), (&json!("Octo Cat"), &json!("")));
    let token = side.tenant.user_token(users::JOHN, "https://api.example", Duration::from_secs(60)).unwrap();
    assert_eq!(side.call("POST", target, json!({ "link_with": token })).await.0, 201);
    let itself = json!({ "provider": "google-oauth2", "user_id": "103547991597142817347" });
    assert_eq!(side.call("POST", target, itself).await.0, 400);
}

#[tokio::test]
async fn clients_show_secrets_only_with_the_scope_for_them() {
    let side = side(&["read:clients"]);
    let (_, clients) = side.call("GET", "clients", Value::Null).await;
    assert_eq!((&clients[1]["client_id"], clients[1].get("client_secret")), (&json!("ops"), None));
    side.tenant.set_application_scopes("ops", &["read:client_keys"]);
    assert_eq!(side.call("GET", "clients", Value::Null).await.1[1]["client_secret"], "ops-secret");
}

#[tokio::test]
async fn an_import_is_a_form_that_may_be_larger_than_other_bodies() {
    let side = side(&["create:users"]);
    let token = side.grant("ops", "ops-secret").await["access_token"].as_str().unwrap().to_owned();
    let form = |users: &str| {
        let part = |name: &str, content: &str| {
            format!("--x1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
        };
        let form = part("connection_id", "con_demo") + &part("users", users) + "--x1--\r\n";
        Bytes::from(form)
    };
    let multipart = "multipart/form-data; boundary=x1";
    let begin = async |body: Bytes, content_type: &str| {
        side.call_with(&token, "POST", "jobs/users-imports", body, content_type).await
    };
    let large = form(&"u".repeat(400_000));
    let (status, job) = begin(large.clone(), multipart).await;
    assert_eq!((status, &job["status"], &job["connection_id"]), (202, &json!("pending"), &json!("con_demo")));
    assert_eq!(side.tenant.calls_to(Endpoint::ManagementApi)[0].body_bytes, large.len());
    assert_eq!(begin(large.slice(..1_000), multipart).await.0, 400);
    assert_eq!(begin(form(&"u".repeat(600_000)), multipart).await.0, 413);
    assert_eq!(begin(form("[]"), "application/json").await.0, 415);
}

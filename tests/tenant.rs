//! The simulated tenant, line by line: everything here is asked over real TLS, as a client would.
//!
//! Time is paused, and nothing here sets a timer, so that it stands still and dates can be compared exactly. The
//! one test that has to wait for what never comes does so on real time.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests stop at the first surprise"
)]

mod support {
    pub mod https;
}

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cloakroom::clock::Clock;
use cloakroom::demo::{
    CertificateKind, ClientAuth, Endpoint, Fault, Listening, RateLimit, Tenant, TenantOptions, WaitHint,
    users,
};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::secret::Secret;
use serde_json::{Value, json};
use support::https::{Answer, Https};

/// A tenant, its listener, and a client that trusts it.
struct World {
    clock: Clock,
    tenant: Tenant,
    listening: Listening,
    https: Https,
}

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn world() -> World {
    world_of(TenantOptions::default())
}

fn world_of(options: TenantOptions) -> World {
    let clock = Clock::simulated(START);
    let tenant = Tenant::new(clock.clone(), options).unwrap();
    let listening = tenant.listen(CertificateKind::Good).unwrap();
    let https = Https::new(listening.domain(), listening.ca_pem());
    World { clock, tenant, listening, https }
}

impl World {
    fn grant_form(&self) -> Vec<(&'static str, String)> {
        vec![
            ("grant_type", "client_credentials".into()),
            ("client_id", "demo-client".into()),
            ("client_secret", "demo-client-secret".into()),
            ("audience", self.tenant.audience()),
        ]
    }

    /// A grant with some fields replaced, added, or (with an empty value) left out.
    async fn grant_with(&self, changes: &[(&'static str, &str)]) -> Answer {
        let mut form = self.grant_form();
        for (name, value) in changes {
            form.retain(|(other, _)| other != name);
            form.push((name, (*value).to_owned()));
        }
        let form: Vec<_> =
            form.iter().map(|(name, value)| (*name, value.as_str())).filter(|(_, v)| !v.is_empty()).collect();
        self.https.post_form("/oauth/token", &form).await.unwrap()
    }

    async fn bearer(&self) -> String {
        let answer = self.grant_with(&[]).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        format!("Bearer {}", answer.json()["access_token"].as_str().unwrap())
    }

    async fn user(&self, bearer: &str, path: &str) -> Answer {
        self.https.get(&format!("/api/v2/users/{path}"), &[("authorization", bearer)]).await.unwrap()
    }
}

fn claims(jwt: &str) -> Value {
    let part = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Asserts status and body exactly.
fn assert_says(answer: &Answer, status: u16, body: Value) {
    assert_eq!((answer.status.as_u16(), answer.json()), (status, body));
}

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
async fn a_user_is_answered_as_recorded() {
    let world = world();
    let answer = world.user(&world.bearer().await, "google-oauth2%7C111199914890750704174").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(answer.header("x-ratelimit-limit"), Some("50"));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("49"));
    assert_eq!(answer.header("x-ratelimit-reset"), Some("1800000001"));
    let user = answer.json();
    assert_eq!(user["user_id"], users::JOHN);
    assert_eq!(user["nickname"], "john.doe");
    assert_eq!(user["last_login"], "2027-01-15T07:59:00.000Z");
    assert_eq!(
        user["identities"],
        json!([{
            "provider": "google-oauth2", "connection": "google-oauth2", "user_id": "111199914890750704174",
            "isSocial": true, "access_token": "ya29.demo-doe", "refresh_token": "1//demo-refresh-doe",
            "expires_in": 3599,
        }])
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

#[tokio::test(start_paused = true)]
async fn every_refused_bearer_has_the_recorded_body() {
    let world = world();
    let path = "github%7C583231";
    let jwt_error = |message: &str| {
        json!({
            "statusCode": 401, "error": "Unauthorized", "message": message, "attributes": { "error": message },
        })
    };
    let missing = world.https.get(&format!("/api/v2/users/{path}"), &[]).await.unwrap();
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    let body = json!({ "statusCode": 401, "error": "Unauthorized", "message": "Missing authentication" });
    assert_says(&missing, 401, body);

    let opaque = json!({
        "statusCode": 400, "error": "Bad Request", "message": "Bad HTTP authentication header format",
        "errorCode": "Bearer",
    });
    for authorization in ["Bearer opaque", "Bearer", "Basic YTpi", "Bearer a.b.c.d.e"] {
        assert_says(&world.user(authorization, path).await, 400, opaque.clone());
    }

    assert_says(&world.user("Bearer a.b.c", path).await, 401, jwt_error("Invalid token"));
    let good = world.bearer().await;
    let (signed, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 256]));
    let message = "Invalid signature received for JSON Web Token validation";
    assert_says(&world.user(&forged, path).await, 401, jwt_error(message));

    let elsewhere =
        world.tenant.user_token("auth0|me", "https://api.example/", Duration::from_secs(60)).unwrap();
    let answer = world.user(&format!("Bearer {elsewhere}"), path).await;
    assert!(answer.json()["message"].as_str().unwrap().starts_with("Bad audience: "));

    world.clock.suspend(Duration::from_secs(86_399));
    assert_eq!(world.user(&good, path).await.status, 200);
    world.clock.suspend(Duration::from_secs(1));
    let message = "Expired token received for JSON Web Token validation";
    assert_says(&world.user(&good, path).await, 401, jwt_error(message));

    let fresh = world.bearer().await;
    world.tenant.revoke_management_tokens();
    assert_says(&world.user(&fresh, path).await, 401, jwt_error("Invalid token"));
    assert_eq!(world.user(&world.bearer().await, path).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn another_tenants_signature_is_worth_nothing() {
    let (one, two) = (world(), world_of(TenantOptions { own_keys: true, ..TenantOptions::default() }));
    let bearer = two.bearer().await;
    assert_eq!(one.user(&bearer, "github%7C583231").await.json()["message"], "Invalid token");
}

#[tokio::test(start_paused = true)]
async fn a_custom_domain_issues_for_itself_and_the_canonical_audience() {
    let world =
        world_of(TenantOptions { domain: Some("acme.eu.auth0.example".into()), ..TenantOptions::default() });
    let bearer = world.bearer().await;
    let claims = claims(&bearer);
    assert_eq!(claims["aud"], "https://acme.eu.auth0.example/api/v2/");
    assert_eq!(claims["iss"], format!("https://{}/", world.listening.domain()));
    assert_eq!(world.user(&bearer, "github%7C583231").await.status, 200);
    let other_host = [("authorization", bearer.as_str()), ("host", "acme.eu.auth0.example")];
    let answer = world.https.get("/api/v2/users/github%7C583231", &other_host).await.unwrap();
    assert_eq!(answer.status, 401, "a token is good on the domain that issued it");
}

#[tokio::test(start_paused = true)]
async fn too_little_scope_is_refused_in_words() {
    let world = world();
    world.tenant.grant_scopes(&["read:clients"]);
    let insufficient = |message: &str| {
        json!({
            "statusCode": 403, "error": "Forbidden", "message": message, "errorCode": "insufficient_scope",
        })
    };
    let message = "Insufficient scope, expected any of: read:users,read:user_idp_tokens,read:current_user";
    let answer = world.user(&world.bearer().await, "github%7C583231").await;
    assert_says(&answer, 403, insufficient(message));
    world.tenant.grant_scopes(&["read:current_user"]);
    let message = "User to be acted on does not match subject in bearer token.";
    let answer = world.user(&world.bearer().await, "github%7C583231").await;
    assert_says(&answer, 403, insufficient(message));
    world.tenant.grant_scopes(&["read:user_idp_tokens"]);
    let answer = world.user(&world.bearer().await, "github%7C583231").await;
    assert_eq!(answer.json()["identities"][0]["access_token"], "gho_demo-octo");
}

#[tokio::test(start_paused = true)]
async fn ids_are_decoded_exactly_once() {
    let world = world();
    let bearer = world.bearer().await;
    for id in ["samlp|urn%3Ax", "auth0|a b+c", "auth0|gr\u{fc}n"] {
        assert!(world.tenant.put_user(json!({ "user_id": id, "identities": [] })));
    }
    for (path, id) in [
        ("oidc%7Ccorp%2Fjane%40corp.example", users::SLASH),
        ("oidc%7Ccorp%2fjane@corp.example", users::SLASH),
        ("samlp%7Curn%253Ax", "samlp|urn%3Ax"),
        ("auth0%7Ca%20b+c", "auth0|a b+c"),
        ("auth0%7Cgr%C3%BCn", "auth0|gr\u{fc}n"),
    ] {
        let answer = world.user(&bearer, path).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["user_id"]), (200, &json!(id)), "{path}");
        let call = world.tenant.calls().pop().unwrap();
        assert_eq!((call.path, call.user_id.as_deref()), (format!("/api/v2/users/{path}"), Some(id)));
    }
    let not_found = json!({
        "statusCode": 404, "error": "Not Found", "message": "The user does not exist.",
        "errorCode": "inexistent_user",
    });
    for path in ["samlp%7Curn%3Ax", "oidc%257Ccorp", "github%7C9919"] {
        let answer = world.user(&bearer, path).await;
        match path {
            // Encoded twice it has no bar any more, which no id lacks.
            "oidc%257Ccorp" => assert_eq!(answer.json()["errorCode"], "invalid_uri"),
            _ => assert_says(&answer, 404, not_found.clone()),
        }
    }
    let answer = world.user(&bearer, "nonsense").await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json()["message"],
        "Path validation error: 'Object didn't pass validation for format user-id: nonsense' on property id \
         (The user_id of the user to retrieve)."
    );
    assert_eq!(
        world.user(&bearer, "oidc%7Ccorp/jane@corp.example").await.status,
        404,
        "a raw slash is a path"
    );
}

#[tokio::test(start_paused = true)]
async fn fields_are_selected_and_only_known_ones() {
    let world = world();
    let bearer = world.bearer().await;
    let names = async |query: &str| {
        let answer = world.user(&bearer, &format!("google-oauth2%7C104040404040404040404?{query}")).await;
        match answer.status.as_u16() {
            200 => Ok(answer.json().as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(",")),
            400 => Err(answer.json()["errorCode"].as_str().unwrap().to_owned()),
            other => panic!("{other}"),
        }
    };
    let wanted = "blocked,identities,last_login,updated_at,user_id";
    assert_eq!(
        names("fields=user_id,identities,last_login,updated_at,blocked&include_fields=true").await.unwrap(),
        wanted
    );
    assert_eq!(names("fields=user_id%2Cemail").await.unwrap(), "email,user_id");
    let rest = names("fields=user_id,email,identities&include_fields=false").await.unwrap();
    assert!(rest.contains("nickname") && !rest.contains("identities") && !rest.contains("email,"), "{rest}");
    for bad in ["fields=user_id,nope", "fields=user_id,", "include_fields=1", "color=blue"] {
        assert_eq!(names(bad).await.unwrap_err(), "invalid_query_string", "{bad}");
    }
}

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
        ("GET", "/api/v2/clients"),
        ("DELETE", "/api/v2/users/github%7C583231"),
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
        let raw = support::https::raw(&world.listening, "GET /api/v2/users/a%7Cb HTTP/1.0\r\n\r\n").await;
        assert!(raw.contains(expected), "{raw}");
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_certificates_are_wrong_in_their_way() {
    let tenant = Tenant::new(Clock::simulated(START), TenantOptions::default()).unwrap();
    for (kind, expected) in [
        (CertificateKind::Expired, "Expired"),
        (CertificateKind::WrongName, "NotValidForName"),
        (CertificateKind::UnknownIssuer, "UnknownIssuer"),
    ] {
        let listening = tenant.listen(kind).unwrap();
        let error = Https::new(listening.domain(), listening.ca_pem()).get("/", &[]).await.err().unwrap();
        assert!(format!("{error:?}").contains(expected), "{kind:?}: {error:?}");
    }
    let listening = tenant.listen(CertificateKind::Good).unwrap();
    let by_address = format!("127.0.0.1:{}", listening.port());
    assert_eq!(Https::new(&by_address, listening.ca_pem()).get("/", &[]).await.unwrap().status, 404);
}

#[tokio::test(start_paused = true)]
async fn it_goes_away_and_comes_back_on_the_same_port() {
    let World { tenant, listening, https, .. } = world();
    assert_eq!(https.get("/", &[]).await.unwrap().status, 404);
    let port = listening.port();
    listening.stop();
    // The second attempt cannot find the first one's connection alive either.
    for _ in 0..2 {
        assert!(https.get("/", &[]).await.is_err());
    }
    let listening = tenant.listen_on(port, CertificateKind::Good).unwrap();
    assert_eq!(listening.port(), port);
    assert_eq!(https.get("/", &[]).await.unwrap().status, 404, "the same authority vouches for it");
}

#[tokio::test(start_paused = true)]
async fn going_away_ends_what_is_under_way() {
    let World { tenant, listening, https, .. } = world();
    tenant.fault(Endpoint::Keys, Fault::StallHeaders);
    let (answer, ()) = tokio::join!(https.get("/.well-known/jwks.json", &[]), async {
        while tenant.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        listening.stop();
    });
    assert!(answer.is_err());
}

#[tokio::test(start_paused = true)]
async fn refused_connections_are_refused_until_cleared() {
    let world = world();
    assert_eq!(world.https.get("/", &[]).await.unwrap().status, 404);
    world.tenant.fault(Endpoint::Token, Fault::RefuseConnections);
    let fresh = Https::new(world.listening.domain(), world.listening.ca_pem());
    let error = fresh.get("/", &[]).await.err().unwrap();
    assert!(format!("{error:?}").contains("ConnectionRefused"), "{error:?}");
    assert!(world.https.get("/", &[]).await.is_err(), "an open connection is no way around it");
    world.tenant.clear_all();
    assert_eq!(world.https.get("/", &[]).await.unwrap().status, 404);
}

#[tokio::test]
async fn answers_break_off_on_the_wire() {
    let world = world();
    let get = async || world.https.get("/.well-known/jwks.json", &[]).await;
    for (fault, expected) in [
        (Fault::ResetWhileReading, "ConnectionReset"),
        (Fault::Truncate, "UnexpectedEof"),
        (Fault::RefuseConnections, "SendRequest"),
    ] {
        world.tenant.fault_next(Endpoint::Keys, 1, fault.clone());
        let error = get().await.err().unwrap();
        assert!(format!("{error:?}").contains(expected), "{fault:?}: {error:?}");
        assert_eq!(get().await.unwrap().status, 200, "after {fault:?}");
    }
    for fault in [Fault::StallHeaders, Fault::StallBody] {
        world.tenant.fault_next(Endpoint::Keys, 1, fault.clone());
        let waited = tokio::time::timeout(Duration::from_millis(40), get()).await;
        assert!(waited.is_err(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_are_replaced_as_asked() {
    let world = world();
    let bearer = world.bearer().await;
    let user = async |fault: Fault| {
        world.tenant.fault_next(Endpoint::User, 1, fault);
        world.user(&bearer, "github%7C583231").await
    };
    let empty = user(Fault::Empty200).await;
    assert_eq!((empty.status.as_u16(), empty.body.len()), (200, 0));
    let portal = user(Fault::Html200).await;
    assert_eq!(portal.header("content-type"), Some("text/html; charset=utf-8"));
    let big = user(Fault::Body(10 << 20)).await;
    assert_eq!((big.body.len(), &big.json()["user_id"]), (10 << 20, &json!(users::GITHUB)));
    let bomb = user(Fault::GzipBomb).await;
    assert_eq!(bomb.header("content-encoding"), Some("gzip"));
    assert!(bomb.body.starts_with(&[0x1f, 0x8b]) && bomb.body.len() < 100_000);
    assert_eq!(user(Fault::WrongContentType).await.header("content-type"), Some("text/plain"));
    let moved = user(Fault::Redirect("http://evil.example/".into())).await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (302, Some("http://evil.example/")));
    assert_eq!(user(Fault::Unauthorized).await.json()["message"], "Invalid token");
    let edge = user(Fault::Edge503Html).await;
    assert_eq!((edge.status.as_u16(), edge.header("x-ratelimit-limit")), (503, None));
    let headers = vec![("x-one".into(), "1".into()), ("bad name".into(), "2".into())];
    let any = user(Fault::Status { status: 418, headers, body: "tea".into() }).await;
    assert_eq!((any.status.as_u16(), any.header("x-one"), &any.body[..]), (418, Some("1"), &b"tea"[..]));
    let dated = user(Fault::DateOffset(-3_600)).await;
    assert_eq!(dated.header("date"), Some("Fri, 15 Jan 2027 07:00:00 GMT"));
    assert_eq!(world.user(&bearer, "github%7C583231").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_429_says_when_to_come_back_in_each_form() {
    let world = world();
    let bearer = world.bearer().await;
    for (hint, retry_after, reset) in [
        (WaitHint::Seconds(7), Some("7"), None),
        (WaitHint::Date(Duration::from_secs(60)), Some("Fri, 15 Jan 2027 08:01:00 GMT"), None),
        (WaitHint::Reset(Duration::from_secs(3_456)), None, Some("1800003456")),
        (WaitHint::None, None, None),
    ] {
        world.tenant.fault_next(Endpoint::User, 1, Fault::RateLimited(hint));
        let answer = world.user(&bearer, "github%7C583231").await;
        assert_eq!(answer.status, 429);
        assert_eq!((answer.header("retry-after"), answer.header("x-ratelimit-reset")), (retry_after, reset));
        assert_eq!(answer.json()["message"], "Global limit has been reached");
    }
    let refused = async |fault: Fault| {
        world.tenant.fault_next(Endpoint::Token, 1, fault);
        world.grant_with(&[]).await
    };
    let description = "Rate limit exceeded. Please retry after some time.";
    let body = json!({ "error": "too_many_requests", "error_description": description });
    assert_says(&refused(Fault::RateLimited(WaitHint::Seconds(1))).await, 429, body);
    let quota = refused(Fault::QuotaExceeded { retry_after: 3_540 }).await;
    assert_eq!(quota.header("retry-after"), Some("3540"));
    let buckets = "b=per_hour;q=10;r=0;t=3540,b=per_day;q=50;r=40;t=43200";
    assert_eq!(quota.header("auth0-client-quota-limit"), Some(buckets));
    let body = json!({ "error": "too_many_requests", "error_description": "Client quota exceeded" });
    assert_says(&quota, 429, body);
    assert_eq!(refused(Fault::TooManyAttempts).await.json()["error"], "too_many_attempts");
}

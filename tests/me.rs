//! `/v1/me`: whose own tokens are accepted, why others are not, and when the tenant is asked for its keys.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests stop at the first surprise, and use the part of the support that they need"
)]

mod support {
    pub mod deployment;
    pub mod process;
    pub mod world;
}

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use cloakroom::clock::Clock;
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::priority::Flow;
use cloakroom::fake_auth0::{Endpoint, Fault, Tenant, TenantOptions, WaitHint, users};
use cloakroom::secret::Secret;
use hyper::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use support::deployment::Deployment;
use support::world::{Got, START, World};
use tokio::time::sleep;

const API: &str = "https://api.acme.example";
/// The client id of an application, whose ID tokens are for it.
const APP: &str = "3Xk9";
const SETTINGS: &str = "[me]\naudiences = [\"https://api.acme.example\", \"3Xk9\"]";
const HEADER: (&str, &str) = ("cloakroom-request", "true");

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn world() -> World {
    world_with(TenantOptions::default(), "").await
}

async fn world_with(options: TenantOptions, more: &str) -> World {
    let world = World::simulated(options, &format!("{SETTINGS}\n{more}")).await;
    world.ready().await;
    world
}

impl World {
    async fn me(&self, token: &str) -> Got {
        self.me_at("/v1/me/token", token).await
    }

    async fn me_at(&self, path: &str, token: &str) -> Got {
        self.send("GET", path, &[HEADER, ("authorization", &format!("Bearer {token}"))]).await
    }

    /// The access token that `user` gets at a login for our API.
    fn session(&self, user: &str) -> String {
        self.tenant.user_token(user, API, 24 * 60 * MINUTE).unwrap()
    }

    /// A good session's claims, with `change` laid over them.
    fn claims(&self, change: Value) -> Value {
        let now = self.clock.now().wall.as_secs();
        let mut claims = json!({
            "iss": "https://localhost/", "sub": users::GOOGLE, "aud": API, "iat": now, "exp": now + 3600,
        });
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn signed(&self, change: Value) -> String {
        self.tenant.sign(&self.claims(change)).unwrap()
    }

    fn signed_as(&self, change: impl FnOnce(&mut Header)) -> String {
        self.tenant.sign_as(change, &self.claims(json!({}))).unwrap()
    }

    fn key_calls(&self) -> usize {
        self.tenant.calls_to(Endpoint::Keys).len()
    }

    fn user_calls(&self) -> usize {
        self.tenant.calls_to(Endpoint::User).len()
    }
}

/// 401 with everything that belongs to it, and nothing of the token; its detail.
fn refusal(got: &Got, token: &str) -> String {
    assert_eq!(got.problem(), (401, "invalid_user_token".into()));
    assert_eq!(got.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    let said = String::from_utf8_lossy(&got.body);
    for part in token.split('.').filter(|part| part.len() > 4) {
        assert!(!said.contains(part), "{part} is quoted: {said}");
    }
    got.detail()
}

/// The published key in use, as JSON.
async fn published(tenant: &Tenant) -> Value {
    let request = Request::get("/.well-known/jwks.json").body(Bytes::new()).unwrap();
    let reply = tenant.answer(request).await;
    serde_json::from_slice::<Value>(reply.response.body()).unwrap()["keys"][0].clone()
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

// Which tokens are accepted.

#[tokio::test(start_paused = true)]
async fn a_users_own_token_gets_what_a_lookup_of_that_user_gets() {
    let world = world().await;
    let by_id = world.get(&World::path(users::GOOGLE)).await.json();
    let access = world.session(users::GOOGLE);
    let mine = world.me(&access).await;
    assert_eq!((mine.status.as_u16(), mine.header("cloakroom-cache")), (200, Some("hit")));
    assert_eq!(mine.header("cache-control"), Some("no-store"));
    assert_eq!(mine.json(), by_id);
    assert_eq!(mine.json()["user_id"], users::GOOGLE);

    let id_token = world.signed(json!({"aud": APP, "nonce": "n", "sid": "s", "email": "a@b.example"}));
    assert_eq!(world.me(&id_token).await.json(), by_id);
    let of_rfc_9068 = world.signed_as(|header| header.typ = Some("at+jwt".into()));
    assert_eq!(world.me(&of_rfc_9068).await.json(), by_id);

    let linked = world.session(users::LINKED);
    let identities = world.me_at("/v1/me/identities", &linked).await.json();
    assert_eq!(
        identities,
        world.get(&World::path(users::LINKED).replace("/token", "/identities")).await.json()
    );
    assert_eq!(identities["user_id"], users::LINKED);
    assert_eq!(world.me(&linked).await.problem(), (409, "ambiguous_identity".into()));
    let selected = world.me_at("/v1/me/token?connection=github&min_ttl=5", &linked).await.json();
    assert_eq!((&selected["user_id"], &selected["connection"]), (&json!(users::LINKED), &json!("github")));
    for path in ["/v1/me/token?user_id=x", "/v1/me/identities?connection=github"] {
        assert_eq!(world.me_at(path, &linked).await.problem(), (400, "invalid_request".into()), "{path}");
    }

    assert_eq!(world.key_calls(), 1, "one for all of them");
    let metrics = world.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body);
    let counted = "cloakroom_upstream_requests_total{endpoint=\"keys\",result=\"200\"} 1.0\n";
    assert!(metrics.contains(counted), "{metrics}");
    assert_eq!(world.get("/v1/status").await.json()["upstream"]["key_requests"], 1);
}

#[tokio::test(start_paused = true)]
async fn users_are_told_apart_by_their_tokens_alone() {
    let world = world().await;
    for user in [users::GOOGLE, users::GITHUB, users::ENTRA, users::SLASH, users::GOOGLE] {
        let mine = world.me(&world.session(user)).await.json();
        assert_eq!(mine["user_id"], user);
        assert_eq!(mine, world.get(&World::path(user)).await.json());
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_whom_auth0_does_not_know_is_not_found() {
    let world = world().await;
    for user in ["auth0|nobody", &"x".repeat(300)] {
        assert_eq!(world.me(&world.session(user)).await.problem(), (404, "user_not_found".into()));
    }
    for (user, problem) in
        [(users::EXPIRED, (410, "login_required")), (users::BLOCKED, (403, "user_blocked"))]
    {
        let got = world.me(&world.session(user)).await;
        assert_eq!(got.problem(), (problem.0, problem.1.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn both_names_of_a_tenant_may_have_issued_it() {
    let world = world().await;
    for issuer in ["https://localhost/", "https://tenant.example/"] {
        assert_eq!(world.me(&world.signed(json!({"iss": issuer}))).await.status, 200, "{issuer}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_audiences_the_routes_are_off() {
    for settings in ["", "[me]\naudiences = []"] {
        let world = World::simulated(TenantOptions::default(), settings).await;
        for path in ["/v1/me/token", "/v1/me/identities"] {
            let got = world.me_at(path, &world.session(users::GOOGLE)).await;
            assert_eq!(got.problem(), (404, "route_not_found".into()));
            assert!(got.detail().contains("[me] audiences"), "{}", got.detail());
        }
        assert_eq!(world.key_calls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn ps256_is_accepted_unless_the_key_set_states_another_algorithm() {
    let ps256 = |header: &mut Header| header.alg = Algorithm::PS256;
    let stated = world().await;
    let token = stated.signed_as(ps256);
    assert!(refusal(&stated.me(&token).await, &token).contains("another algorithm"));
    let options = TenantOptions { key_set_states_alg: false, ..TenantOptions::default() };
    let silent = world_with(options, "").await;
    assert_eq!(silent.me(&silent.signed_as(ps256)).await.status, 200);
    assert_eq!(silent.me(&silent.signed(json!({}))).await.status, 200, "and RS256 with the same key");
}

/// A token that only its holder's key makes good is no bearer token, and the proof cannot be checked here.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_bound_to_a_key_is_refused_as_a_bearer_token() {
    let world = world().await;
    for cnf in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        json!({}),
        json!("jkt"),
    ] {
        let token = world.signed(json!({"cnf": cnf}));
        let detail = refusal(&world.me(&token).await, &token);
        assert!(detail.contains("sender-constrained") && detail.contains("DPoP"), "{detail}");
    }
}

/// A tenant has several custom domains, signs with the same keys on each, and names the one that was used.
#[tokio::test(start_paused = true)]
async fn further_issuers_of_the_tenant_are_accepted_where_they_are_named() {
    let token = |world: &World| world.signed(json!({"iss": "https://login.acme.example/"}));
    let strict = world().await;
    let detail = refusal(&strict.me(&token(&strict)).await, &token(&strict));
    assert!(
        detail.contains("not issued by https://tenant.example/") && detail.contains("[me] issuers"),
        "{detail}"
    );
    for spelled in
        ["https://login.acme.example/", "https://login.acme.example", "https://LOGIN.acme.example:443"]
    {
        let settings = format!("{SETTINGS}\nissuers = [{spelled:?}]");
        let world = World::simulated(TenantOptions::default(), &settings).await;
        world.ready().await;
        assert_eq!(world.me(&token(&world)).await.status, 200, "{spelled}");
        assert_eq!(world.me(&world.session(users::GOOGLE)).await.status, 200, "{spelled}: its own go on");
        for other in ["https://login.acme.example", "https://other.example/", "http://login.acme.example/"] {
            let token = world.signed(json!({"iss": other}));
            assert!(refusal(&world.me(&token).await, &token).contains("not issued by"), "{spelled} {other}");
        }
        // The keys are those that the tenant publishes at its own domain.
        assert_eq!(world.key_calls(), 1);
    }
}

/// Rules with `me` among their operations, and not `token`: what the routes are for.
#[tokio::test(start_paused = true)]
async fn whoever_may_only_use_me_needs_each_users_own_token() {
    let rules = format!(
        "[[listener]]\npath = \"{{dir}}/api.sock\"\nmode = \"0600\"\n[[listener.allow]]\nuid = {}\n\
         operations = [\"me\"]\nusers = [\"google-oauth2|*\"]\nconnections = [\"google-oauth2\"]",
        nix::unistd::geteuid()
    );
    let world = world_with(TenantOptions::default(), &rules).await;
    for path in [World::path(users::GOOGLE), World::path(users::GOOGLE).replace("/token", "/identities")] {
        assert_eq!(world.get(&path).await.problem(), (403, "forbidden".into()));
    }
    let session = world.session(users::GOOGLE);
    assert_eq!(world.me(&session).await.json()["user_id"], users::GOOGLE);
    assert_eq!(world.me_at("/v1/me/identities", &session).await.status, 200);
    sleep(Duration::from_secs(24 * 3600 + 60)).await;
    assert!(refusal(&world.me(&session).await, &session).contains("expired"));
    // Within the rule's users and connections, and no further, whoever's session it is.
    let calls = world.user_calls();
    for user in [users::GITHUB, users::ENTRA] {
        assert_eq!(world.me(&world.session(user)).await.problem(), (403, "forbidden".into()), "{user}");
    }
    let linked = world.session(users::LINKED);
    let github = world.me_at("/v1/me/token?connection=github", &linked).await;
    assert_eq!(github.problem(), (403, "forbidden".into()));
    assert_eq!(world.user_calls(), calls);
    let shown = world.me_at("/v1/me/identities", &linked).await.json();
    assert_eq!(shown["identities"].as_array().unwrap().len(), 1);
    assert_eq!(shown["identities"][0]["connection"], "google-oauth2");
}

// Which are refused.

#[tokio::test(start_paused = true)]
async fn each_token_that_is_no_good_is_refused_in_words_of_its_own() {
    let world = world().await;
    let key = published(&world.tenant).await;
    let kid = key["kid"].as_str().unwrap().to_owned();
    let good = world.signed(json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let with_header = |header: Value, signature: &str| format!("{}.{payload}.{signature}", encoded(&header));
    // The public key in each form in which a careless verifier may take it for a secret.
    let public = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
    let confused = |secret: &[u8]| {
        let header = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &world.claims(json!({})), &EncodingKey::from_secret(secret)).unwrap()
    };
    let raised = encoded(&world.claims(json!({"sub": users::GITHUB})));
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[100] ^= 1;
    let flipped = URL_SAFE_NO_PAD.encode(flipped);
    let now = world.clock.now().wall.as_secs();
    let cases = [
        // Forged or changed.
        (with_header(json!({"alg": "none", "kid": kid}), ""), "RS256 or PS256"),
        (with_header(json!({"alg": "nOnE", "kid": kid}), signature), "RS256 or PS256"),
        (confused(&public), "RS256 or PS256"),
        (confused(key["n"].as_str().unwrap().as_bytes()), "RS256 or PS256"),
        (confused(key.to_string().as_bytes()), "RS256 or PS256"),
        (with_header(json!({"alg": "RS384", "kid": kid}), signature), "RS256 or PS256"),
        (with_header(json!({"alg": "ES256", "kid": kid}), signature), "RS256 or PS256"),
        (with_header(json!({"alg": "RS256", "kid": kid}), signature), "signature is invalid"),
        (format!("{header}.{raised}.{signature}"), "signature is invalid"),
        (format!("{message}.{flipped}"), "signature is invalid"),
        (format!("{message}."), "signature is invalid"),
        (format!("{message}.{}", &signature[..100]), "signature is invalid"),
        (format!("{good}="), "signature is invalid"),
        // A key that it brings along is not looked at.
        (world.signed_as(|header| header.kid = Some("mine".into())), "does not publish"),
        (world.signed_as(|header| header.kid = None), "does not name the key"),
        (world.signed_as(|header| header.kid = Some(String::new())), "does not name the key"),
        // Of another kind.
        (world.signed_as(|header| header.typ = Some("logout+jwt".into())), "another kind"),
        (world.signed(json!({"events": {}})), "another kind"),
        (
            "q7W5-opaque-x8Y".into(),
            "an opaque token, which only Auth0 can read: request the access token for an API audience",
        ),
        (format!("{header}..aXY.Y2lwaGVy.dGFn"), "an encrypted token"),
        ("a.b.c".into(), "not a JWT"),
        ("....".into(), "an encrypted token"),
        ("x.y".into(), "not a JWT"),
        (format!("{payload}.{header}.{signature}"), "not a JWT"),
        // Of somebody else, or for somebody else.
        (
            world.signed(json!({"iss": "https://localhost"})),
            "not issued by https://tenant.example/ or https://local",
        ),
        (world.signed(json!({"iss": "http://localhost/"})), "not issued by"),
        (world.signed(json!({"iss": "https://other.example/"})), "not issued by"),
        (world.signed(json!({"iss": null})), "not issued by"),
        (world.signed(json!({"iss": ["https://localhost/"]})), "not a JWT"),
        (world.signed(json!({"aud": "https://localhost/api/v2/"})), "for another audience"),
        (world.signed(json!({"aud": ["https://localhost/userinfo"]})), "for another audience"),
        (world.signed(json!({"aud": []})), "for another audience"),
        (world.signed(json!({"aud": null})), "for another audience"),
        (world.signed(json!({"aud": format!("{API}/")})), "for another audience"),
        // Out of its time.
        (world.signed(json!({"exp": null})), "does not say when it expires"),
        (world.signed(json!({"exp": (now + 3600).to_string()})), "not a JWT"),
        (world.signed(json!({"exp": now - 60})), "has expired"),
        (world.signed(json!({"exp": 0})), "has expired"),
        (world.signed(json!({"nbf": now + 61})), "not valid yet"),
        (world.signed(json!({"iat": now + 61})), "not valid yet"),
        // About nobody.
        (
            world.signed(json!({"sub": "demo-client@clients", "gty": "client-credentials"})),
            "of an application",
        ),
        (world.signed(json!({"sub": "demo-client@clients"})), "of an application"),
        (world.signed(json!({"sub": "agent", "gty": "client-credentials"})), "of an application"),
        (world.signed(json!({"sub": null})), "does not name a valid user"),
        (world.signed(json!({"sub": ""})), "does not name a valid user"),
        (world.signed(json!({"sub": "x".repeat(301)})), "longer than 300"),
        (world.signed(json!({"sub": "auth0|\n"})), "control character"),
        (world.signed(json!({"sub": 7})), "not a JWT"),
    ];
    for (token, words) in cases {
        let detail = refusal(&world.me(&token).await, &token);
        assert!(detail.contains(words), "{words}: {detail}");
        let by_identities = world.me_at("/v1/me/identities", &token).await;
        assert_eq!(refusal(&by_identities, &token), detail, "both routes judge alike");
    }
    assert_eq!(world.user_calls(), 0, "nobody was looked up");
    assert_eq!(world.me(&good).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_no_bearer_token_is_refused() {
    let world = world().await;
    let good = world.session(users::GOOGLE);
    let sent = async |values: &[String]| {
        let mut headers = vec![HEADER];
        headers.extend(values.iter().map(|value| ("authorization", value.as_str())));
        world.send("GET", "/v1/me/token", &headers).await
    };
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer "] {
        assert_eq!(sent(&[format!("{scheme} {good}")]).await.status, 200, "{scheme}");
    }
    for (values, words) in [
        (vec![], "carries no user token"),
        (vec![format!("Bearer {good}"), format!("Bearer {good}")], "several"),
        (vec!["Basic eDp5".to_owned(), format!("Bearer {good}")], "several"),
        (vec!["Basic eDp5".to_owned()], "not of the form"),
        (vec![format!("Basic {good}")], "not of the form"),
        (vec![format!("DPoP {good}")], "not of the form"),
        (vec![good.clone()], "not of the form"),
        (vec!["Bearer".to_owned()], "not of the form"),
        (vec!["Bearer ".to_owned()], "not of the form"),
        (vec![format!("Bearer {good} {good}")], "not of the form"),
        (vec![format!("Bearer {good}, Bearer {good}")], "not of the form"),
        (vec![format!("Bearer\t{good}")], "not of the form"),
        (vec![format!("Bearer \u{e9}{good}")], "not of the form"),
    ] {
        let detail = refusal(&sent(&values).await, &good);
        assert!(detail.contains(words), "{words}: {detail}");
    }
    // Where nobody asks for it, it is nobody's business.
    let path = World::path(users::GOOGLE);
    let unasked = world.send("GET", &path, &[HEADER, ("authorization", "Bearer x")]).await;
    assert_eq!(unasked.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_too_long_is_not_looked_at() {
    let world = world().await;
    let padded = |size: usize| world.signed(json!({"padding": "x".repeat(size)}));
    assert_eq!(world.me(&padded(8_000)).await.status, 200);
    let long = padded(10_000);
    assert!(refusal(&world.me(&long).await, &long).contains("longer than the limit"));
    let enormous = world.me(&padded(30_000)).await;
    assert_eq!(enormous.problem(), (431, "headers_too_large".into()));
    assert_eq!(world.me(&padded(75_000)).await.status, 431, "100 KB");
    assert_eq!(world.me(&world.session(users::GOOGLE)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_another_tenant_signed_is_refused_whatever_it_says() {
    let world = world().await;
    let options = TenantOptions { own_keys: true, ..TenantOptions::default() };
    let other = Tenant::new(Clock::simulated(Timestamp::parse(START).unwrap()), options).unwrap();
    let kid = published(&world.tenant).await["kid"].clone();
    let own = other.sign(&world.claims(json!({}))).unwrap();
    assert!(refusal(&world.me(&own).await, &own).contains("does not publish"));
    let posing = |header: &mut Header| header.kid = Some(kid.as_str().unwrap().to_owned());
    let posing = other.sign_as(posing, &world.claims(json!({}))).unwrap();
    assert!(refusal(&world.me(&posing).await, &posing).contains("signature is invalid"));
}

#[tokio::test(start_paused = true)]
async fn times_are_judged_by_the_daemons_own_clock_with_a_minute_to_spare() {
    let world = world().await;
    let start = world.clock.now().wall;
    let expiring = world.signed(json!({"exp": start.as_secs() + 600}));
    let coming = world.signed(json!({"nbf": start.as_secs() + 600, "exp": start.as_secs() + 7200}));
    let at = |millis: i64| world.clock.step_wall(Timestamp::from_millis(start.as_millis() + millis));
    for (millis, status) in [(0, 200), (599_999, 200), (600_000, 200), (659_999, 200), (660_000, 401)] {
        at(millis);
        assert_eq!(world.me(&expiring).await.status, status, "{millis} ms");
    }
    for (millis, status) in [(0, 401), (539_999, 401), (540_000, 200), (600_000, 200)] {
        at(millis);
        assert_eq!(world.me(&coming).await.status, status, "{millis} ms");
    }
    at(0);
    sleep(Duration::from_secs(660)).await;
    assert!(refusal(&world.me(&expiring).await, &expiring).contains("expired"), "time passes too");
}

// When the tenant is asked for its keys.

#[tokio::test(start_paused = true)]
async fn a_key_that_appeared_after_rotations_works_at_once_with_one_request() {
    let world = world().await;
    let before = world.session(users::GOOGLE);
    assert_eq!(world.me(&before).await.status, 200);
    // The next key was published beforehand.
    world.tenant.rotate_signing_key().unwrap();
    assert_eq!(world.me(&world.session(users::GOOGLE)).await.status, 200);
    assert_eq!(world.key_calls(), 1);
    world.tenant.rotate_signing_key().unwrap();
    let tokens: Vec<_> = (0..50).map(|_| world.session(users::GOOGLE)).collect();
    world.tenant.fault(Endpoint::Keys, Fault::Latency(SECOND));
    let all = futures(tokens.iter().map(|token| world.me(token))).await;
    assert!(all.iter().all(|got| got.status == 200));
    assert_eq!(world.key_calls(), 2, "one more, for all of them");
    assert_eq!(world.me(&before).await.status, 200, "what the previous key signed is still good");
    assert_eq!(world.key_calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_appears_while_keys_are_on_their_way_is_found_all_the_same() {
    let world = world().await;
    assert_eq!(world.me(&world.session(users::GOOGLE)).await.status, 200);
    sleep(11 * MINUTE).await;
    // A refresh whose answer tells the state before the rotation.
    world.tenant.fault_next(Endpoint::Keys, 1, Fault::LateAnswer(2 * SECOND));
    assert_eq!(world.me(&world.session(users::GOOGLE)).await.status, 200);
    sleep(SECOND).await;
    world.tenant.rotate_signing_key().unwrap();
    world.tenant.rotate_signing_key().unwrap();
    assert_eq!(world.me(&world.session(users::GOOGLE)).await.status, 200);
    assert_eq!(world.key_calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_asks_the_tenant_once_in_five_minutes() {
    let world = world().await;
    assert_eq!(world.me(&world.session(users::GOOGLE)).await.status, 200);
    let flood = async |wave: usize| {
        let tokens: Vec<_> =
            (0..40).map(|n| world.signed_as(|header| header.kid = Some(format!("{wave}-{n}")))).collect();
        for got in futures(tokens.iter().map(|token| world.me(token))).await {
            assert_eq!(got.problem(), (401, "invalid_user_token".into()));
        }
    };
    for wave in 0..30 {
        flood(wave).await;
        sleep(10 * SECOND).await;
    }
    assert_eq!(world.key_calls(), 2, "one look in 300 s, besides the first");
    flood(30).await;
    assert_eq!(world.key_calls(), 3);
    assert_eq!(world.user_calls(), 1);
    // What is no good anyhow makes nobody look for its key.
    sleep(5 * MINUTE).await;
    for change in [json!({"iss": "https://other.example/"}), json!({"aud": "x"}), json!({"exp": 5})] {
        let claims = world.claims(change);
        let token = world.tenant.sign_as(|header| header.kid = Some("unknown".into()), &claims).unwrap();
        refusal(&world.me(&token).await, &token);
    }
    assert_eq!(world.key_calls(), 3);
}

/// Guarantee 5 for each uid. What one makes up keeps no other from a key that is new.
#[tokio::test(start_paused = true)]
async fn a_key_that_one_uid_made_up_keeps_no_other_uid_from_a_new_one() {
    let world = world().await;
    let verify = async |uid: u32, token: &str| {
        let user_tokens = world.running.services().user_tokens.read().unwrap().clone().unwrap();
        user_tokens.verify(&Secret::new(token), Flow::Uid(uid)).await
    };
    let made_up = |n: usize| world.signed_as(|header| header.kid = Some(format!("made-up-{n}")));
    assert!(verify(1, &world.session(users::GOOGLE)).await.is_ok());
    assert!(verify(1, &made_up(0)).await.is_err());
    assert_eq!(world.key_calls(), 2);
    // Two, because the next key is published before it signs.
    let renew = || (0..2).for_each(|_| world.tenant.rotate_signing_key().unwrap());
    renew();
    assert!(verify(1, &made_up(1)).await.is_err(), "it has had its search");
    assert_eq!(world.key_calls(), 2);
    assert!(verify(2, &world.session(users::GOOGLE)).await.is_ok());
    assert_eq!(world.key_calls(), 3);
    // A search that found its key is nothing to be quiet about.
    renew();
    assert!(verify(2, &world.session(users::GOOGLE)).await.is_ok());
    assert_eq!(world.key_calls(), 4);
    // And however many uids there are, the tenant is not asked for each of them.
    for uid in 10..1000 {
        assert!(verify(uid, &made_up(2)).await.is_err());
    }
    assert!(world.key_calls() <= 4 + 16, "{}", world.key_calls());
    sleep(5 * MINUTE).await;
    let before = world.key_calls();
    assert!(verify(1, &made_up(3)).await.is_err());
    assert_eq!(world.key_calls(), before + 1, "after five minutes it may search again");
}

#[tokio::test(start_paused = true)]
async fn keys_in_use_are_replaced_behind_the_token_that_uses_them() {
    let world = world().await;
    let token = world.session(users::GOOGLE);
    assert_eq!(world.me(&token).await.status, 200);
    world.tenant.fault(Endpoint::Keys, Fault::Latency(3 * SECOND));
    for _ in 0..9 {
        sleep(MINUTE).await;
        assert_eq!(world.me(&token).await.status, 200);
    }
    assert_eq!(world.key_calls(), 1, "they are young");
    sleep(MINUTE).await;
    // The tenant drops the key: a token of it is used once more, and asks.
    let other = json!({ "keys": [{ "kty": "RSA", "kid": "k", "n": "Q".repeat(342), "e": "AQAB" }] });
    let gone = Fault::Status { status: 200, headers: vec![], body: other.to_string() };
    world.tenant.fault(Endpoint::Keys, gone);
    let before = tokio::time::Instant::now();
    assert_eq!(world.me(&token).await.status, 200);
    assert!(before.elapsed() < SECOND, "nobody waits for it");
    sleep(4 * SECOND).await;
    assert_eq!(world.key_calls(), 2);
    assert!(refusal(&world.me(&token).await, &token).contains("does not publish"));
}

#[tokio::test(start_paused = true)]
async fn keys_that_nobody_has_used_for_long_are_replaced_before_they_are_used() {
    let world = world().await;
    let token = world.session(users::GOOGLE);
    assert_eq!(world.me(&token).await.status, 200);
    world.clock.suspend(8 * 60 * MINUTE);
    let other = json!({ "keys": [{ "kty": "RSA", "kid": "k", "n": "Q".repeat(342), "e": "AQAB" }] });
    let gone = Fault::Status { status: 200, headers: vec![], body: other.to_string() };
    world.tenant.fault(Endpoint::Keys, gone);
    assert!(refusal(&world.me(&token).await, &token).contains("does not publish"));
}

#[tokio::test(start_paused = true)]
async fn while_the_tenant_is_away_the_keys_held_are_used_and_it_is_not_hammered() {
    let world = world().await;
    // Whose token has no end.
    let token = world.session(users::GITHUB);
    assert_eq!(world.me(&token).await.status, 200);
    world.tenant.fault(Endpoint::Keys, Fault::StallHeaders);
    for minute in 0..180 {
        let before = tokio::time::Instant::now();
        assert_eq!(world.me(&token).await.status, 200, "{minute}");
        assert!(before.elapsed() < SECOND, "{minute}");
        sleep(MINUTE).await;
    }
    let calls = world.key_calls();
    assert!((100..=180).contains(&calls), "it is tried once a minute: {calls}");
    // Whether an unknown key is the tenant's cannot be told now.
    let unknown = world.signed_as(|header| header.kid = Some("unknown".into()));
    let got = world.me(&unknown).await;
    assert_eq!(got.problem(), (504, "upstream_timeout".into()));
    assert!(got.retry_after().is_some_and(|seconds| (1..=60).contains(&seconds)));
    world.tenant.clear(Endpoint::Keys);
    sleep(2 * MINUTE).await;
    assert_eq!(world.me(&unknown).await.problem(), (401, "invalid_user_token".into()));
    assert_eq!(world.me(&token).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn without_any_keys_the_answer_is_that_the_tenant_cannot_be_asked() {
    let status = |status| Fault::Status { status, headers: vec![], body: String::new() };
    let body = |body: &str| Fault::Status { status: 200, headers: vec![], body: body.into() };
    let redirect = Fault::Redirect("https://elsewhere.example/keys".into());
    for (fault, problem, attempts) in [
        (status(503), (503, "upstream_unavailable"), 3),
        (Fault::ResetWhileReading, (503, "upstream_unavailable"), 3),
        (Fault::StallBody, (504, "upstream_timeout"), 1),
        (Fault::Html200, (503, "upstream_unavailable"), 3),
        (Fault::Empty200, (503, "upstream_unavailable"), 3),
        (Fault::RateLimited(WaitHint::Seconds(20)), (503, "upstream_rate_limited"), 1),
        (redirect, (502, "upstream_error"), 1),
        (status(404), (502, "upstream_error"), 1),
        (body(r#"{"keys":[]}"#), (502, "upstream_error"), 1),
        (body(r#"{"keys":[{"kty":"EC","kid":"k"}]}"#), (502, "upstream_error"), 1),
        (body(r#"{"keys":"none"}"#), (503, "upstream_unavailable"), 3),
    ] {
        let world = world().await;
        let name = format!("{fault:?}");
        world.tenant.fault(Endpoint::Keys, fault);
        let token = world.session(users::GOOGLE);
        let all = futures((0..100).map(|_| world.me(&token))).await;
        for got in &all {
            assert_eq!(got.problem(), (problem.0, problem.1.into()), "{name}");
            assert!(got.retry_after().is_some_and(|seconds| seconds >= 1), "{name}");
            assert!(got.header("www-authenticate").is_none());
            assert!(!got.detail().contains("elsewhere"));
        }
        assert_eq!(world.key_calls(), attempts, "{name}: one flight for a hundred");
        assert_eq!(world.me(&token).await.problem(), (problem.0, problem.1.into()), "{name}");
        assert_eq!(world.key_calls(), attempts, "{name}: and none at once after it");
        // What is no good is no good, keys or not.
        let expired = world.signed(json!({"exp": 5}));
        assert!(refusal(&world.me(&expired).await, &expired).contains("expired"));
        assert_eq!(world.user_calls(), 0);
        world.tenant.clear_all();
        sleep(Duration::from_secs(all[0].retry_after().unwrap())).await;
        assert_eq!(world.me(&token).await.status, 200, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_paid_for_from_the_budget() {
    let settings = "[upstream]\nrequests_per_second = 0.1\nburst = 2";
    let world = world_with(TenantOptions::default(), settings).await;
    // The Management token was the first of two, and this lookup is the second.
    assert_eq!(world.get(&World::path(users::GOOGLE)).await.status, 200);
    let token = world.session(users::GOOGLE);
    let got = world.me(&token).await;
    assert_eq!(got.problem(), (503, "overloaded".into()));
    assert!(got.detail().contains("[upstream]"), "{}", got.detail());
    assert_eq!(world.key_calls(), 0);
    sleep(Duration::from_secs(got.retry_after().unwrap().max(10))).await;
    assert_eq!(world.me(&token).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_first_tokens_are_one_request_whoever_hangs_up() {
    let world = world().await;
    world.tenant.fault(Endpoint::Keys, Fault::Latency(SECOND));
    let token = world.session(users::GOOGLE);
    let impatient = tokio::time::timeout(SECOND / 2, world.me(&token)).await;
    assert!(impatient.is_err());
    let all = futures((0..200).map(|_| world.me(&token))).await;
    assert!(all.iter().all(|got| got.status == 200));
    assert_eq!((world.key_calls(), world.user_calls()), (1, 1));
}

// Over TLS, with the real binary.

#[tokio::test]
async fn over_tls_a_key_set_is_bounded_and_a_redirect_not_followed() {
    let redirect = |domain: String| Fault::Redirect(format!("https://{domain}/.well-known/jwks.json"));
    for fault in [|_| Fault::Body(2 << 20), |_| Fault::GzipBomb, redirect] {
        let world = World::over_tls(TenantOptions::default(), SETTINGS).await;
        world.ready().await;
        let token = world.session(users::GOOGLE);
        world.tenant.fault_next(Endpoint::Keys, 1, fault(world.tenant.domain()));
        let got = world.me(&token).await;
        assert_eq!(got.problem(), (502, "upstream_error".into()));
        assert_eq!(world.key_calls(), 1);
        sleep(Duration::from_secs(got.retry_after().unwrap())).await;
        assert_eq!(world.me(&token).await.json()["user_id"], users::GOOGLE);
    }
}

#[test]
fn nothing_of_a_users_own_token_shows_in_the_log() {
    let deployment = Deployment::new(&format!("{SETTINGS}\n[log]\nlevel = \"trace\""));
    let mut daemon = deployment.start();
    let good = deployment.tenant.user_token(users::GOOGLE, API, MINUTE).unwrap();
    let expired = deployment.tenant.user_token(users::GITHUB, "elsewhere", MINUTE).unwrap();
    let forged = format!("{good}x");
    let mut tokens = vec![good, expired, forged, "an-opaque-canary".to_owned()];
    for (token, status) in tokens.iter().zip(["200", "401", "401", "401"]) {
        let mut stream = UnixStream::connect(&daemon.socket).unwrap();
        write!(
            stream,
            "GET /v1/me/token HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }
    daemon.until("all refusals are said", |daemon| daemon.log().matches("invalid_user_token").count() == 3);
    let log = daemon.log();
    assert!(log.contains("me_token") && log.contains("invalid_user_token"), "{log}");
    tokens.push(users::GITHUB.to_owned());
    for part in tokens.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 4) {
        assert!(!log.contains(part), "{part} is in the log");
    }
}

/// Waits for all of them at once.
async fn futures<F: Future>(each: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = each.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in waiting.iter_mut().filter(|(_, output)| output.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(cx) {
                *output = Some(value);
            }
        }
        match waiting.iter().all(|(_, output)| output.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    waiting.into_iter().map(|(_, output)| output.unwrap()).collect()
}

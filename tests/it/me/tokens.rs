//! Which user tokens are accepted, for which user, and why others are not.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom::clock::Clock;
use cloakroom::domain::freshness::Timestamp;
use cloakroom::fake_auth0::{Tenant, TenantOptions, users};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{API, APP, HEADER, SETTINGS, encoded, published, refusal, world, world_with};
use crate::support::in_memory::START;
use crate::support::world::World;

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
async fn a_client_limited_to_me_needs_each_users_own_token() {
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

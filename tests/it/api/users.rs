//! The routes of users: tokens, identities, purges and reports.

use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions, WaitHint, users};
use serde_json::{Value, json};

use super::{HEADER, raw, world, world_with};
use crate::support::world::World;

#[tokio::test(start_paused = true)]
async fn a_token_answer_has_every_field_of_the_contract() {
    let world = world().await;
    let cold = world.get(&World::path(users::GOOGLE)).await;
    assert_eq!(cold.status, 200);
    assert_eq!(cold.header("content-type"), Some("application/json"));
    assert_eq!(cold.header("cache-control"), Some("no-store"));
    assert_eq!((cold.header("cloakroom-cache"), cold.header("age")), (Some("miss"), Some("0")));
    assert!(cold.header("cloakroom-request-id").is_some());
    let user = world.tenant.user(users::GOOGLE).unwrap();
    let mut body = cold.json();
    let fingerprint = body["fingerprint"].take();
    assert_eq!(fingerprint.as_str().unwrap().len(), 16);
    assert_eq!(
        body,
        json!({
            "user_id": users::GOOGLE, "connection": "google-oauth2", "provider": "google-oauth2",
            "identity_user_id": "103547991597142817347",
            "access_token": user["identities"][0]["access_token"], "token_type": "Bearer",
            // Issued a minute before the start, for 3,599 seconds.
            "expires_at": "2026-11-22T10:58:59Z", "expires_in": 3539, "expiry_basis": "login",
            "source": "identities", "scopes": null,
            "fetched_at": "2026-11-22T10:00:00Z", "fingerprint": null,
        })
    );

    tokio::time::sleep(Duration::from_millis(61_500)).await;
    let warm = world.get(&World::path(users::GOOGLE)).await;
    assert_eq!((warm.header("cloakroom-cache"), warm.header("age")), (Some("hit"), Some("61")));
    assert_eq!(warm.json()["expires_in"], 3477, "rounded down");
    assert_eq!(warm.json()["fingerprint"], fingerprint);
    assert_ne!(warm.header("cloakroom-request-id"), cold.header("cloakroom-request-id"));
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_provider_is_answered_in_its_own_way() {
    let world = world().await;
    let answer = async |user| world.get(&World::path(user)).await.json();
    let github = answer(users::GITHUB).await;
    assert_eq!(github["identity_user_id"], "583231", "Auth0 sends a number; here it is always text");
    assert_eq!(
        (&github["expires_at"], &github["expires_in"], &github["expiry_basis"]),
        (&Value::Null, &Value::Null, &json!("none"))
    );
    assert_eq!(answer(users::ENTRA).await["expiry_basis"], "jwt");
    let twitter = answer(users::TWITTER).await;
    assert!(twitter["access_token_secret"].as_str().is_some_and(|second| !second.is_empty()));
    assert_eq!(twitter["token_type"], "OAuth");
    assert_eq!(answer(users::TEXT_EXPIRY).await["expiry_basis"], "login");
    assert_eq!(answer(users::SLASH).await["user_id"], users::SLASH);
}

#[tokio::test(start_paused = true)]
async fn an_identity_is_selected_by_connection_or_provider() {
    let world = world().await;
    let path = World::path(users::LINKED);
    let both = world.get(&path).await;
    assert_eq!(both.problem(), (409, "ambiguous_identity".into()));
    assert_eq!(both.json()["connections"], json!(["google-oauth2", "github"]));
    for query in ["connection=github", "provider=github", "connection=github&provider=github"] {
        let one = world.get(&format!("{path}?{query}")).await.json();
        assert_eq!(one["connection"], "github", "{query}");
    }
    let none = world.get(&format!("{path}?connection=twitter")).await;
    assert_eq!(none.problem(), (404, "identity_not_found".into()));
    assert_eq!(none.json()["connections"], json!(["google-oauth2", "github"]));
    assert_eq!(world.tenant.calls_to(Endpoint::User).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn facts_about_users_have_their_own_codes() {
    let world = world().await;
    for (user, status, code) in [
        ("auth0|nobody", 404, "user_not_found"),
        (users::DATABASE, 404, "no_token"),
        (users::EMPTY_TOKEN, 404, "no_token"),
        (users::BLOCKED, 403, "user_blocked"),
        (users::EXPIRED, 410, "login_required"),
    ] {
        let got = world.get(&World::path(user)).await;
        assert_eq!(got.problem(), (status, code.into()), "{user}");
        assert!(!got.detail().is_empty());
    }
    let expired = world.get(&World::path(users::EXPIRED)).await;
    assert_eq!(expired.json()["expired_at"], "2017-03-15T08:14:31Z");
    assert_eq!(expired.retry_after(), Some(30));
}

#[tokio::test(start_paused = true)]
async fn identities_come_without_tokens() {
    let world = world().await;
    let path = World::path(users::LINKED).replace("/token", "/identities");
    let got = world.get(&path).await;
    assert_eq!((got.status.as_u16(), got.header("cloakroom-cache")), (200, Some("miss")));
    let body = got.json();
    assert_eq!(body["blocked"], false);
    let names: Vec<_> = body["identities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["connection"], &one["token"]))
        .collect();
    assert_eq!(
        names,
        [(&json!("google-oauth2"), &json!("available")), (&json!("github"), &json!("available"))]
    );
    for identity in world.tenant.user(users::LINKED).unwrap()["identities"].as_array().unwrap() {
        for secret in ["access_token", "refresh_token"] {
            if let Some(secret) = identity[secret].as_str() {
                assert!(!String::from_utf8_lossy(&got.body).contains(secret));
            }
        }
    }
    let state = async |user: &str| {
        let got = world.get(&World::path(user).replace("/token", "/identities")).await.json();
        (got["blocked"].clone(), got["identities"][0]["token"].clone())
    };
    assert_eq!(state(users::EXPIRED).await, (json!(false), json!("expired")));
    assert_eq!(state(users::DATABASE).await, (json!(false), json!("none")));
    assert_eq!(state(users::BLOCKED).await.0, json!(true));
}

#[tokio::test(start_paused = true)]
async fn purging_makes_the_next_lookup_ask() {
    let world = world().await;
    let path = World::path(users::GOOGLE);
    let state = async || world.get(&path).await.header("cloakroom-cache").unwrap().to_owned();
    assert_eq!((state().await, state().await), ("miss".into(), "hit".into()));
    for target in [path.trim_end_matches("/token"), "/v1/users"] {
        let purged = world.send("DELETE", target, &[HEADER]).await;
        assert_eq!((purged.status.as_u16(), purged.body.len()), (204, 0));
        assert_eq!(state().await, "miss", "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_is_answered_with_what_became_of_it() {
    let world = world().await;
    let path = World::path(users::GOOGLE);
    let fingerprint = world.get(&path).await.json()["fingerprint"].as_str().unwrap().to_owned();
    let report = async |user: &str, body: String| {
        let path = World::path(user).replace("/token", "/report");
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\nconnection: close\r\n");
        raw(&world, format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
    };
    let body = json!({"fingerprint": fingerprint}).to_string();
    assert!(report(users::JOHN, body.clone()).await.ends_with(r#"{"outcome":"unknown"}"#));
    assert!(report(users::GOOGLE, body.clone()).await.ends_with(r#"{"outcome":"dropped"}"#));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = world.get(&path).await;
    assert_eq!(refused.problem(), (410, "login_required".into()));
    assert!(refused.json().get("expired_at").is_none(), "it has not expired");
    world.tenant.login(users::GOOGLE, "google-oauth2").unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(world.get(&path).await.status, 200);
    assert!(report(users::GOOGLE, body).await.ends_with(r#"{"outcome":"already_replaced"}"#));
    let in_a_list = json!([fingerprint]).to_string();
    for wrong in ["", "{}", "[]", r#"{"fingerprint":"short"}"#, r#"{"fingerprint":7}"#, &in_a_list] {
        let answer = report(users::GOOGLE, wrong.into()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains(r#""parameter":"fingerprint""#),
            "{answer}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_asks_for_in_vain_has_its_own_codes() {
    let world = world_with("[upstream]\nrequests_per_second = 1\nburst = 4").await;
    let path = World::path(users::GOOGLE);
    let short = world.get(&format!("{path}?min_ttl=36000")).await;
    assert_eq!(short.problem(), (422, "min_ttl_unsatisfiable".into()));
    assert_eq!(short.json()["expires_in"], 3539);
    assert!(short.retry_after().is_some());
    for _ in 0..2 {
        assert_eq!(world.get(&format!("{path}?fresh=true")).await.header("cloakroom-cache"), Some("miss"));
    }
    let spent = world.get(&format!("{path}?fresh=true")).await;
    assert_eq!(spent.problem(), (429, "rate_limited".into()));
    assert!(spent.retry_after().is_some());
    assert_eq!(world.get(&path).await.header("cloakroom-cache"), Some("hit"), "what is held is not touched");
}

#[tokio::test(start_paused = true)]
async fn failures_upstream_have_their_own_codes_and_say_when_to_ask_again() {
    for (fault, status, code) in [
        (Fault::RefuseConnections, 503, "upstream_unavailable"),
        (Fault::ResetWhileReading, 503, "upstream_unavailable"),
        (Fault::Truncate, 503, "upstream_unavailable"),
        (Fault::Edge503Html, 503, "upstream_unavailable"),
        (Fault::StallHeaders, 504, "upstream_timeout"),
        (Fault::StallBody, 504, "upstream_timeout"),
        (Fault::RateLimited(WaitHint::Seconds(9)), 503, "upstream_rate_limited"),
        (Fault::RateLimited(WaitHint::None), 503, "upstream_rate_limited"),
        (Fault::Html200, 503, "upstream_unavailable"),
        (Fault::Empty200, 503, "upstream_unavailable"),
        (Fault::Redirect("https://elsewhere.example/".into()), 502, "upstream_error"),
        (Fault::Unauthorized, 503, "management_token_unavailable"),
    ] {
        let world = world().await;
        world.tenant.fault(Endpoint::User, fault.clone());
        let begun = tokio::time::Instant::now();
        let got = world.get(&World::path(users::GOOGLE)).await;
        assert_eq!(got.problem(), (status, code.into()), "{fault:?}");
        assert!(got.retry_after().is_some(), "{fault:?}");
        assert!(begun.elapsed() <= Duration::from_secs(5), "within tenant.request_timeout: {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_management_token_the_answer_says_whether_waiting_helps() {
    let permanent = async |fault: Option<Fault>| {
        let world = World::simulated(TenantOptions::default(), "").await;
        match fault {
            Some(fault) => world.tenant.fault(Endpoint::Token, fault),
            None => world.tenant.set_client_grant(false),
        }
        let got = world.get(&World::path(users::GOOGLE)).await;
        assert_eq!(got.problem(), (503, "management_token_unavailable".into()));
        (got.json()["permanent"].clone(), got.retry_after().unwrap())
    };
    let (passing, soon) = permanent(Some(Fault::Edge503Html)).await;
    let (lasting, late) = permanent(None).await;
    assert_eq!((passing, lasting), (json!(false), json!(true)));
    // The keeper waits for a minute or more; callers look again sooner, because a person may end that.
    assert!(soon <= 2 && late == 30, "{soon} {late}");
}

/// The tutorials' sample profiles as they are printed there, in shape and dates: years old.
#[tokio::test(start_paused = true)]
async fn the_tutorials_sample_profiles_are_read_as_real_input() {
    let world = world().await;
    for name in ["one-google-identity", "dated-google-identity"] {
        let text = std::fs::read_to_string(format!("tests/profiles/{name}.json")).unwrap();
        let profile: Value = serde_json::from_str(&text).unwrap();
        let id = profile["user_id"].as_str().unwrap().to_owned();
        assert!(world.tenant.put_user(profile.clone()));
        let got = world.get(&World::path(&id)).await;
        match profile["last_login"].as_str() {
            // Neither lifetime nor login are known: nothing says that it is dead.
            None => assert_eq!(got.json()["access_token"], profile["identities"][0]["access_token"]),
            // A lifetime of an hour, and a login in 2017.
            Some(_) => {
                assert_eq!(got.problem(), (410, "login_required".into()));
                assert_eq!(got.json()["expired_at"], "2017-03-15T08:14:31Z");
                // The same user, logged in just now.
                world.tenant.login(&id, "google-oauth2").unwrap();
                world.send("DELETE", World::path(&id).trim_end_matches("/token"), &[HEADER]).await;
                assert_eq!(world.get(&World::path(&id)).await.status, 200);
            }
        }
    }
}

//! The tenant's keys: when they are asked for, how often, and what is used meanwhile.

use std::time::Duration;

use cloakroom::domain::priority::Flow;
use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions, WaitHint, users};
use cloakroom::secret::Secret;
use serde_json::json;
use tokio::time::sleep;

use super::{MINUTE, SECOND, SETTINGS, refusal, world, world_with};
use crate::support::futures::join_all;
use crate::support::world::World;

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
    let all = join_all(tokens.iter().map(|token| world.me(token))).await;
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
        for got in join_all(tokens.iter().map(|token| world.me(token))).await {
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
        let user_tokens = world.running.services().user_tokens().unwrap();
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
        let all = join_all((0..100).map(|_| world.me(&token))).await;
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
    let all = join_all((0..200).map(|_| world.me(&token))).await;
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

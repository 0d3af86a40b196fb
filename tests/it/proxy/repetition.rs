//! A refused token is dropped, and the call is made once more with another one.

use cloakroom::fake_auth0::users;

use super::*;
use crate::support::futures::join_all;

/// The path of a lookup, which shows the token that is cached.
async fn token(counter: &Counter, user: &str) -> Got {
    counter.world.get(&World::path(user)).await
}

#[tokio::test]
async fn a_dead_token_is_replaced_and_the_call_made_once_more() {
    let counter = Counter::new().await;
    let first = token(&counter, users::GOOGLE).await.json()["access_token"].as_str().unwrap().to_owned();
    counter.api.revoke(&first);
    counter.log_in(users::GOOGLE, "ya29.another");
    let path = path(users::GOOGLE, "/upload");
    let got = counter.world.send_with("POST", &path, MEANT, "the same body").await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(got.header("cloakroom-verdict"), None);
    let calls = counter.api.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].field("authorization").as_deref(), Some("Bearer ya29.another"));
    assert_eq!(calls[1].body_bytes, 13);
    assert!(calls[0].body_sha256.is_some());
}

#[tokio::test]
async fn the_same_token_is_not_sent_again_and_a_login_is_required_next() {
    let counter = Counter::new().await;
    let first = token(&counter, users::GOOGLE).await.json()["access_token"].as_str().unwrap().to_owned();
    counter.api.revoke(&first);
    let got = counter.get(users::GOOGLE, "/me").await;
    assert_eq!(got.status, 401, "{got:?}");
    assert_eq!(got.header("cloakroom-upstream"), Some("1"));
    assert_eq!(got.header("cloakroom-verdict"), Some("token_dead"));
    assert!(got.header("cloakroom-remedy").unwrap().starts_with("connection=google-oauth2&"), "{got:?}");
    assert_eq!(counter.api.calls().len(), 1);
    let got = counter.get(users::GOOGLE, "/me").await;
    assert_eq!(got.problem(), (410, "login_required".into()));
    assert_eq!(got.json()["reason"], "reported");
    assert_eq!(counter.api.calls().len(), 1);
}

#[tokio::test]
async fn a_hundred_refusals_at_once_ask_auth0_once() {
    let counter = Counter::new().await;
    let first = token(&counter, users::GOOGLE).await.json()["access_token"].as_str().unwrap().to_owned();
    counter.api.revoke(&first);
    counter.log_in(users::GOOGLE, "ya29.another");
    let before = counter.world.user_calls();
    let answers = join_all((0..50).map(|_| counter.get(users::GOOGLE, "/me"))).await;
    for got in answers {
        assert_eq!(got.status, 200, "{got:?}");
    }
    assert_eq!(counter.world.user_calls() - before, 1);
}

#[tokio::test]
async fn nothing_but_a_dead_token_is_repeated() {
    let counter = Counter::new().await;
    for tail in ["/status/403", "/status/429", "/status/500", "/status/503"] {
        counter.api.forget_calls();
        let got = counter.get(users::GOOGLE, tail).await;
        assert_eq!(got.header("cloakroom-upstream"), Some("1"), "{tail}");
        counter.only_call();
    }
    assert_eq!(token(&counter, users::GOOGLE).await.status, 200, "and the token is kept");
}

#[tokio::test]
async fn a_client_that_provokes_refusals_does_not_make_the_daemon_ask_each_time() {
    let options = ApiOptions { accepts_any: true, ..ApiOptions::default() };
    let counter = Counter::with(options, "", ALL).await;
    assert_eq!(counter.get(users::GOOGLE, "/me").await.status, 200);
    let (before, mut refused) = (counter.world.user_calls(), 0);
    for number in 0..20 {
        // There is another token each time, so that nothing but the brake holds the daemon back.
        counter.log_in(users::GOOGLE, &format!("ya29.number-{number}"));
        let got = counter.get(users::GOOGLE, "/refuse/standard-dead").await;
        refused += usize::from(got.status == 401);
        assert_eq!(got.header("cloakroom-verdict"), Some("token_dead"), "{got:?}");
    }
    assert_eq!(refused, 20);
    let asked = counter.world.user_calls() - before;
    assert!((1..=2).contains(&asked), "{asked}: one drop, and one of the token that replaced it");
    assert_eq!(counter.get(users::GOOGLE, "/me").await.status, 200, "and the user's calls go on");
}

#[tokio::test]
async fn a_second_attempt_without_an_answer_is_not_told_as_the_refusal_before_it() {
    let counter = Counter::new().await;
    let first = token(&counter, users::GOOGLE).await.json()["access_token"].as_str().unwrap().to_owned();
    counter.api.revoke(&first);
    counter.log_in(users::GOOGLE, "ya29.another");
    let got = counter.world.send_with("POST", &path(users::GOOGLE, "/hang-up"), MEANT, "a write").await;
    assert_eq!(got.problem(), (503, "provider_unavailable".into()));
    assert_eq!(got.header("cloakroom-upstream"), None);
    assert_eq!(counter.api.calls().len(), 2);
}

//! A refused token is dropped, and the call is made once more with another one.

use std::time::Duration;

use cloakroom::fake_auth0::users;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::desk::{Desk, DeskOptions};
use super::streams::PATIENCE;
use super::*;
use crate::support::futures::join_all;

/// A lookup, which shows the token that is cached.
async fn token(counter: &Counter, user: &str) -> Got {
    counter.world.get(&World::path(user)).await
}

/// The token that is cached for the user; Auth0 has stored `ANOTHER` since.
async fn outdated(counter: &Counter, user: &str) -> String {
    let first = token(counter, user).await.json()["access_token"].as_str().unwrap().to_owned();
    counter.log_in(user, ANOTHER);
    first
}

const ANOTHER: &str = "ya29.another";

/// The most bytes of a body that are kept for a repetition.
const MOST_HELD: usize = 64 * 1024;

/// The tokens that the calls carried.
fn bearers(calls: &[ApiCall]) -> Vec<String> {
    calls.iter().map(|call| call.bearer().unwrap()).collect()
}

#[tokio::test]
async fn a_dead_token_is_replaced_and_the_call_made_once_more() {
    let counter = Counter::new().await;
    let first = outdated(&counter, users::GOOGLE).await;
    counter.api.revoke(&first);
    let path = path(users::GOOGLE, "/upload");
    let got = counter.world.send_with("POST", &path, MEANT, "the same body").await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(got.header("cloakroom-verdict"), None);
    let calls = counter.api.calls();
    assert_eq!(bearers(&calls), [&*first, ANOTHER]);
    assert_eq!((calls[1].body_bytes, &calls[1].body_sha256), (13, &calls[0].body_sha256));
}

#[tokio::test]
async fn a_body_beyond_64_kib_is_not_sent_again_and_its_token_is_dropped() {
    for (length, is_repeated) in [(MOST_HELD, true), (MOST_HELD + 1, false)] {
        let counter = Counter::new().await;
        let first = outdated(&counter, users::GOOGLE).await;
        counter.api.revoke(&first);
        let path = path(users::GOOGLE, "/upload");
        let got = counter.world.send_with("POST", &path, MEANT, &"x".repeat(length)).await;
        let calls = counter.api.calls();
        assert!(calls.iter().all(|call| call.body_bytes == length as u64 && call.body_is_complete));
        assert_eq!(got.header("cloakroom-upstream"), Some("1"));
        if is_repeated {
            assert_eq!((got.status.as_u16(), bearers(&calls)), (200, vec![first, ANOTHER.to_owned()]));
            assert_eq!(calls[0].body_sha256, calls[1].body_sha256);
            continue;
        }
        assert_eq!((got.status.as_u16(), got.header("cloakroom-verdict")), (401, Some("token_dead")));
        assert_eq!(got.json()["error"], "invalid_token", "the provider's own body");
        assert_eq!(bearers(&calls), [first]);
        counter.api.forget_calls();
        assert_eq!(counter.get(users::GOOGLE, "/me").await.status, 200);
        assert_eq!(bearers(&[counter.only_call()]), [ANOTHER]);
    }
}

#[tokio::test]
async fn a_body_that_is_not_complete_is_not_sent_again_and_its_token_is_dropped() {
    let counter = Counter::new().await;
    for (user, rest) in [
        (users::GOOGLE, "content-length: 1000\r\n\r\nten bytes."),
        (users::JOHN, "transfer-encoding: chunked\r\n\r\na\r\nten bytes.\r\n"),
    ] {
        let first = outdated(&counter, user).await;
        // Otherwise the API would read the whole body before it refuses.
        counter.api.accept(&first);
        let mut client = UnixStream::connect(&counter.world.socket).await.unwrap();
        let path = path(user, "/early?after=10");
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncloakroom-request: true\r\n{rest}");
        client.write_all(head.as_bytes()).await.unwrap();
        // The client keeps its side open, as if more was to come.
        let mut answer = String::new();
        timeout(PATIENCE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        for line in
            ["cloakroom-upstream: 1", "cloakroom-verdict: token_dead", "{\"error\":\"invalid_token\"}"]
        {
            assert!(answer.contains(line), "{line}: {answer}");
        }
        let call = counter.only_call();
        assert_eq!((bearers(std::slice::from_ref(&call)), call.body_is_complete), (vec![first], false));
        counter.api.forget_calls();
        assert_eq!(counter.get(user, "/me").await.status, 200);
        assert_eq!(bearers(&[counter.only_call()]), [ANOTHER]);
        counter.api.forget_calls();
    }
}

#[tokio::test]
async fn a_second_refusal_is_handed_on_and_a_login_is_required_next() {
    let counter = Counter::new().await;
    let first = outdated(&counter, users::GOOGLE).await;
    counter.api.revoke(&first);
    counter.api.revoke(ANOTHER);
    let path = path(users::GOOGLE, "/upload");
    let got = counter.world.send_with("POST", &path, MEANT, "the same body").await;
    assert_eq!((got.status.as_u16(), got.header("cloakroom-upstream")), (401, Some("1")), "{got:?}");
    assert_eq!(got.header("cloakroom-verdict"), Some("token_dead"));
    assert!(got.header("cloakroom-remedy").unwrap().starts_with("connection=google-oauth2&"), "{got:?}");
    assert_eq!(bearers(&counter.api.calls()), [&*first, ANOTHER]);
    for got in [counter.get(users::GOOGLE, "/me").await, token(&counter, users::GOOGLE).await] {
        assert_eq!(got.problem(), (410, "login_required".into()));
        assert_eq!(got.json()["reason"], "reported");
    }
    assert_eq!(counter.api.calls().len(), 2);
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
    const CALLS: usize = 100;
    let desk = Desk::new(DeskOptions { at_once: CALLS, ..DeskOptions::default() }).await;
    let (first, _) = desk.world.look_up(users::GOOGLE).await.unwrap();
    desk.api.revoke(&first);
    desk.log_in(users::GOOGLE, ANOTHER);
    let before = desk.world.user_calls();
    for got in join_all((0..CALLS).map(|_| desk.call(users::GOOGLE, "/me"))).await {
        assert_eq!(got.status, 200, "{got:?}");
    }
    assert_eq!(desk.world.user_calls() - before, 1);
    let sent = bearers(&desk.api.calls());
    assert!(sent[..CALLS].iter().all(|token| *token == first), "{sent:?}");
    assert!(sent[CALLS..].iter().all(|token| *token == ANOTHER), "{sent:?}");
    assert_eq!(sent.len(), 2 * CALLS);
}

#[tokio::test]
async fn a_token_of_linkedin_is_dropped_once_it_is_a_minute_old() {
    let desk = Desk::new(DeskOptions { proxy: "provider = \"linkedin\"", ..DeskOptions::default() }).await;
    assert_eq!(desk.call(users::GOOGLE, "/me").await.status, 200);
    let calls = desk.world.user_calls();
    for (later, next) in [(Duration::from_secs(30), 200), (Duration::from_secs(60), 410)] {
        desk.world.pass(later);
        let got = desk.call(users::GOOGLE, "/refuse/linkedin-dead").await;
        assert_eq!(
            (got.status.as_u16(), got.header("cloakroom-verdict")),
            (401, Some("token_dead")),
            "{got:?}"
        );
        assert_eq!(desk.call(users::GOOGLE, "/me").await.status, next, "{later:?}");
        assert_eq!(desk.world.user_calls() - calls, usize::from(next == 410));
    }
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
    let first = outdated(&counter, users::GOOGLE).await;
    counter.api.revoke(&first);
    let got = counter.world.send_with("POST", &path(users::GOOGLE, "/hang-up"), MEANT, "a write").await;
    assert_eq!(got.problem(), (503, "provider_unavailable".into()));
    assert_eq!(got.header("cloakroom-upstream"), None);
    assert_eq!(counter.api.calls().len(), 2);
}

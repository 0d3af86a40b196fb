//! The targets of requests, as bytes on the socket and as bytes that reach the API.

use std::cell::Cell;

use cloakroom::fake_auth0::users;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::management::desk;
use super::*;

/// What the daemon answers to a request for this target, byte for byte.
async fn send_raw(world: &World, method: &str, target: &[u8]) -> String {
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let rest = b" HTTP/1.1\r\nhost: localhost\r\ncloakroom-request: true\r\nconnection: close\r\n\r\n";
    stream.write_all(&[method.as_bytes(), b" ", target, rest].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A part of a target. Most are what no server reads in two ways.
fn piece() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        12 => prop::sample::select(vec![
            "a", "Z9", "-._", "/b", "/c", "%2F", "%2f", "%7C", "|", "~", "+", "@", ":", "$", "!", "*", "'", "(", ")", ",", "=",
            "%C3%A9", "%25", "%41", "...", "..a", "?", "&x", "&x=1",
        ]),
        1 => prop::sample::select(vec![
            "/", "//", "/.", "/..", "/../", "%2e", "%2E%2e", "/%2e/", "%252e%252e", ";", ";x=1", "/;", "\\", "%5c", "%00", "%09",
            "%7f", "%zz", "%", "%C0%AE", "\"", "<", ">", "^", "`", "{", "}", "[", "]", "é", "\t", "\u{1}", "\u{7f}",
            "&key=1", "&_method=PUT", "#", "#x?",
        ]),
    ]
}

/// Sends GETs of random tails below `base`, and compares the tails that have been received since the last one, as
/// `received` returns them, with what was sent.
fn check(runtime: &Runtime, world: &World, base: &str, received: impl Fn() -> Vec<String>) {
    let [accepted, refused] = [const { Cell::new(0) }; 2];
    let tails = prop::collection::vec(piece(), 0..10).prop_map(|pieces| format!("/{}", pieces.concat()));
    let config = Config { failure_persistence: None, ..Config::with_cases(256) };
    let outcome = TestRunner::new(config).run(&tails, |tail| {
        let answer = runtime.block_on(send_raw(world, "GET", format!("{base}{tail}").as_bytes()));
        if answer.contains("\r\ncloakroom-upstream: 1\r\n") {
            accepted.set(accepted.get() + 1);
            // A fragment is no part of a request.
            prop_assert_eq!(received(), [tail.split('#').next().unwrap()]);
        } else {
            refused.set(refused.get() + 1);
            prop_assert!(answer.starts_with("HTTP/1.1 400 "), "{}", answer);
            prop_assert!(received().is_empty());
        }
        Ok(())
    });
    outcome.unwrap();
    let counts = [accepted.get(), refused.get()];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_target_that_is_accepted_reaches_the_api_byte_for_byte_and_no_other_does() {
    let runtime = runtime();
    let counter = runtime.block_on(Counter::new());
    check(&runtime, &counter.world, &path(users::GOOGLE, ""), || {
        let calls = counter.api.calls();
        counter.api.forget_calls();
        calls.iter().map(ApiCall::target).collect()
    });
}

#[test]
fn a_target_that_is_accepted_reaches_the_management_api_byte_for_byte_and_no_other_does() {
    let runtime = runtime();
    let rule = "calls = [\"GET /**\"]\n[upstream]\nrequests_per_second = 5000";
    let world = runtime.block_on(desk(&["read:users"], rule));
    // The token of a call that has been made is there for all of them.
    assert_eq!(runtime.block_on(world.get("/api/v2/users")).status, 200);
    world.tenant.forget_calls();
    check(&runtime, &world, "/api/v2", || {
        let calls = world.tenant.calls();
        world.tenant.forget_calls();
        calls.iter().map(|call| call.path.strip_prefix("/api/v2").unwrap_or(&call.path).to_owned()).collect()
    });
}

#[tokio::test]
async fn a_target_in_another_form_than_a_path_leads_to_no_other_host() {
    let counter = Counter::with(ApiOptions::default(), "", &["GET api/me"]).await;
    let [call, other] = ["/me", "/items"].map(|tail| path(users::GOOGLE, tail));
    for (method, target, status) in [
        // A server takes the absolute form (RFC 9112 §3.2.2). Its path is judged, and its host is not used.
        ("GET", format!("http://localhost{call}"), 200),
        ("GET", format!("https://elsewhere.example{call}"), 200),
        ("GET", format!("http://user:password@localhost:1{call}"), 200),
        ("GET", format!("https://elsewhere.example{other}"), 403),
        ("GET", format!("https://elsewhere.example{call}/../me"), 400),
        ("GET", "https://elsewhere.example/me".into(), 404),
        ("GET", "https://elsewhere.example".into(), 404),
        ("GET", format!("//elsewhere.example{call}"), 404),
        ("GET", "localhost:80".into(), 404),
        ("CONNECT", "localhost:80".into(), 404),
        ("CONNECT", call.clone(), 405),
        ("OPTIONS", "*".into(), 404),
        ("GET", call[1..].to_owned(), 400),
        ("GET", format!("{call} x"), 400),
    ] {
        counter.api.forget_calls();
        let answer = send_raw(&counter.world, method, target.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {target}: {answer}");
        let is_sent = status == 200;
        assert_eq!(answer.contains("\r\ncloakroom-upstream: 1\r\n"), is_sent, "{method} {target}: {answer}");
        let calls: Vec<_> =
            counter.api.calls().iter().map(|call| (call.target(), call.all("host"))).collect();
        let sent = ("/me".to_owned(), vec![counter._listening.domain().to_owned()]);
        assert_eq!(calls, if is_sent { vec![sent] } else { Vec::new() }, "{method} {target}");
    }
}

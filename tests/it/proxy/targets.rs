//! The targets of requests, as bytes on the socket and as bytes that reach the API.

use std::cell::Cell;

use cloakroom::fake_auth0::users;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;

/// What the daemon answers to a request for this target, byte for byte.
async fn send_raw(counter: &Counter, method: &str, target: &[u8]) -> String {
    let mut stream = UnixStream::connect(&counter.world.socket).await.unwrap();
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

#[test]
fn a_target_that_is_accepted_reaches_the_api_byte_for_byte_and_no_other_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let counter = runtime.block_on(Counter::new());
    let [accepted, refused] = [const { Cell::new(0) }; 2];
    let tails = prop::collection::vec(piece(), 0..10).prop_map(|pieces| format!("/{}", pieces.concat()));
    let config = Config { failure_persistence: None, ..Config::with_cases(256) };
    let outcome = TestRunner::new(config).run(&tails, |tail| {
        counter.api.forget_calls();
        let target = path(users::GOOGLE, &tail);
        let answer = runtime.block_on(send_raw(&counter, "GET", target.as_bytes()));
        let calls: Vec<_> = counter.api.calls().iter().map(ApiCall::target).collect();
        if answer.contains("\r\ncloakroom-upstream: 1\r\n") {
            accepted.set(accepted.get() + 1);
            // A fragment is no part of a request.
            prop_assert_eq!(calls, [tail.split('#').next().unwrap()]);
        } else {
            refused.set(refused.get() + 1);
            prop_assert!(answer.starts_with("HTTP/1.1 400 "), "{}", answer);
            prop_assert!(calls.is_empty());
        }
        Ok(())
    });
    outcome.unwrap();
    let counts = [accepted.get(), refused.get()];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
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
        let answer = send_raw(&counter, method, target.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {target}: {answer}");
        let is_sent = status == 200;
        assert_eq!(answer.contains("\r\ncloakroom-upstream: 1\r\n"), is_sent, "{method} {target}: {answer}");
        let calls: Vec<_> =
            counter.api.calls().iter().map(|call| (call.target(), call.all("host"))).collect();
        let sent = ("/me".to_owned(), vec![counter._listening.domain().to_owned()]);
        assert_eq!(calls, if is_sent { vec![sent] } else { Vec::new() }, "{method} {target}");
    }
}

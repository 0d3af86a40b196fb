//! What is refused before anything reaches the API.

use cloakroom::fake_auth0::users;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::streams::PATIENCE;
use super::*;

#[tokio::test]
async fn without_a_rule_there_is_no_call_and_every_refusal_looks_the_same() {
    let counter = Counter::with(ApiOptions::default(), "", &["GET api/items", "POST api/items/*"]).await;
    let refused = counter.get(users::GOOGLE, "/me").await;
    assert_eq!(refused.problem(), (403, "forbidden".into()));
    assert_eq!(refused.header("cloakroom-upstream"), None);
    let mut details = vec![refused.detail()];
    for (method, tail) in [
        ("POST", "/items"),
        ("GET", "/items/1"),
        ("GET", "/items/"),
        ("POST", "/items/1/2"),
        ("DELETE", "/items"),
    ] {
        let got = counter.call(method, users::GOOGLE, tail).await;
        assert_eq!(got.problem(), (403, "forbidden".into()), "{method} {tail}");
        details.push(got.detail());
    }
    for other in
        ["/v1/users/auth0%7C1/proxy/github/api/items", "/v1/users/auth0%7C1/proxy/google-oauth2/other/items"]
    {
        let got = counter.world.get(other).await;
        assert_eq!(got.problem(), (403, "forbidden".into()), "{other}");
        details.push(got.detail());
    }
    details.dedup();
    assert_eq!(details.len(), 1, "{details:#?}");
    assert!(counter.api.calls().is_empty());
    assert_eq!(counter.get(users::GOOGLE, "/items?any=query").await.status, 200);
    assert_eq!(counter.call("HEAD", users::GOOGLE, "/items").await.status, 200);
}

#[tokio::test]
async fn ambiguous_paths_overrides_and_credentials_in_the_query_are_refused() {
    let counter = Counter::new().await;
    for (tail, code) in [
        ("/a/../b", "ambiguous_path"),
        ("/a/%2e%2e/b", "ambiguous_path"),
        ("/a/.%2E/b", "ambiguous_path"),
        ("/a/%252e%252e/b", "ambiguous_path"),
        ("/a/..;x/b", "ambiguous_path"),
        ("/a/..%2Fb", "ambiguous_path"),
        ("/a%2F..%2Fb", "ambiguous_path"),
        ("/a%5C..", "ambiguous_path"),
        ("//", "ambiguous_path"),
        ("/a//b", "ambiguous_path"),
        ("/%00", "ambiguous_path"),
        ("/%09", "ambiguous_path"),
        ("/%C0%AE%C0%AE", "ambiguous_path"),
        ("/%zz", "ambiguous_path"),
        ("/%2", "ambiguous_path"),
        ("/a?_method=DELETE", "method_override"),
        ("/a?METHOD=delete", "method_override"),
        ("/a?access_token=x", "credential_in_query"),
        ("/a?b=c&api_key=x", "credential_in_query"),
    ] {
        let got = counter.get(users::GOOGLE, tail).await;
        assert_eq!(got.problem(), (400, code.into()), "{tail}");
        assert_eq!(got.header("cloakroom-upstream"), None);
    }
    let long = format!("/{}", "x".repeat(5000));
    assert_eq!(counter.get(users::GOOGLE, &long).await.problem(), (400, "ambiguous_path".into()));
    for (name, value, problem) in [
        ("x-http-method-override", "DELETE", (400, "method_override")),
        ("x_http_method_override", "DELETE", (400, "method_override")),
        ("x-original-url", "/admin", (400, "method_override")),
        ("upgrade", "websocket", (501, "upgrade_unsupported")),
        ("connection", "authorization", (400, "invalid_request")),
        ("expect", "the-best", (400, "invalid_request")),
        ("origin", "https://page.example", (403, "forwarded_request")),
    ] {
        let headers = [("cloakroom-request", "true"), (name, value)];
        let got = counter.world.send("GET", &path(users::GOOGLE, "/me"), &headers).await;
        assert_eq!(got.problem(), (problem.0, problem.1.into()), "{name}");
    }
    for method in ["TRACE", "TRACK"] {
        let got = counter.call(method, users::GOOGLE, "/me").await;
        assert_eq!(got.problem(), (405, "method_not_allowed".into()));
        assert!(got.header("allow").is_some());
    }
    assert!(counter.api.calls().is_empty());
}

#[tokio::test]
async fn without_any_api_the_route_does_not_exist_and_the_table_is_named() {
    let world = World::over_tls(TenantOptions::default(), "").await;
    world.ready().await;
    for path in [path(users::GOOGLE, "/me"), "/v1/me/proxy/google-oauth2/api/token".into()] {
        let got = world.get(&path).await;
        assert_eq!(got.problem(), (404, "route_not_found".into()), "{path}");
        assert!(got.detail().contains("[[proxy]]"), "{got:?}");
    }
}

#[tokio::test]
async fn a_call_without_a_path_is_told_what_its_path_lacks() {
    let counter = Counter::new().await;
    let got = counter.get(users::GOOGLE, "").await;
    assert_eq!(got.problem(), (404, "route_not_found".into()));
    assert!(got.detail().contains("the provider's own path"), "{got:?}");
}

#[tokio::test]
async fn without_a_token_there_is_no_call() {
    let counter = Counter::new().await;
    for (user, problem) in [
        ("auth0|nobody", (404, "user_not_found")),
        (users::DATABASE, (404, "identity_not_found")),
        (users::BLOCKED, (403, "user_blocked")),
        (users::EXPIRED, (410, "login_required")),
    ] {
        let got = counter.get(user, "/me").await;
        assert_eq!(got.problem(), (problem.0, problem.1.into()), "{user}");
    }
    assert!(counter.api.calls().is_empty());
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_before_or_while_it_is_sent() {
    let counter = Counter::with(ApiOptions::default(), "request_bytes = \"16KiB\"", ALL).await;
    let body = "x".repeat(20_000);
    let got = counter.world.send_with("PUT", &path(users::GOOGLE, "/upload"), MEANT, &body).await;
    assert_eq!(got.problem(), (413, "body_too_large".into()));
    assert!(counter.api.calls().is_empty());

    // Without a length, the call has begun by then.
    for (rest, status) in [(16 * 1024 - 10, 200), (16 * 1024 - 9, 413)] {
        counter.api.forget_calls();
        let rest = format!("{rest:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(rest));
        let answer = chunked(&counter, &rest).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let is_refused = status == 413;
        assert_eq!(answer.contains("\"body_too_large\""), is_refused, "{answer}");
        assert_eq!(answer.contains("cloakroom-upstream"), !is_refused, "{answer}");
        let call = counter.only_call();
        assert_eq!((call.body_is_complete, call.body_bytes == 16 * 1024), (!is_refused, !is_refused));
        assert!(call.body_bytes <= 16 * 1024, "{call:?}");
    }
}

/// The answer to a chunked body whose first ten bytes have reached the API before the `rest` is sent. The API has read
/// to the end or to where the daemon broke off.
async fn chunked(counter: &Counter, rest: &str) -> String {
    let mut stream = UnixStream::connect(&counter.world.socket).await.unwrap();
    let head = head("PUT", "/upload", "transfer-encoding: chunked\r\nconnection: close");
    stream.write_all(format!("{head}a\r\nten bytes.\r\n").as_bytes()).await.unwrap();
    let has_begun = |calls: &[ApiCall]| calls.iter().any(|call| call.body_bytes == 10);
    timeout(PATIENCE, counter.api.until(has_begun)).await.unwrap();
    stream.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let has_ended = |calls: &[ApiCall]| calls.iter().all(|call| call.body_sha256.is_some());
    timeout(PATIENCE, counter.api.until(has_ended)).await.unwrap();
    answer
}

#[tokio::test]
async fn a_body_with_malformed_chunks_is_broken_off_at_the_api() {
    let counter = Counter::new().await;
    for rest in
        ["zz\r\n", "-1\r\n", "a\r\nten bytes.0\r\n\r\n", "5\r\nfive..\r\n0\r\n\r\n", "10000000000000000\r\n"]
    {
        counter.api.forget_calls();
        let answer = chunked(&counter, rest).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{rest:?}: {answer}");
        assert!(
            answer.contains("\"invalid_request\"") && answer.contains("\"parameter\":\"body\""),
            "{answer}"
        );
        assert!(!answer.contains("cloakroom-upstream"), "{rest:?}: {answer}");
        assert!(!counter.only_call().body_is_complete, "{rest:?}");
    }
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_the_daemons_own_503() {
    let counter = Counter::new().await;
    counter.api.refuse_connections(true);
    let got = counter.get(users::GOOGLE, "/me").await;
    assert_eq!(got.problem(), (503, "provider_unavailable".into()));
    assert_eq!(got.header("cloakroom-upstream"), None);
    assert!(got.retry_after().is_some());
}

/// The head of a call with these fields.
fn head(method: &str, tail: &str, fields: &str) -> String {
    let path = path(users::GOOGLE, tail);
    format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncloakroom-request: true\r\n{fields}\r\n\r\n")
}

/// What the daemon answers to these bytes, until it closes the connection.
pub async fn raw(world: &World, text: &str) -> String {
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_head_that_two_servers_could_read_differently_ends_its_connection() {
    let counter = Counter::new().await;
    let smuggled =
        format!("GET {} HTTP/1.1\r\nhost: a\r\ncloakroom-request: true\r\n\r\n", path(users::GOOGLE, "/me"));
    for fields in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 6",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: xchunked",
        "content-length : 5",
        "content-length: 5, 6",
        "content-length: +5",
        "content-length: 0x5",
        "x-folded: a\r\n b",
        "x-nul: a\0b",
        "x-return: a\rb",
        "no colon",
        ": no name",
        "expect: 100-continue, x",
    ] {
        let answer =
            raw(&counter.world, &format!("{}0\r\n\r\n{smuggled}", head("POST", "/upload", fields))).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{fields}: {answer}");
        assert_eq!(answer.matches("cloakroom-request-id").count(), 1, "{fields}: {answer}");
        assert!(!answer.contains("cloakroom-upstream"), "{fields}: {answer}");
    }
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let chunked = head(method, "/upload", "transfer-encoding: chunked");
        let answer =
            raw(&counter.world, &format!("{chunked}{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len())).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{method}: {answer}");
        assert_eq!(answer.matches("cloakroom-request-id").count(), 1, "{method}: {answer}");
    }
    // What follows a refused upgrade is not read as a request, nor as anything else.
    for fields in ["connection: upgrade\r\nupgrade: websocket", "upgrade: h2c"] {
        let answer = raw(&counter.world, &format!("{}{smuggled}", head("GET", "/me", fields))).await;
        assert!(answer.starts_with("HTTP/1.1 501 ") && !answer.contains("keep-alive:"), "{fields}: {answer}");
        assert_eq!(answer.matches("cloakroom-request-id").count(), 1, "{fields}: {answer}");
    }
    assert!(counter.api.calls().is_empty());
}

#[tokio::test]
async fn a_line_feed_alone_ends_a_line_and_the_head_is_written_anew() {
    let counter = Counter::new().await;
    let head = head("POST", "/upload", "x-one: 1\ncontent-length: 4\nconnection: close");
    let answer = raw(&counter.world, &format!("{head}body")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let call = counter.only_call();
    assert_eq!((call.all("x-one"), call.all("content-length")), (vec!["1".to_owned()], vec!["4".to_owned()]));
    assert_eq!(call.body_bytes, 4);
}

#[tokio::test]
async fn calls_are_made_in_http_1_1_alone() {
    let counter = Counter::new().await;
    let head =
        format!("GET {} HTTP/1.0\r\nhost: a\r\ncloakroom-request: true\r\n\r\n", path(users::GOOGLE, "/me"));
    let answer = raw(&counter.world, &head).await;
    assert!(answer.contains(" 400 ") && answer.contains("HTTP/1.1"), "{answer}");
    assert!(counter.api.calls().is_empty());
}

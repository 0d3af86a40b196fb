//! Headers as they are sent, and as they go on.

use super::*;

/// One `name: value` a line.
fn map(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.trim().parse().unwrap());
    }
    headers
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    headers.iter().map(line).collect()
}

/// A request's headers as they go on, without `User-Agent: t`, which is added to them.
fn sent(text: &str) -> Vec<String> {
    let mut headers = map(text);
    headers.append(USER_AGENT, HeaderValue::from_static("t"));
    let mut sent = lines(&request(&headers, UserAgent::Caller));
    sent.retain(|line| line != "user-agent: t");
    sent
}

const TOKEN: &[u8] = b"ya29.a0/secret+token";

fn answered(text: &str) -> Vec<String> {
    lines(&answer(map(text), &[TOKEN]).headers)
}

#[test]
fn a_request_loses_what_is_of_its_connection_or_of_the_daemon() {
    for line in [
        "Connection: close",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Transfer-Encoding: chunked",
        "TE: trailers",
        "Trailer: X-Sum",
        "Upgrade: h2c",
        "Proxy-Authorization: Basic eA==",
        "Proxy-Anything: 1",
        "Host: localhost",
        "Authorization: Bearer x",
        "Cookie: a=b",
        "Cloakroom-Request: true",
        "Cloakroom-Anything: 1",
        "Expect: 100-continue",
        "Content-Length: 5",
        "Content_Length: 5",
        "Transfer_Encoding: chunked",
        "Proxy_Authorization: Basic eA==",
        "Cloakroom_Request: true",
    ] {
        assert_eq!(sent(line), [""; 0], "{line}");
    }
}

#[test]
fn a_request_keeps_everything_else() {
    for line in [
        "accept: */*",
        "accept-encoding: gzip;q=1.0,deflate;q=0.6",
        "accept-language: *",
        "auth0-client: eyJuYW1lIjoieCJ9",
        "auth0-custom-domain: login.example.com",
        "content-encoding: gzip",
        "content-type: application/json",
        "if-none-match: \"a\"",
        "range: bytes=0-9",
        "sec-fetch-mode: cors",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x-github-api-version: 2022-11-28",
        "proxyx: 1",
        "cloakroomx: 1",
    ] {
        assert_eq!(sent(line), [line]);
    }
}

#[test]
fn what_connection_names_is_dropped_both_ways() {
    let text = "Connection: X-A, close\nConnection: , x-b ,@\nX-A: 1\nX-B: 2\nX-C: 3";
    assert_eq!(sent(text), ["x-c: 3"]);
    assert_eq!(answered(text), ["x-c: 3"]);
}

#[test]
fn fields_of_one_name_keep_their_number_and_order() {
    let text = "X-A: 2\nX-B: 1\nX-A: 1\nX-A: 2";
    let of_a =
        |lines: Vec<String>| lines.into_iter().filter(|line| line.starts_with("x-a")).collect::<Vec<_>>();
    assert_eq!(of_a(sent(text)), ["x-a: 2", "x-a: 1", "x-a: 2"]);
    assert_eq!(of_a(answered(text)), ["x-a: 2", "x-a: 1", "x-a: 2"]);
}

#[test]
fn values_that_are_not_ascii_go_on_byte_for_byte() {
    let value = HeaderValue::from_bytes(b"caf\xc3\xa9 \xff").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-a", value.clone());
    assert_eq!(request(&headers, UserAgent::Caller).get("x-a"), Some(&value));
    assert_eq!(answer(headers, &[TOKEN]).headers.get("x-a"), Some(&value));
}

#[test]
fn the_daemon_names_itself_only_where_the_caller_does_not() {
    use UserAgent::{Caller, CallerAndDaemon};
    let ours = AGENT.to_owned();
    for (callers, agent, expected) in [
        ("", Caller, vec![ours.clone()]),
        ("User-Agent:", Caller, vec![ours.clone()]),
        ("User-Agent: curl/8", Caller, vec!["curl/8".to_owned()]),
        ("Connection: user-agent\nUser-Agent: curl/8", Caller, vec![ours.clone()]),
        ("", CallerAndDaemon, vec![ours.clone()]),
        ("User-Agent: curl/8", CallerAndDaemon, vec![format!("curl/8 {ours}")]),
    ] {
        let sent = request(&map(callers), agent);
        let agents: Vec<_> =
            sent.get_all(USER_AGENT).iter().map(|value| value.to_str().unwrap().to_owned()).collect();
        assert_eq!(agents, expected, "{callers:?} {agent:?}");
    }
}

#[test]
fn an_answer_loses_what_is_of_its_connection_or_of_the_daemon() {
    for line in [
        "Connection: close",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authenticate: Basic",
        "Proxy-Authentication-Info: a",
        "Transfer-Encoding: chunked",
        "TE: trailers",
        "Trailer: X-Sum",
        "Upgrade: h2,h2c",
        "Set-Cookie: a=b",
        "Set-Cookie2: a=b",
        "Alt-Svc: h3=\":443\"",
        "Cloakroom-Upstream: 1",
        "Cloakroom-Verdict: token_dead",
    ] {
        assert_eq!(answered(line), [""; 0], "{line}");
    }
}

#[test]
fn an_answer_keeps_everything_else() {
    for line in [
        "access-control-allow-origin: *",
        "cache-control: private, max-age=60",
        "clear-site-data: \"cache\"",
        "content-encoding: gzip",
        "content-type: application/json",
        "date: Mon, 30 Nov 2026 06:00:00 GMT",
        "etag: W/\"1\"",
        "location: https://a/b",
        "proxy-status: a; error=b",
        "retry-after: 3",
        "server: b",
        "strict-transport-security: max-age=1",
        "vary: accept",
        "www-authenticate: Bearer error=\"invalid_token\"",
        "x-github-request-id: A:B",
        "x-ratelimit-remaining: 0",
    ] {
        assert_eq!(answered(line), [line]);
    }
}

#[test]
fn the_length_of_an_answer_is_kept_where_it_delimits_the_body() {
    for (text, expected) in [
        ("Content-Length: 5", Some("content-length: 5")),
        ("Content-Length: 0", Some("content-length: 0")),
        ("Content-Length: 5, 5", Some("content-length: 5")),
        ("Content-Length: 5\nContent-Length: 5", Some("content-length: 5")),
        ("Content-Length: 5\nContent-Length: 6", None),
        ("Content-Length: x", None),
        ("Content-Length: 5\nTransfer-Encoding: chunked", None),
        ("Content-Length: 5\nConnection: content-length", None),
    ] {
        assert_eq!(answered(text), expected.into_iter().collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn a_value_that_contains_the_token_is_blanked_and_counted() {
    let text = "X-Echo: Bearer ya29.a0/secret+token\nX-Echo: other\nX-All: ya29.a0/secret+token\n\
                Location: https://a/?t=ya29.a0%2Fsecret%2btoken\nX-Part: ya29.a0/secret+toke";
    let Filtered { headers, reflected } = answer(map(text), &[b"another-secret", TOKEN]);
    assert_eq!(reflected, 3);
    assert_eq!(
        lines(&headers),
        [
            "x-echo: [redacted]",
            "x-echo: other",
            "x-all: [redacted]",
            "location: [redacted]",
            "x-part: ya29.a0/secret+toke",
        ]
    );
}

#[test]
fn a_value_that_contains_the_token_encoded_twice_is_blanked() {
    let text = "Location: https://a/?u=https%3A%2F%2Fb%2F%3Ft%3Dya29.a0%252Fsecret%252btoken\n\
                X-Once: %79a29.a0/secret+token\nX-Thrice: ya29.a0%25252Fsecret+token\nX-Other: 100%25 %252F";
    let Filtered { headers, reflected } = answer(map(text), &[TOKEN]);
    assert_eq!(reflected, 2);
    assert_eq!(
        lines(&headers),
        [
            "location: [redacted]",
            "x-once: [redacted]",
            "x-thrice: ya29.a0%25252Fsecret+token",
            "x-other: 100%25 %252F",
        ]
    );
}

/// hyper has changed names to lower case, which a reader may undo by trying both cases.
#[test]
fn a_field_whose_name_contains_the_token_is_dropped_and_counted() {
    let text = "X-Gho_AbC123: 1\nGHO_ABC123: 2\nGHO_ABC123: 3\nX-%47ho_abc123-End: 4\nX-Gho_AbC12: 5";
    let Filtered { headers, reflected } = answer(map(text), &[b"gho_AbC123"]);
    assert_eq!((lines(&headers), reflected), (vec!["x-gho_abc12: 5".to_owned()], 4));
    // The case of a value is the token's own.
    assert_eq!(lines(&answer(map("X-A: GHO_abc123"), &[b"gho_AbC123"]).headers), ["x-a: GHO_abc123"]);
}

#[test]
fn an_empty_secret_is_in_no_value() {
    let Filtered { headers, reflected } = answer(map("X-A: b%20c\nX-B:"), &[b""]);
    assert_eq!((lines(&headers), reflected), (vec!["x-a: b%20c".to_owned(), "x-b: ".to_owned()], 0));
}

/// A dropped header is not searched, and does not count.
#[test]
fn a_cookie_with_the_token_is_dropped_and_not_counted() {
    let Filtered { headers, reflected } = answer(map("Set-Cookie: t=ya29.a0/secret+token"), &[TOKEN]);
    assert_eq!((headers.len(), reflected), (0, 0));
}

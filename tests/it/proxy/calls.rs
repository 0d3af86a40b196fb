//! What reaches the API, and what comes back.

use cloakroom::fake_auth0::api::Canned;
use cloakroom::fake_auth0::users;
use serde_json::Value;

use super::refusals::raw;
use super::*;

#[tokio::test]
async fn a_call_carries_the_users_token_and_comes_back_as_it_is() {
    let counter = Counter::new().await;
    let got = counter.get(users::GOOGLE, "/items?page=1&q=a%20b").await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(got.header("cloakroom-upstream"), Some("1"));
    assert_eq!(got.header("cloakroom-verdict"), None);
    assert!(got.header("cloakroom-request-id").is_some());
    assert_eq!(got.json()[0]["id"], 1);
    let call = counter.only_call();
    assert_eq!((&*call.method, &*call.target()), ("GET", "/items?page=1&q=a%20b"));
    let token = counter.world.get(&World::path(users::GOOGLE)).await.json();
    assert_eq!(call.all("authorization"), [format!("Bearer {}", token["access_token"].as_str().unwrap())]);
}

#[tokio::test]
async fn the_target_goes_on_byte_for_byte() {
    let counter = Counter::new().await;
    for tail in [
        "/echo/google-oauth2%7C1%2F2",
        "/echo/a|b",
        "/echo/a/",
        "/echo/%2f%2F",
        "/echo/x:batchUpdate",
        "/echo/$value",
        "/echo/me/drive/root:/x.txt:/content",
        "/echo/~a+b@c",
        "/echo?a=%2E%2E/../&b",
        "/echo?",
        "/echo??x",
    ] {
        counter.api.forget_calls();
        let got = counter.get(users::GOOGLE, tail).await;
        assert_eq!(got.status, 200, "{tail} {got:?}");
        assert_eq!(counter.only_call().target(), tail);
    }
}

#[tokio::test]
async fn headers_of_one_connection_and_credentials_of_the_client_stay_here() {
    let counter = Counter::new().await;
    let headers = [
        ("cloakroom-request", "true"),
        ("cloakroom-anything", "x"),
        ("authorization", "Bearer of-the-client"),
        ("cookie", "a=b"),
        ("connection", "x-hop, close"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic x"),
        ("x-twice", "1"),
        ("x-twice", "2"),
        ("sec-fetch-mode", "cors"),
        ("accept-encoding", "br"),
        ("user-agent", "client/1"),
    ];
    let got = counter.world.send("GET", &path(users::GOOGLE, "/echo"), &headers).await;
    assert_eq!(got.status, 200, "{got:?}");
    let call = counter.only_call();
    for gone in ["cookie", "x-hop", "te", "proxy-authorization", "cloakroom-request", "cloakroom-anything"] {
        assert_eq!(call.field(gone), None, "{gone}");
    }
    assert_eq!(call.all("authorization").len(), 1);
    assert!(!call.field("authorization").unwrap().contains("of-the-client"));
    assert_eq!(call.all("x-twice"), ["1", "2"]);
    assert_eq!(call.all("host"), [counter._listening.domain()]);
    assert_eq!(call.field("accept-encoding").as_deref(), Some("br"));
    assert_eq!(call.field("user-agent").as_deref(), Some("client/1"));
}

#[tokio::test]
async fn the_answers_headers_are_the_apis_but_for_those_of_one_connection() {
    let counter = Counter::new().await;
    let got = counter.get(users::GOOGLE, "/headers?reflect").await;
    assert_eq!(got.status, 200);
    for gone in ["set-cookie", "alt-svc", "x-hop", "cloakroom-verdict"] {
        assert_eq!(got.header(gone), None, "{gone}");
    }
    assert_eq!(got.header("cloakroom-upstream"), Some("1"));
    let token = counter.world.get(&World::path(users::GOOGLE)).await.json();
    let token = token["access_token"].as_str().unwrap();
    assert!(got.headers.values().all(|value| !value.contains(token)), "{got:?}");
    let got = counter.get(users::GOOGLE, "/headers?reflect&refuse").await;
    let verdict = got.header("cloakroom-verdict");
    assert_eq!((got.status.as_u16(), verdict), (403, Some("missing_scope")), "{got:?}");
    assert!(got.headers.values().all(|value| !value.contains(token)), "{got:?}");
}

#[tokio::test]
async fn links_to_the_api_lead_through_the_daemon_and_no_redirect_is_followed() {
    let counter = Counter::new().await;
    let got = counter.get(users::GOOGLE, "/items?page=1").await;
    let next = format!("<http://localhost{}>; rel=\"next\"", path(users::GOOGLE, "/items?page=2"));
    assert!(got.header("link").unwrap().contains(&next), "{got:?}");
    let got = counter.get(users::GOOGLE, "/redirect-here").await;
    assert_eq!(got.status, 302);
    let own = format!("http://localhost{}", path(users::GOOGLE, ""));
    assert!(got.header("location").unwrap().starts_with(&own), "{got:?}");
    let got = counter.get(users::GOOGLE, "/redirect").await;
    assert_eq!(got.status, 302);
    assert!(got.header("location").unwrap().starts_with("https://"), "{got:?}");
    assert_eq!(counter.api.calls().len(), 3);
}

/// A client that follows redirects over the socket dials it for an http URL, whatever its host is.
#[tokio::test]
async fn a_redirect_to_plain_http_is_handed_on_without_its_location() {
    let counter = Counter::new().await;
    let location = format!("http://{}/items?page=2", counter._listening.domain());
    let headers = vec![("location", location.clone())];
    for status in [301, 302, 303, 307, 308].map(|status| hyper::StatusCode::from_u16(status).unwrap()) {
        counter.api.forget_calls();
        counter.api.answer_next(1, &Canned { status, headers: headers.clone(), ..Canned::default() });
        let got = counter.get(users::GOOGLE, "/items").await;
        assert_eq!((got.status, got.header("location")), (status, None));
        counter.only_call();
    }
}

#[tokio::test]
async fn no_redirect_leads_a_client_to_another_route_of_the_daemon() {
    let counter = Counter::new().await;
    let of_another = "google-oauth2%7C1035/token?connection=google-oauth2";
    let token = format!("/v1/users/{of_another}");
    let up = format!("../../../../../{of_another}");
    let below = path(users::GOOGLE, &format!("/{of_another}"));
    let provider = format!("https://{}{token}&key=1", counter._listening.domain());
    for (sent, expected) in [
        (up, Some(&below)),
        (format!("http://localhost{token}"), None),
        ("http://x/api/v2/users".to_owned(), None),
        (format!("{token}&key=1"), Some(&provider)),
    ] {
        let headers = vec![("location", sent.clone()), ("link", format!("<{sent}>; rel=\"next\""))];
        counter
            .api
            .answer_next(1, &Canned { status: hyper::StatusCode::FOUND, headers, ..Canned::default() });
        let got = counter.get(users::GOOGLE, "/items").await;
        assert_eq!(
            (got.status.as_u16(), got.header("location")),
            (302, expected.map(String::as_str)),
            "{sent}"
        );
        let link = expected.map(|expected| format!("<{expected}>; rel=\"next\""));
        assert_eq!(got.header("link"), link.as_deref(), "{sent}");
    }
}

#[tokio::test]
async fn nothing_is_cached() {
    let counter = Counter::new().await;
    let fields = [
        ("cache-control", "public, max-age=3600, immutable"),
        ("expires", "Fri, 31 Dec 2100 00:00:00 GMT"),
        ("etag", "\"v1\""),
        ("last-modified", "Sat, 01 Jan 2000 00:00:00 GMT"),
        ("age", "7"),
    ];
    for body in ["first", "second"] {
        let headers = fields.map(|(name, value)| (name, value.to_owned())).into();
        counter.api.answer_next(1, &Canned { headers, body: body.into(), ..Canned::default() });
        let got = counter.get(users::GOOGLE, "/items").await;
        assert_eq!(got.body, body);
        for (name, value) in fields {
            assert_eq!(got.header(name), Some(value));
        }
    }
    let calls = counter.api.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].field("if-none-match").or(calls[1].field("if-modified-since")), None);

    // A conditional request is the client's own, and so is the answer.
    counter.api.forget_calls();
    let headers = [("cloakroom-request", "true"), ("if-none-match", "\"v1\"")];
    let got = counter.world.send("GET", &path(users::GOOGLE, "/status/304"), &headers).await;
    assert_eq!((got.status.as_u16(), got.header("etag"), &*got.body), (304, Some("\"v1\""), &b""[..]));
    assert_eq!(counter.only_call().field("if-none-match").as_deref(), Some("\"v1\""));
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let counter = Counter::new().await;
    for (method, tail, status) in [
        ("HEAD", "/items", 200),
        ("GET", "/status/204", 204),
        ("GET", "/status/304", 304),
        ("DELETE", "/status/204", 204),
        ("GET", "/interim?count=2&status=103", 200),
    ] {
        let got = counter.call(method, users::GOOGLE, tail).await;
        assert_eq!(got.status, status, "{method} {tail} {got:?}");
        assert_eq!(got.header("cloakroom-upstream"), Some("1"));
        assert!(status == 200 && method == "GET" || got.body.is_empty(), "{method} {tail} {got:?}");
    }
}

#[tokio::test]
async fn a_compressed_answer_is_handed_on_byte_for_byte() {
    let counter = Counter::new().await;
    let got = counter.get(users::GOOGLE, "/gzip").await;
    assert_eq!(got.header("content-encoding"), Some("gzip"));
    assert_eq!(&got.body[..2], b"\x1f\x8b");
}

#[tokio::test]
async fn bodies_go_on_with_their_framing() {
    let counter = Counter::new().await;
    let path = path(users::GOOGLE, "/upload");
    let got = counter.world.send_with("POST", &path, MEANT, "twelve bytes").await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(got.json()["bytes"], 12);
    let call = counter.only_call();
    assert_eq!(call.all("content-length"), ["12"]);
    counter.api.forget_calls();
    let got = counter.world.send_with("POST", &path, MEANT, "").await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(counter.only_call().all("transfer-encoding"), [""; 0]);
}

/// The API may ignore such a body, and take it for the next call on the connection.
#[tokio::test]
async fn a_body_that_the_api_may_ignore_is_the_last_on_its_connection() {
    let counter = Counter::new().await;
    let mut connections = 0;
    for (method, body, is_last) in [
        ("GET", "GET /me HTTP/1.1", true),
        ("DELETE", "{}", true),
        ("OPTIONS", "{}", true),
        ("GET", "", false),
        ("POST", "{}", false),
    ] {
        // The connection of the previous call is of one that is reused.
        assert_eq!(counter.get(users::GOOGLE, "/me").await.status, 200);
        connections = connections.max(counter.api.connections());
        assert_eq!(counter.api.connections(), connections);
        let got = counter.world.send_with(method, &path(users::GOOGLE, "/echo"), MEANT, body).await;
        assert_eq!(got.status, 200, "{method} {got:?}");
        assert_eq!(counter.api.connections(), connections, "{method}");
        assert_eq!(counter.get(users::GOOGLE, "/me").await.status, 200);
        connections += u64::from(is_last);
        assert_eq!(counter.api.connections(), connections, "{method} {body:?}");
    }
    counter.api.forget_calls();
    let head =
        format!("HEAD {} HTTP/1.1\r\nhost: a\r\ncloakroom-request: true\r\n", path(users::GOOGLE, "/me"));
    let answer = raw(&counter.world, &format!("{head}content-length: 2\r\n\r\n{{}}")).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(counter.api.calls().is_empty());
}

#[tokio::test]
async fn an_answer_in_another_coding_is_not_handed_on() {
    let counter = Counter::new().await;
    let headers = vec![("transfer-encoding", "gzip, chunked".to_owned())];
    let status = hyper::StatusCode::OK;
    counter.api.answer_next(1, &Canned { status, headers, body: "secret".into() });
    let got = counter.get(users::GOOGLE, "/me").await;
    assert_eq!(got.problem(), (503, "provider_unavailable".into()));
    assert_eq!(got.header("cloakroom-upstream"), None);
}

#[tokio::test]
async fn one_of_two_accounts_is_selected_by_a_header() {
    let counter = Counter::new().await;
    let got = counter.get(users::TWINS, "/me").await;
    assert_eq!(got.problem(), (409, "ambiguous_identity".into()));
    let identities: Value = got.json()["identities"].clone();
    let id = identities[1]["identity_user_id"].as_str().unwrap();
    let headers = [("cloakroom-request", "true"), ("cloakroom-identity-user-id", id)];
    let got = counter.world.send("GET", &path(users::TWINS, "/me"), &headers).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(counter.only_call().field("cloakroom-identity-user-id"), None);
}

//! What client libraries send and expect beyond the contract's letter: HEAD, spellings, kept connections, slips.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, TenantOptions, users};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use crate::support::world::World;

const HEADER: (&str, &str) = ("cloakroom-request", "true");

async fn world_with(settings: &str) -> World {
    let world = World::simulated(TenantOptions::default(), settings).await;
    world.ready().await;
    world
}

/// One answer of a connection that is kept: status and headers, and its body unless it answers a HEAD.
async fn answer(
    stream: &mut (impl AsyncRead + Unpin),
    has_body: bool,
) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the head of an answer"));
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{head:?}"))[..3].parse().unwrap();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; if has_body { length } else { 0 }];
    stream.read_exact(&mut body).await.unwrap();
    (status, headers, body)
}

fn request(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n{more}\r\n")
}

/// Without what is different in every answer.
fn lasting(mut headers: BTreeMap<String, String>) -> BTreeMap<String, String> {
    headers.remove("cloakroom-request-id");
    headers
}

/// RFC 9110 section 9.3.2: the headers of a GET, and nothing behind them that the next answer would be read from.
#[tokio::test(start_paused = true)]
async fn head_is_answered_as_get_without_a_body_wherever_get_is() {
    let world =
        world_with("[[listener]]\npath = \"{dir}/api.sock\"\n[me]\naudiences = [\"https://api\"]").await;
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let google = World::path(users::GOOGLE);
    for path in [
        google.as_str(),
        &google.replace("/token", "/identities"),
        "/v1/me/token",
        "/v1/me/identities",
        "/v1/management-token",
        "/v1/status",
        "/livez",
        "/readyz",
        "/startupz",
        "/openapi.json",
        "/metrics",
        &World::path("auth0|nobody"),
        "/v1/users/a%/token",
    ] {
        // Both at once, so that a body after the HEAD would be taken for the answer to the GET.
        stream.write_all(request("GET", path, "").as_bytes()).await.unwrap();
        let warm = answer(&mut stream, true).await;
        let both = request("HEAD", path, "") + &request("GET", path, "");
        stream.write_all(both.as_bytes()).await.unwrap();
        let (head, got) = (answer(&mut stream, false).await, answer(&mut stream, true).await);
        assert_eq!((head.0, got.0), (warm.0, warm.0), "{path}");
        assert_ne!(got.2.len(), 0, "{path}");
        if path == "/metrics" {
            // Counts the request before.
            assert!(head.1["content-length"].parse::<usize>().unwrap() > 1_000, "{path}");
        } else {
            assert_eq!(lasting(head.1), lasting(got.1), "{path}");
        }
    }
    assert_eq!(world.tenant.calls_to(Endpoint::User).len(), 2, "a HEAD asks Auth0 no more often than a GET");

    // A HEAD that misses is a lookup, and the GET after it is a hit.
    let path = World::path(users::JOHN);
    let miss = world.send("HEAD", &path, &[HEADER]).await;
    assert_eq!((miss.status.as_u16(), miss.header("cloakroom-cache")), (200, Some("miss")));
    assert_eq!(world.get(&path).await.header("cloakroom-cache"), Some("hit"));
}

#[tokio::test(start_paused = true)]
async fn what_a_route_takes_is_said_in_full() {
    let world = world_with("").await;
    for (method, path, allow) in [
        ("POST", "/v1/users/a/token", "GET, HEAD"),
        ("PUT", "/livez", "GET, HEAD"),
        ("DELETE", "/metrics", "GET, HEAD"),
        ("OPTIONS", "/v1/status", "GET, HEAD"),
        ("HEAD", "/v1/users/a", "DELETE"),
        ("HEAD", "/v1/users/a/report", "POST"),
        ("HEAD", "/v1/reload", "POST"),
    ] {
        let got = world.send(method, path, &[HEADER]).await;
        assert_eq!((got.status.as_u16(), got.header("allow")), (405, Some(allow)), "{method} {path}");
    }
}

/// Load balancers and uptime checks ask so.
#[tokio::test]
async fn head_is_answered_over_tcp_too() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let world = world_with(&format!(
        "[[listener]]\npath = \"{{dir}}/api.sock\"\n[admin]\naddress = \"127.0.0.1:{port}\""
    ))
    .await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    for path in ["/livez", "/readyz", "/startupz", "/metrics", "/v1/status"] {
        let both = request("HEAD", path, "") + &request("GET", path, "");
        stream.write_all(both.as_bytes()).await.unwrap();
        let (head, got) = (answer(&mut stream, false).await, answer(&mut stream, true).await);
        let status = if path == "/v1/status" { 404 } else { 200 };
        assert_eq!((head.0, got.0), (status, status), "{path}");
        // hyper closes there after ten seconds.
        assert_eq!((promised(&head.1), promised(&got.1)), (Some(5), Some(5)), "{path}");
        assert!(head.1["content-length"].parse::<usize>().unwrap() > 0 && !got.2.is_empty(), "{path}");
    }
    stream.write_all(request("POST", "/livez", "").as_bytes()).await.unwrap();
    let (status, headers, _) = answer(&mut stream, true).await;
    assert_eq!((status, headers["allow"].as_str()), (405, "GET, HEAD"));
    drop(world);
}

/// As `http_build_query`, Python's `str` and people write them.
#[tokio::test(start_paused = true)]
async fn yes_and_no_and_durations_are_taken_in_their_usual_spellings() {
    let world = world_with("").await;
    let path = World::path(users::GOOGLE);
    world.get(&path).await;
    for (query, state) in [
        ("fresh=true", "miss"),
        ("fresh=True", "miss"),
        ("fresh=TRUE", "miss"),
        ("fresh=1", "miss"),
        ("fresh=false", "hit"),
        ("fresh=False", "hit"),
        ("fresh=FALSE", "hit"),
        ("fresh=0", "hit"),
        ("min_ttl=60", "hit"),
        ("min_ttl=60s", "hit"),
        ("min_ttl=1m30s", "hit"),
        ("min_ttl=1500ms", "hit"),
        ("min_ttl=0", "hit"),
    ] {
        let got = world.get(&format!("{path}?{query}")).await;
        assert_eq!((got.status.as_u16(), got.header("cloakroom-cache")), (200, Some(state)), "{query}");
    }
    // Issued for an hour a minute ago.
    for query in ["min_ttl=3540", "min_ttl=3540s", "min_ttl=59m", "min_ttl=1h"] {
        let got = world.get(&format!("{path}?{query}")).await;
        assert_eq!(got.problem(), (422, "min_ttl_unsatisfiable".into()), "{query}");
    }
    for (query, accepted) in [
        ("fresh=yes", "fresh=true"),
        ("fresh=", "leave it out"),
        ("fresh=2", "fresh=true"),
        ("fresh=true&fresh=true", "more than once"),
        ("min_ttl=-1", "min_ttl=60 or min_ttl=1m30s"),
        ("min_ttl=-60s", "min_ttl=60 or min_ttl=1m30s"),
        ("min_ttl=1.5", "min_ttl=60 or min_ttl=1m30s"),
        ("min_ttl=1e3", "min_ttl=60 or min_ttl=1m30s"),
        ("min_ttl=PT60S", "min_ttl=60 or min_ttl=1m30s"),
        ("min_ttl=soon", "min_ttl=60 or min_ttl=1m30s"),
        ("min_ttl=4294967296", "min_ttl=60 or min_ttl=1m30s"),
        ("min_ttl=2000000h", "min_ttl=60 or min_ttl=1m30s"),
        ("min_ttl=", "leave it out"),
        ("min_ttl=60&min_ttl=60s", "more than once"),
    ] {
        let got = world.get(&format!("{path}?{query}")).await;
        assert_eq!(got.problem(), (400, "invalid_request".into()), "{query}");
        assert!(got.detail().contains(accepted), "{query}: {}", got.detail());
    }
}

/// The slips that libraries and people make with paths, each named for what it is.
#[tokio::test(start_paused = true)]
async fn a_path_that_is_nearly_right_is_told_what_is_wrong_with_it() {
    let world = world_with("").await;
    let told = async |method: &str, path: &str| world.send(method, path, &[HEADER]).await;
    for (path, hint) in [
        ("/v1/users/samlp%7Cx/y/token", "`/` in a user id is sent as %2F"),
        ("/v1/users/samlp|x/y/z/identities", "`/` in a user id is sent as %2F"),
        ("/v1/users/a/b", "`/` in a user id is sent as %2F"),
        ("/v1/users/auth0%7C1/token/", "leave out the `/` at the end"),
        ("/v1/status/", "leave out the `/` at the end"),
        ("/livez/", "leave out the `/` at the end"),
        ("/v1/users/auth0%7C1/tokens", "/v1/users/{user_id}/token?"),
        ("/v1/users/auth0%7C1/identites", "/v1/users/{user_id}/identities?"),
        ("/v1/users/auth0%7C1/reprot", "/v1/users/{user_id}/report?"),
        ("/users/auth0%7C1/token", "/v1/users/{user_id}/token?"),
        ("/v2/users/auth0%7C1/identities", "/v1/users/{user_id}/identities?"),
        ("/v1/user/auth0%7C1/token", "/v1/users/{user_id}/token?"),
        ("/V1/Users/auth0%7C1/token", "/v1/users/{user_id}/token?"),
        ("/v1/me/tokens", "/v1/me/token?"),
        ("/v1/stauts", "/v1/status?"),
        ("/status", "/v1/status?"),
        ("/metric", "/metrics?"),
        ("/healthz", "/livez or /readyz"),
        ("/health", "/livez or /readyz"),
        ("/openapi.yaml", "/openapi.json?"),
        ("/nowhere", "GET /openapi.json describes every route"),
        ("/", "GET /openapi.json describes every route"),
    ] {
        let got = told("GET", path).await;
        assert_eq!(got.problem(), (404, "route_not_found".into()), "{path}");
        assert!(got.detail().contains(hint), "{path}: {}", got.detail());
    }
    for path in ["/v1/users/auth0%7C1", "/v1/users", "/v1/users/"] {
        let got = told("GET", path).await;
        assert_eq!(got.problem(), (405, "method_not_allowed".into()), "{path}");
        for named in ["GET /v1/users/{user_id}/token", "/v1/users/{user_id}/identities"] {
            assert!(got.detail().contains(named), "{path}: {}", got.detail());
        }
    }
    assert!(told("POST", "/v1/status").await.detail().contains("use GET"));
    assert!(told("GET", "/v1/reload").await.detail().contains("use POST"));

    // Whatever is asked for wrongly, no answer says how everything would be forgotten.
    for path in
        ["/v1/users", "/v1/users/a", "/v1/user", "/v1/usres", "/v1/users/a/b", "/users", "/v1/users/a/"]
    {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH"] {
            let body = told(method, path).await.body.to_ascii_lowercase();
            let body = String::from_utf8(body).unwrap();
            assert!(!body.contains("delete") && !body.contains("purge"), "{method} {path}: {body}");
        }
    }
    // And none repeats what the caller sent.
    let body = told("GET", "/v1/canary-path/canary-more").await.body;
    assert!(!String::from_utf8(body.to_vec()).unwrap().contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_was_encoded_twice_is_told_apart_from_one_that_nobody_has() {
    let world = world_with("").await;
    for suffix in ["token", "identities"] {
        for (id, is_twice) in [
            ("google-oauth2%257C103547991597142817347", true),
            ("google-oauth2%257c1", true),
            ("samlp%257Curn%25253Ax", true),
            ("jane%2540corp.example", true),
            ("auth0%7Cnobody", false),
            // An id may well hold such a text of its own.
            ("samlp%7Curn%253Anobody", false),
            ("auth0%7C100%25", false),
        ] {
            let got = world.get(&format!("/v1/users/{id}/{suffix}")).await;
            assert_eq!(got.problem(), (404, "user_not_found".into()), "{id}");
            assert_eq!(got.detail().contains("percent-encoded twice"), is_twice, "{id}: {}", got.detail());
        }
    }
    // It is a hint and no refusal: whoever has such a text in their id is answered.
    world.tenant.put_user(json!({"user_id": "samlp|urn%3Ax", "identities": [
        {"connection": "saml", "provider": "samlp", "user_id": "urn%3Ax", "access_token": "t"}]}));
    assert_eq!(world.get("/v1/users/samlp%7Curn%253Ax/token").await.json()["access_token"], "t");
}

#[tokio::test(start_paused = true)]
async fn a_request_header_with_another_value_is_told_so() {
    let world = world_with("").await;
    for value in ["True", "1", "yes", ""] {
        let got = world.send("GET", "/v1/status", &[("cloakroom-request", value)]).await;
        assert_eq!(got.problem(), (403, "request_header_required".into()), "{value}");
        assert!(got.detail().contains("has a value other than `true`"), "{value}: {}", got.detail());
    }
    let got = world.send("GET", "/v1/status", &[]).await;
    assert!(!got.detail().contains("other than"), "{}", got.detail());
}

/// The seconds that an answer's `Keep-Alive` promises.
fn promised(headers: &BTreeMap<String, String>) -> Option<u64> {
    headers.get("keep-alive").map(|value| value.strip_prefix("timeout=").unwrap().parse().unwrap())
}

/// A connection that has asked once.
async fn kept(world: &World) -> UnixStream {
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    stream.write_all(request("GET", "/livez", "").as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream, true).await.0, 200);
    stream
}

/// Who believes the header never meets the daemon's own limit.
#[tokio::test(start_paused = true)]
async fn a_kept_connection_is_promised_for_less_than_it_lasts() {
    let world = world_with("").await;
    let mut least = u64::MAX;
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    for path in [&World::path(users::GOOGLE), &World::path("auth0|nobody"), "/livez", "/v1/nowhere"] {
        for method in ["GET", "HEAD"] {
            stream.write_all(request(method, path, "").as_bytes()).await.unwrap();
            let (_, headers, _) = answer(&mut stream, method == "GET").await;
            least = least.min(promised(&headers).unwrap_or_else(|| panic!("{method} {path}: {headers:?}")));
            assert!(!headers.contains_key("connection"), "{headers:?}");
        }
    }
    assert!((30..110).contains(&least), "{least}");
    tokio::time::sleep(Duration::from_secs(least)).await;
    stream.write_all(request("GET", "/livez", "").as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream, true).await.0, 200);

    // Where the connection ends with the answer, nothing is promised.
    for (version, connection, is_kept) in [
        ("1.1", "connection: close\r\n", false),
        ("1.1", "connection: foo, Close\r\n", false),
        ("1.1", "connection: keep-alive\r\n", true),
        ("1.1", "", true),
        ("1.0", "", false),
        ("1.0", "connection: Keep-Alive\r\n", true),
    ] {
        let mut stream = UnixStream::connect(&world.socket).await.unwrap();
        let text = request("GET", &World::path(users::GOOGLE), connection)
            .replace("HTTP/1.1", &format!("HTTP/{version}"));
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut said = vec![0; 8192];
        let length = stream.read(&mut said).await.unwrap();
        let said = String::from_utf8(said[..length].to_vec()).unwrap();
        assert!(said.contains("\r\ncloakroom-cache: hit\r\n"), "{said}");
        assert_eq!(said.contains("\r\nkeep-alive: timeout="), is_kept, "{version} {connection:?}: {said}");
        if !is_kept {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        }
    }
    // A body that is not read to its end ends the connection, too.
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let text = request("GET", "/v1/status", "content-length: 70000\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let (status, headers, _) = answer(&mut stream, true).await;
    assert_eq!((status, promised(&headers)), (413, None));
    assert_eq!(headers.get("connection").map(String::as_str), Some("close"));
}

/// A request that is in the kernel's hands when the idle limit comes is answered; in virtual time to the instant.
#[tokio::test(start_paused = true)]
async fn a_request_that_comes_at_the_idle_limit_is_answered_and_not_reset() {
    let world = world_with("").await;
    let mut calm = kept(&world).await;
    let begun = Instant::now();
    assert_eq!(calm.read(&mut [0; 1]).await.unwrap(), 0);
    let limit = begun.elapsed();
    assert!(limit >= Duration::from_secs(120), "{limit:?}");

    // Asked for before the daemon's own timers are, so that what is written then finds them due and not yet seen to.
    let start = Instant::now();
    let mut ring = Box::pin(tokio::time::sleep_until(start + limit));
    assert!(tokio::time::timeout(Duration::ZERO, &mut ring).await.is_err());
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(kept(&world).await);
    }
    let mut streams: Vec<_> = streams.into_iter().map(|stream| stream.into_std().unwrap()).collect();
    assert_eq!(Instant::now(), start, "no time has passed");
    ring.await;
    for stream in &mut streams {
        stream.write_all(request("GET", "/livez", "").as_bytes()).expect("the daemon has not closed it yet");
    }
    for stream in streams {
        let mut stream = UnixStream::from_std(stream).unwrap();
        let (status, headers, body) = answer(&mut stream, true).await;
        assert_eq!((status, body.as_slice()), (200, b"live\n".as_slice()));
        assert_eq!(headers.get("connection").map(String::as_str), Some("close"), "{headers:?}");
        assert_eq!(promised(&headers), None);
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "it ends as it should");
    }
}

//! The HTTP interface, through the real socket, against the simulated tenant.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests stop at the first surprise, and use the part of the support that they need"
)]

mod support {
    pub mod world;
}

use std::sync::atomic::Ordering;
use std::time::Duration;

use cloakroom::app::Ended;
use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions, WaitHint, users};
use serde_json::{Value, json};
use support::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

async fn world() -> World {
    world_with("").await
}

async fn world_with(settings: &str) -> World {
    let world = World::simulated(TenantOptions::default(), settings).await;
    world.ready().await;
    world
}

const HEADER: (&str, &str) = ("cloakroom-request", "true");

/// Sends bytes as they are and reads until the connection closes.
async fn raw(world: &World, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

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
async fn the_request_header_is_required_of_all_but_probes() {
    let world = world().await;
    for path in [&*World::path(users::GOOGLE), "/v1/status", "/openapi.json", "/nowhere"] {
        for headers in [&[][..], &[("cloakroom-request", "1")], &[("cloakroom-request", "")]] {
            let got = world.send("GET", path, headers).await;
            assert_eq!(got.problem(), (403, "request_header_required".into()), "{path}");
        }
    }
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(world.send("GET", path, &[]).await.status, 200, "{path}");
    }
    assert_eq!(world.tenant.calls_to(Endpoint::User).len(), 0);

    let lax = world_with("[[listener]]\npath = \"{dir}/lax.sock\"\nrequire_request_header = false").await;
    assert_eq!(lax.send("GET", &World::path(users::GOOGLE), &[]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_sent_on_are_refused() {
    let world = world().await;
    for name in ["forwarded", "x-forwarded-for", "x-forwarded-anything", "origin", "referer"] {
        for path in [&*World::path(users::GOOGLE), "/livez"] {
            let got = world.send("GET", path, &[HEADER, (name, "x")]).await;
            assert_eq!(got.problem(), (403, "forwarded_request".into()), "{name} {path}");
            assert!(got.detail().contains(name));
        }
    }
    assert_eq!(world.tenant.calls_to(Endpoint::User).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn routes_and_methods_that_do_not_exist_say_so() {
    let world = world().await;
    for path in ["/", "/v1", "/v2/users", "/v1/users/a/b/token", "/v1/users/a/token/", "/metric"] {
        assert_eq!(world.get(path).await.problem(), (404, "route_not_found".into()), "{path}");
    }
    for (method, path, allow) in [
        ("POST", "/v1/users/a/token", "GET, HEAD"),
        ("GET", "/v1/users/a", "DELETE"),
        ("GET", "/v1/users", "DELETE"),
        ("PUT", "/livez", "GET, HEAD"),
    ] {
        let got = world.send(method, path, &[HEADER]).await;
        assert_eq!((got.status.as_u16(), got.header("allow")), (405, Some(allow)), "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn parameters_are_understood_or_refused_by_name() {
    let world = world().await;
    let token = World::path(users::GOOGLE);
    for (target, parameter) in [
        (format!("{token}?conection=x"), "conection"),
        (format!("{token}?connection="), "connection"),
        (format!("{token}?connection=a&connection=b"), "connection"),
        (format!("{token}?min_ttl=60x"), "min_ttl"),
        (format!("{token}?fresh=yes"), "fresh"),
        (token.replace("/token", "/identities?connection=x"), "connection"),
        ("/v1/status?verbose=1".into(), "verbose"),
        ("/v1/users//token".into(), "user_id"),
        ("/v1/users/a%/token".into(), "user_id"),
        ("/v1/users/a%0Ab/token".into(), "user_id"),
        ("/v1/users/a%FFb/token".into(), "user_id"),
        ("/v1/users/../token".into(), "user_id"),
        (format!("/v1/users/{}/token", "a".repeat(301)), "user_id"),
    ] {
        let got = world.get(&target).await;
        assert_eq!(got.problem(), (400, "invalid_request".into()), "{target}");
        assert_eq!(got.json()["parameter"], parameter, "{target}");
    }
    assert_eq!(world.tenant.calls_to(Endpoint::User).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_decoded_once_and_encoded_once() {
    let world = world().await;
    world.tenant.put_user(json!({"user_id": "samlp|urn%3Ax", "identities": [
        {"connection": "saml", "provider": "samlp", "user_id": "urn%3Ax", "access_token": "t"}]}));
    assert_eq!(world.get("/v1/users/samlp%7Curn%253Ax/token").await.json()["user_id"], "samlp|urn%3Ax");
    let call = world.tenant.calls_to(Endpoint::User).pop().unwrap();
    assert!(call.path.starts_with("/api/v2/users/samlp%7Curn%253Ax?"), "{}", call.path);
}

#[tokio::test(start_paused = true)]
async fn header_sections_and_bodies_have_bounds() {
    let world = world().await;
    let many: Vec<_> = (0..64).map(|n| format!("x-{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).chain([HEADER]).collect();
    assert_eq!(world.send("GET", "/livez", &many).await.problem(), (431, "headers_too_large".into()));
    let long = "x".repeat(17 * 1024);
    let got = world.send("GET", "/livez", &[("x-long", &long)]).await;
    assert_eq!(got.problem(), (431, "headers_too_large".into()));

    let head = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ";
    let large = raw(&world, format!("{head}65537\r\n\r\n").as_bytes()).await;
    assert!(large.starts_with("HTTP/1.1 413 ") && large.contains("body_too_large"), "{large}");
    let chunk = format!("10001\r\n{}\r\n0\r\n\r\n", "x".repeat(65_537));
    let chunked = head.replace("content-length: ", "transfer-encoding: chunked\r\n\r\n") + &chunk;
    let large = raw(&world, chunked.as_bytes()).await;
    assert!(large.starts_with("HTTP/1.1 413 ") && large.contains("body_too_large"), "{large}");
    let small = raw(&world, format!("{head}3\r\n\r\nabc").as_bytes()).await;
    assert!(small.starts_with("HTTP/1.1 200 "), "{small}");
}

/// Also where HTTP has given up on the connection, the caller is told why, and in our own words.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_as_a_request_is_explained_too() {
    let world = world().await;
    let fields: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let [long, target] = ["x".repeat(70 * 1024), "y".repeat(70 * 1024)];
    for (request, status, code) in [
        (format!("GET /livez HTTP/1.1\r\nhost: x\r\n{fields}\r\n"), 431, "headers_too_large"),
        (format!("GET /livez HTTP/1.1\r\nx-long: {long}\r\n\r\n"), 431, "headers_too_large"),
        (format!("GET /{target} HTTP/1.1\r\nhost: x\r\n\r\n"), 431, "headers_too_large"),
        ("hello\r\n\r\n".into(), 400, "invalid_request"),
        ("GET /livez HTTP/3.7\r\n\r\n".into(), 400, "invalid_request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 400, "invalid_request"),
        ("GET /livez HTTP/1.1\r\nho st: x\r\n\r\n".into(), 400, "invalid_request"),
        (
            "GET /livez HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".into(),
            400,
            "invalid_request",
        ),
    ] {
        let whole = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
        for before in ["", whole] {
            let answer = raw(&world, format!("{before}{request}").as_bytes()).await;
            let last = answer.rfind("HTTP/1.1 ").unwrap();
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1 + before.len().min(1), "{answer}");
            let (head, body) = answer[last..].split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {answer}");
            assert!(
                head.contains("application/problem+json") && head.contains("connection: close"),
                "{head}"
            );
            let problem: Value = serde_json::from_str(body).unwrap();
            assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{answer}");
        }
    }
}

/// Guarantee 8: answers that nobody reads take neither memory nor a connection for ever.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_its_answers_is_waited_for_half_a_minute() {
    let world = world().await;
    let open = || world.running.services().listeners[0].connections.load(Ordering::Relaxed);
    let one = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n";
    let fill = async |stream: &mut UnixStream| {
        let mut asked = 0;
        // Until the daemon takes no more: it reads no request before the answer to the last one is on its way.
        while tokio::time::timeout(Duration::from_millis(1), stream.write_all(one)).await.is_ok() {
            asked += 1;
        }
        asked
    };
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    assert!(fill(&mut stream).await < 50_000);
    // A little at a time, with pauses: slow, but alive.
    let mut some = vec![0; 300_000];
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(open(), 1);
        assert_ne!(stream.read(&mut some).await.unwrap(), 0);
    }
    let begun = tokio::time::Instant::now();
    while open() == 1 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!((30..=31).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

/// Guarantee 8: requests under way are bounded by connections, since each connection has one at a time.
#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_begun_one_at_a_time() {
    let world = world().await;
    world.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_secs(1)));
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    for n in 0..50 {
        let path = World::path(&format!("auth0|{n}"));
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(world.cache().in_flight() <= 1);
    }
    assert!((9..=10).contains(&world.tenant.calls_to(Endpoint::User).len()));
}

#[tokio::test(start_paused = true)]
async fn slow_heads_and_bodies_are_given_up_on() {
    let world = world().await;
    let begun = tokio::time::Instant::now();
    let head = raw(&world, b"GET /livez HTTP/1.1\r\nhos").await;
    assert!(head.starts_with("HTTP/1.1 408 ") && head.contains("request_timeout"), "{head}");
    assert_eq!(begun.elapsed().as_secs(), 5);
    let body = raw(&world, b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab").await;
    assert!(body.starts_with("HTTP/1.1 408 ") && body.contains("request_timeout"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_is_not_waited_for() {
    let world = world().await;
    for (wait, bytes, answer) in [(0, "", ""), (4, "G", "HTTP/1.1 408 ")] {
        let begun = tokio::time::Instant::now();
        let mut stream = UnixStream::connect(&world.socket).await.unwrap();
        tokio::time::sleep(Duration::from_secs(wait)).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with(answer) && said.is_empty() == answer.is_empty(), "{said}");
        assert_eq!(begun.elapsed().as_secs(), 5, "from connecting, whatever came when");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_many_requests_and_is_closed_when_it_is_idle() {
    let world = world().await;
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let mut buffer = vec![0; 4096];
    for _ in 0..10 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..n].starts_with(b"HTTP/1.1 200 OK"));
        // Longer than a head may take: an idle connection is not a slow one.
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let begun = tokio::time::Instant::now() - Duration::from_secs(60);
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
    assert!((120..=240).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

/// Guarantee 8: connections beyond `max_connections` wait in the kernel's queue until there is room.
#[tokio::test(start_paused = true)]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let world = world_with("[[listener]]\npath = \"{dir}/api.sock\"\nmax_connections = 2").await;
    let connect = async || UnixStream::connect(&world.socket).await.unwrap();
    let mut buffer = vec![0; 4096];
    let mut ask = async |stream: &mut UnixStream| {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        tokio::time::timeout(Duration::from_secs(1), stream.read(&mut buffer)).await.is_ok()
    };
    let (mut first, mut second, mut third) = (connect().await, connect().await, connect().await);
    assert!(ask(&mut first).await && ask(&mut second).await);
    assert!(!ask(&mut third).await);
    drop(first);
    assert!(ask(&mut third).await);
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let world = world().await;
    let one = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = raw(&world, format!("{one}{one}{last}").as_bytes()).await;
    let statuses: Vec<_> =
        answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "403"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_body_is_broken_is_not_carried_out() {
    let world = world().await;
    let path = World::path(users::GOOGLE);
    assert_eq!(world.get(&path).await.header("cloakroom-cache"), Some("miss"));
    for body in [
        "transfer-encoding: chunked\r\n\r\nZZ\r\n",
        "transfer-encoding: chunked\r\n\r\n3\r\nab",
        "content-length: 3\r\n\r\nab",
    ] {
        let request = format!("DELETE /v1/users HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n{body}");
        let mut stream = UnixStream::connect(&world.socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut refused = String::new();
        stream.read_to_string(&mut refused).await.unwrap();
        assert!(refused.starts_with("HTTP/1.1 400 "), "{body:?}: {refused}");
        assert!(refused.contains(r#""parameter":"body""#), "{refused}");
    }
    assert_eq!(world.get(&path).await.header("cloakroom-cache"), Some("hit"));
}

/// As `nc -N` and `socat` do.
#[tokio::test(start_paused = true)]
async fn who_has_said_everything_and_shuts_that_half_is_answered() {
    let world = world().await;
    world.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_secs(1)));
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let path = World::path(users::GOOGLE);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("access_token"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_holds_its_connection_for_half_a_second_and_its_lookup_goes_on() {
    let world = world().await;
    world.tenant.fault(Endpoint::User, Fault::StallHeaders);
    let open = || world.running.services().listeners[0].connections.load(Ordering::Relaxed);
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let path = World::path(users::GOOGLE);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(open(), 1);
    drop(stream);
    tokio::time::sleep(Duration::from_millis(510)).await;
    assert_eq!((open(), world.cache().in_flight()), (0, 1));
}

/// Guarantee 9, as exactly as virtual time allows: nothing of what follows has been seen by the daemon when its end
/// begins, and all of it was there before.
#[tokio::test(start_paused = true)]
async fn the_end_answers_those_who_were_there_before_it() {
    let world = world().await;
    let request = |close| format!("GET /livez HTTP/1.1\r\nhost: x\r\n{close}\r\n");
    let mut kept = UnixStream::connect(&world.socket).await.unwrap();
    kept.write_all(request("").as_bytes()).await.unwrap();
    let mut buffer = vec![0; 4096];
    let n = kept.read(&mut buffer).await.unwrap();
    assert!(
        buffer[..n].starts_with(b"HTTP/1.1 200 ") && !buffer[..n].windows(5).any(|part| part == b"close")
    );
    let mut accepted = UnixStream::connect(&world.socket).await.unwrap();
    let mut silent = UnixStream::connect(&world.socket).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;

    // Without giving the daemon a turn in between.
    let mut callers: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = std::os::unix::net::UnixStream::connect(&world.socket).unwrap();
            std::io::Write::write_all(&mut stream, request("").as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            UnixStream::from_std(stream).unwrap()
        })
        .collect();
    kept.try_write(request("").as_bytes()).unwrap();
    let begun = tokio::time::Instant::now();
    let late = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        accepted.write_all(request("").as_bytes()).await.unwrap();
        accepted
    };
    let (ended, accepted) = tokio::join!(world.running.stop(), late);
    assert_eq!(ended, Ended::Finished);
    assert!(begun.elapsed() <= Duration::from_millis(200), "{:?}", begun.elapsed());
    assert!(!world.socket.exists());
    callers.extend([kept, accepted]);
    for mut caller in callers {
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    }
    assert_eq!(silent.read(&mut buffer).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn probes_tell_started_and_ready_apart() {
    let world = World::simulated(TenantOptions::default(), "").await;
    world.tenant.fault(Endpoint::Token, Fault::Edge503Html);
    assert!(world.look_up(users::GOOGLE).await.is_err());
    let probe = async |path| {
        let got = world.send("GET", path, &[]).await;
        (got.status.as_u16(), String::from_utf8(got.body.to_vec()).unwrap())
    };
    assert_eq!(probe("/livez").await, (200, "live\n".into()));
    let (status, line) = probe("/startupz").await;
    assert_eq!(status, 503);
    assert!(line.starts_with("not started: no Management token: Auth0 answered with status 503"), "{line}");
    assert_eq!(probe("/readyz").await.0, 503);

    world.tenant.clear_all();
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.ready().await;
    assert_eq!(probe("/startupz").await, (200, "started\n".into()));
    assert_eq!(probe("/readyz").await, (200, "ready\n".into()));

    let calls = world.tenant.calls().len();
    world.tenant.fault(Endpoint::Token, Fault::Edge503Html);
    tokio::time::sleep(Duration::from_secs(86_400 * 2)).await;
    assert_eq!(probe("/startupz").await.0, 200, "once started, always started");
    assert_eq!(probe("/readyz").await.0, 503);
    let grants = world.tenant.calls().len() - calls;
    probe("/readyz").await;
    assert_eq!(world.tenant.calls().len() - calls, grants, "no probe calls upstream");
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

#[tokio::test(start_paused = true)]
async fn status_tells_everything_but_tokens_and_users() {
    let world = world().await;
    for path in [World::path(users::GOOGLE), World::path(users::GOOGLE), World::path("auth0|nobody")] {
        world.get(&path).await;
    }
    let got = world.get("/v1/status").await;
    let status = got.json();
    assert_eq!((&status["ready"], &status["draining"]), (&json!(true), &json!(false)));
    assert_eq!(status["lookups"], json!({"hit": 1, "miss": 1, "stale": 0, "negative": 1, "error": 0}));
    assert_eq!(
        status["upstream"],
        json!({
            "token_requests": 1, "user_requests": 2, "key_requests": 0, "failures": 0, "last_failure": null, "flights_joined": 0,
            "gate_closed_for": null, "waiting": 0, "ratelimit_remaining": 49, "thrifty": false,
            "clock_skew_seconds": 0.0,
        })
    );
    assert_eq!(status["cache"]["entries"], 2);
    assert_eq!(status["cache"]["max_bytes"], 64 << 20);
    assert_eq!(status["management_token"]["scopes"], json!(["read:users", "read:user_idp_tokens"]));
    assert_eq!(status["management_token"]["expires_at"], "2026-11-23T10:00:00Z");
    assert_eq!(status["listeners"][0]["connections"], 1);
    let text = String::from_utf8(got.body.to_vec()).unwrap();
    let token = world.tenant.user(users::GOOGLE).unwrap()["identities"][0]["access_token"].clone();
    for secret in [token.as_str().unwrap(), "103547991597142817347", "demo-client-secret", "eyJ"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_the_same_as_status_and_no_user() {
    let world = world().await;
    for path in [World::path(users::GOOGLE), World::path(users::GOOGLE), World::path("auth0|nobody")] {
        world.get(&path).await;
    }
    let got = world.send("GET", "/metrics", &[]).await;
    assert_eq!(got.status, 200, "as the probes, without the request header");
    let text = String::from_utf8(got.body.to_vec()).unwrap();
    for line in [
        r#"cloakroom_lookups_total{outcome="hit"} 1.0"#,
        r#"cloakroom_lookups_total{outcome="negative"} 1.0"#,
        r#"cloakroom_upstream_requests_total{endpoint="token",result="200"} 1.0"#,
        r#"cloakroom_upstream_requests_total{endpoint="user",result="404"} 1.0"#,
        r#"cloakroom_management_token_refreshes_total{result="success"} 1.0"#,
        "cloakroom_management_token_valid 1.0",
        "cloakroom_upstream_gate_closed 0.0",
        "cloakroom_upstream_ratelimit_remaining 49.0",
        "cloakroom_clock_skew_seconds 0.0",
        "cloakroom_cache_entries 2.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains("103547991597142817347") && !text.contains("nobody"), "{text}");
    world.tenant.fault(Endpoint::User, Fault::RateLimited(WaitHint::Seconds(9)));
    world.get(&World::path(users::JOHN)).await;
    let text = String::from_utf8(world.send("GET", "/metrics", &[]).await.body.to_vec()).unwrap();
    assert!(text.contains("cloakroom_upstream_gate_closed 1.0"), "{text}");
}

/// README's table of metrics, one after the other: its type, and a sample from the start or after what makes one.
#[tokio::test(start_paused = true)]
async fn every_metric_there_is_has_its_type_in_either_format() {
    let world = world().await;
    for path in [World::path(users::GOOGLE), World::path("auth0|nobody"), "/v1/nowhere".into()] {
        world.get(&path).await;
    }
    world.send("GET", &World::path(users::GOOGLE), &[]).await;
    let read = |accept: &'static str| {
        let world = &world;
        async move {
            let got = world.send("GET", "/metrics", &[("accept", accept)]).await;
            let kind = got.header("content-type").unwrap().to_owned();
            (String::from_utf8(got.body.to_vec()).unwrap(), kind)
        }
    };
    let (plain, kind) = read("text/plain").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let (open, kind) = read("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1").await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.ends_with("\n# EOF\n") && !plain.contains("# EOF"));

    let page = std::fs::read_to_string("README.md").unwrap();
    let part = page.split("\n### Metrics\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = part.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: std::collections::BTreeMap<_, _> = rows
        .map(|(name, rest)| (name.split('{').next().unwrap(), rest.split('|').nth(1).unwrap().trim()))
        .collect();
    let types: std::collections::BTreeMap<_, _> =
        plain.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    assert_eq!(types, documented, "what is served (left) and README's table (right)");
    for (name, kind) in types {
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
        assert!(plain.lines().any(|line| line.starts_with(&sample)), "{name} has no sample");
        assert!(open.contains(&format!("# TYPE {} {kind}\n", name.trim_end_matches("_total"))), "{name}");
    }
    for line in [
        r#"cloakroom_responses_total{route="/v1/users/{user_id}/token",status="200"} 1.0"#,
        r#"cloakroom_responses_total{route="/v1/users/{user_id}/token",status="403"} 1.0"#,
        r#"cloakroom_responses_total{route="/v1/users/{user_id}/token",status="404"} 1.0"#,
        r#"cloakroom_responses_total{route="none",status="404"} 1.0"#,
        r#"cloakroom_denied_total{reason="request_header_required"} 1.0"#,
        r#"cloakroom_lookup_duration_seconds_count{outcome="miss"} 1"#,
        r#"cloakroom_upstream_request_duration_seconds_count{endpoint="user"} 2"#,
    ] {
        assert!(plain.lines().any(|found| found == line), "{line} in\n{plain}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_description_of_all_this_is_served() {
    let world = world().await;
    let got = world.get("/openapi.json").await;
    assert_eq!(got.status, 200);
    assert!(got.json()["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
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

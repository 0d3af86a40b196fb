//! What a request has to be: its header, its route, its parameters and its size.

use cloakroom::fake_auth0::{Endpoint, users};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{HEADER, raw, world, world_with};
use crate::support::world::World;

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

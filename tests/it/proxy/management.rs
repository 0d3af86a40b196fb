//! Calls of the Management API through the socket: which are let through, and what comes back.

use aws_lc_rs::digest::{SHA256, digest};
use cloakroom::fake_auth0::{Endpoint, Fault, WaitHint, users};
use cloakroom::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::refusals::raw;
use super::*;

/// A daemon whose clients may make these calls, with an application of these permissions.
pub async fn desk(permissions: &[&str], rule: &str) -> World {
    let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
    tenant.register_application("ops", Secret::new("ops-secret"), permissions);
    let listening = tenant.listen(CertificateKind::Good).unwrap();
    let settings = format!(
        "[management_api]\nclient_id = \"ops\"\nsecret = \"ops-secret\"\n\
         [[listener]]\npath = \"{{dir}}/run/api.sock\"\nmode = \"0600\"\n\
         [[listener.allow]]\nuid = {}\noperations = [\"management_api\", \"token\"]\n{rule}\n",
        nix::unistd::geteuid()
    );
    let world = World::over_tls_before(tenant, listening, tempfile::tempdir().unwrap(), &settings).await;
    world.ready().await;
    world
}

const SOME: &str = "calls = [\"GET /users/*\", \"PATCH /users/*\", \"GET /users\", \"GET /clients\"]";

fn user(id: &str) -> String {
    format!("/api/v2/users/{}", UserId::parse(id).unwrap().to_path_segment())
}

#[tokio::test]
async fn a_call_goes_on_and_shows_no_token_of_a_provider() {
    let world = desk(&["read:users", "update:users"], SOME).await;
    let got = world.get(&format!("{}?fields=user_id%2Cidentities", user(users::GOOGLE))).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(got.header("cloakroom-upstream"), Some("1"));
    assert!(got.header("x-ratelimit-remaining").is_some());
    assert_eq!(got.json()["user_id"], users::GOOGLE);
    assert!(!String::from_utf8_lossy(&got.body).contains("access_token"), "{got:?}");
    let calls = world.tenant.calls_to(Endpoint::User);
    assert_eq!(calls.last().unwrap().client_id.as_deref(), Some("ops"));
}

#[tokio::test]
async fn without_a_rule_the_answer_is_auth0s_kind_of_403() {
    let world = desk(&["read:users"], SOME).await;
    for (method, path) in [
        ("GET", "/api/v2/clients/abc"),
        ("DELETE", "/api/v2/users/auth0%7C1"),
        ("GET", "/api/v2/"),
        ("POST", "/api/v2/users"),
        ("GET", "/api/v2/users/auth0%7C1/logs"),
    ] {
        let got = world.send(method, path, MEANT).await;
        assert_eq!(got.status, 403, "{method} {path} {got:?}");
        assert_eq!(got.header("cloakroom-upstream"), None);
        let body = got.json();
        assert_eq!((&body["statusCode"], &body["error"]), (&403.into(), &"Forbidden".into()));
        assert_eq!(body["errorCode"], "cloakroom_forbidden");
        assert!(body["message"].as_str().unwrap().contains("management_api"), "{body}");
    }
    for path in ["/api/v2/../oauth/token", "/api/v2/%2e%2e/oauth/token", "/api/v2/users/..", "/api/v2//users"]
    {
        let got = world.get(path).await;
        assert_eq!(
            (got.status.as_u16(), &got.json()["errorCode"]),
            (400, &"cloakroom_ambiguous_path".into()),
            "{path}"
        );
    }
    assert!(world.tenant.calls_to(Endpoint::ManagementApi).is_empty());
    assert!(world.tenant.calls_to(Endpoint::User).is_empty());
}

#[tokio::test]
async fn every_refusal_below_api_v2_has_auth0s_shape() {
    let world = desk(&["read:users"], "calls = [\"GET /**\", \"POST /**\"]").await;
    let long = format!("/api/v2/{}", "x".repeat(5000));
    let of = |headers: &[(&'static str, &'static str)]| [MEANT, headers].concat();
    for (method, path, headers, status, code) in [
        ("GET", "/api/v2", of(&[]), 400, "ambiguous_path"),
        ("GET", "/api/v2?page=1", of(&[]), 400, "ambiguous_path"),
        ("GET", "/api/v2/..", of(&[]), 400, "ambiguous_path"),
        ("GET", "/api/v2/users/../..", of(&[]), 400, "ambiguous_path"),
        ("GET", "/api/v2/%2E%2E/v2", of(&[]), 400, "ambiguous_path"),
        ("GET", &long, of(&[]), 400, "ambiguous_path"),
        ("GET", "/api/v2/users?access_token=x", of(&[]), 400, "credential_in_query"),
        ("GET", "/api/v2/users", of(&[("x-http-method-override", "PUT")]), 400, "method_override"),
        ("GET", "/api/v2/users", of(&[("upgrade", "websocket")]), 501, "upgrade_unsupported"),
        ("GET", "/api/v2/users", of(&[("origin", "https://page.example")]), 403, "forwarded_request"),
        ("GET", "/api/v2/users", Vec::new(), 403, "request_header_required"),
        ("GET", "/api/v2", Vec::new(), 403, "request_header_required"),
        ("TRACE", "/api/v2/users", of(&[]), 405, "method_not_allowed"),
        ("DELETE", "/api/v2/users", of(&[]), 403, "forbidden"),
    ] {
        let got = world.send(method, path, &headers).await;
        let body = shape(&got);
        assert_eq!(body, (status, format!("cloakroom_{code}")), "{method} {path:.40} {got:?}");
    }
    // The limits are fixed, so no key of the configuration is named.
    let head = format!(
        "POST /api/v2/jobs/users-imports HTTP/1.1\r\nhost: a\r\ncloakroom-request: true\r\ncontent-length: {}\r\n\r\n",
        1024 * 1024 + 1
    );
    let got = raw(&world, &head).await;
    assert!(got.starts_with("HTTP/1.1 413 ") && got.contains("\"cloakroom_body_too_large\""), "{got}");
    assert!(got.contains("1048576 bytes") && !got.contains("[[proxy]]"), "{got}");
    assert!(world.tenant.calls_to(Endpoint::ManagementApi).is_empty());
    assert!(world.tenant.calls_to(Endpoint::User).is_empty());
}

#[tokio::test]
async fn without_the_table_the_answer_is_auth0s_kind_of_404_and_names_the_table() {
    let world = World::over_tls(TenantOptions::default(), "").await;
    world.ready().await;
    for path in ["/api/v2", "/api/v2/", "/api/v2/users"] {
        let got = world.get(path).await;
        assert_eq!(shape(&got), (404, "cloakroom_route_not_found".into()), "{path}");
        assert!(got.json()["message"].as_str().unwrap().contains("[management_api]"), "{got:?}");
    }
    assert!(world.tenant.calls_to(Endpoint::ManagementApi).is_empty());
}

/// The status and the code of an error in Auth0's shape, whose members state the status as its head does.
fn shape(got: &Got) -> (u16, String) {
    let body = got.json();
    assert_eq!(got.header("content-type"), Some("application/json; charset=utf-8"), "{got:?}");
    assert_eq!(got.header("cloakroom-upstream"), None, "{got:?}");
    assert_eq!(body["statusCode"], got.status.as_u16(), "{got:?}");
    assert!(body["error"].is_string() && body["message"].is_string(), "{got:?}");
    (got.status.as_u16(), body["errorCode"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_rule_for_some_users_lets_through_only_calls_about_them() {
    let world = desk(&["read:users"], "calls = [\"GET /**\"]\nusers = [\"google-oauth2|*\"]").await;
    assert_eq!(world.get(&user(users::GOOGLE)).await.status, 200);
    for path in
        [user(users::GITHUB), "/api/v2/users".into(), "/api/v2/users?q=x".into(), "/api/v2/clients".into()]
    {
        assert_eq!(world.get(&path).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn a_write_on_a_user_forgets_that_users_entry() {
    let world = desk(&["read:users", "update:users"], SOME).await;
    assert_eq!(world.get(&World::path(users::GOOGLE)).await.header("cloakroom-cache"), Some("miss"));
    assert_eq!(world.get(&World::path(users::GOOGLE)).await.header("cloakroom-cache"), Some("hit"));
    let headers = [("cloakroom-request", "true"), ("content-type", "application/json")];
    let got = world.send_with("PATCH", &user(users::GOOGLE), &headers, "{\"blocked\":true}").await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(world.get(&World::path(users::GOOGLE)).await.problem(), (403, "user_blocked".into()));
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_a_write_made_once_more_where_auth0_says_why() {
    let world = desk(&["read:users", "update:users"], SOME).await;
    let headers = [("cloakroom-request", "true"), ("content-type", "application/json")];
    let patch = async || world.send_with("PATCH", &user(users::GOOGLE), &headers, "{\"name\":\"J\"}").await;
    assert_eq!(patch().await.status, 200);
    world.tenant.revoke_management_tokens();
    let got = patch().await;
    assert_eq!((got.status.as_u16(), got.header("cloakroom-verdict")), (200, None), "{got:?}");
    assert_eq!(got.json()["name"], "J");
    assert_eq!(world.tenant.calls_to(Endpoint::ManagementApi).len(), 3);
}

/// Something between the daemon and Auth0 may say this after Auth0 has acted.
#[tokio::test]
async fn a_401_that_names_nothing_lets_only_a_reading_call_be_made_once_more() {
    for (method, endpoint, status, sent) in
        [("PATCH", Endpoint::ManagementApi, 401, 1), ("GET", Endpoint::User, 200, 2)]
    {
        let world = desk(&["read:users", "update:users"], SOME).await;
        let headers = vec![("content-type".into(), "application/json".into())];
        let fault = Fault::Status { status: 401, headers, body: "{\"message\":\"Bad session\"}".into() };
        world.tenant.fault_next(endpoint, 1, fault);
        let headers = [("cloakroom-request", "true"), ("content-type", "application/json")];
        let body = if method == "PATCH" { "{\"name\":\"J\"}" } else { "" };
        let got = world.send_with(method, &user(users::GOOGLE), &headers, body).await;
        assert_eq!((got.status.as_u16(), got.header("cloakroom-upstream")), (status, Some("1")), "{got:?}");
        assert_eq!(world.tenant.calls_to(endpoint).len(), sent, "{method}");
    }
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let world = desk(&["read:users"], SOME).await;
    let got = world.get("/api/v2/clients").await;
    assert_eq!(got.status, 403, "{got:?}");
    assert_eq!(got.header("cloakroom-upstream"), Some("1"));
    assert_eq!(got.json()["errorCode"], "insufficient_scope");
    assert_eq!(
        got.header("cloakroom-verdict"),
        Some("missing_scope; needed=\"read:clients read:client_keys\"; any_of")
    );
    assert!(got.header("cloakroom-remedy").is_none(), "no login brings a permission");
}

#[tokio::test]
async fn a_closed_gate_is_answered_as_auth0_answers() {
    let world = desk(&["read:users"], SOME).await;
    world.tenant.fault_next(Endpoint::User, 1, Fault::RateLimited(WaitHint::Seconds(30)));
    assert_eq!(world.get(&user(users::GOOGLE)).await.status, 429, "Auth0's own");
    let got = world.get(&user(users::GOOGLE)).await;
    assert_eq!((got.status.as_u16(), got.header("cloakroom-upstream")), (429, None), "{got:?}");
    assert!((1..60).contains(&got.retry_after().unwrap()), "{got:?}");
    assert_eq!(got.header("x-ratelimit-remaining"), Some("0"));
    assert!(got.header("x-ratelimit-reset").is_some());
    assert_eq!(got.json()["errorCode"], "cloakroom_rate_limited");
}

const EVERY: &str = "calls = [\"GET /**\", \"POST /**\", \"PATCH /**\", \"DELETE /**\"]";

/// Every call whose answer has identities, and its status.
fn calls_with_identities() -> Vec<(&'static str, String, &'static str, u16)> {
    let google = user(users::GOOGLE);
    vec![
        ("GET", user(users::LINKED), "", 200),
        ("GET", format!("{}?fields=identities&include_fields=true", user(users::LINKED)), "", 200),
        ("GET", "/api/v2/users?per_page=100".into(), "", 200),
        ("GET", "/api/v2/users?fields=identities".into(), "", 200),
        ("GET", "/api/v2/users?search_engine=v3&q=identities.provider%3Agithub".into(), "", 200),
        ("GET", "/api/v2/users-by-email?email=lin.ked%40example.com&fields=identities".into(), "", 200),
        ("PATCH", google.clone(), r#"{"nickname":"ann"}"#, 200),
        ("POST", format!("{google}/identities"), r#"{"provider":"github","user_id":583231}"#, 201),
        ("DELETE", format!("{google}/identities/github/583231"), "", 200),
    ]
}

const WRITES: &[&str] = &["read:users", "update:users"];

/// Sends JSON.
async fn send(world: &World, method: &str, path: &str, body: &str) -> Got {
    let headers = [MEANT[0], ("content-type", "application/json")];
    world.send_with(method, path, &headers, body).await
}

#[tokio::test]
async fn no_answer_with_identities_shows_a_token_of_a_provider() {
    let world = desk(WRITES, EVERY).await;
    for (method, path, body, status) in calls_with_identities() {
        let got = send(&world, method, &path, body).await;
        assert_eq!(
            (got.status.as_u16(), got.header("cloakroom-upstream")),
            (status, Some("1")),
            "{path} {got:?}"
        );
        let text = String::from_utf8_lossy(&got.body);
        assert!(text.contains("\"isSocial\":true"), "{method} {path}: {text}");
        for secret in ["access_token", "refresh_token", "ya29.", "gho_", "demo-token"] {
            assert!(!text.contains(secret), "{method} {path}: {text}");
        }
    }
}

#[tokio::test]
async fn no_route_is_open_with_a_token_that_shows_users_tokens() {
    let permissions = [WRITES, &["read:user_idp_tokens"]].concat();
    let world = desk(&permissions, EVERY).await;
    for (method, path, body, _) in calls_with_identities() {
        let got = send(&world, method, &path, body).await;
        assert_eq!(
            (got.status.as_u16(), &got.json()["errorCode"]),
            (503, &"cloakroom_management_api_closed".into()),
            "{method} {path}"
        );
        assert_eq!(got.header("cloakroom-upstream"), None);
    }
    for endpoint in [Endpoint::User, Endpoint::ManagementApi] {
        assert!(world.tenant.calls_to(endpoint).is_empty());
    }
}

#[tokio::test]
async fn an_import_of_users_arrives_byte_for_byte() {
    let world = desk(&["create:users"], "calls = [\"POST /jobs/users-imports\"]").await;
    // Ends of lines in every form, characters of each length, and more than is kept for a repetition.
    let user = |number: usize| {
        format!("{{\"email\":\"{number}@example.com\",\"name\":\"\u{e9}\u{20ac}\u{1f511}\"}}")
    };
    let users: Vec<_> = (0..2_000).map(user).collect();
    let form = format!(
        "--x\r\ncontent-disposition: form-data; name=\"users\"; filename=\"users.json\"\r\n\
         content-type: application/json\r\n\r\n[{}]\n\r\n\
         --x\r\ncontent-disposition: form-data; name=\"connection_id\"\r\n\r\ncon_1\r\n--x--\r\n",
        users.join(",\n\r\t\r\n")
    );
    assert!(form.len() > 64 * 1024);
    let chunks = form.as_bytes().chunks(10_007);
    let chunks =
        chunks.flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    let chunked = chunks.chain(*b"0\r\n\r\n").collect();
    for (framing, body) in [
        (format!("content-length: {}", form.len()), form.clone().into_bytes()),
        ("transfer-encoding: chunked".to_owned(), chunked),
    ] {
        let mut stream = UnixStream::connect(&world.socket).await.unwrap();
        let head = format!(
            "POST /api/v2/jobs/users-imports HTTP/1.1\r\nhost: a\r\ncloakroom-request: true\r\nconnection: close\r\n\
             content-type: multipart/form-data; boundary=x\r\n{framing}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 202 ") && answer.contains("cloakroom-upstream: 1"), "{answer}");
        assert!(answer.contains("\"connection_id\":\"con_1\""), "{answer}");
        let call = world.tenant.calls_to(Endpoint::ManagementApi).pop().unwrap();
        assert_eq!(
            (call.body_bytes, &*call.body_sha256),
            (form.len(), digest(&SHA256, form.as_bytes()).as_ref())
        );
    }
    assert_eq!(world.tenant.calls_to(Endpoint::ManagementApi).len(), 2);
}

#[tokio::test]
async fn the_status_says_whether_calls_are_open_and_why_not() {
    let open = desk(&["read:users"], SOME).await;
    assert_eq!(open.get(&user(users::GOOGLE)).await.status, 200);
    let status = open.get("/v1/status").await.json();
    let calls = &status["management_api"];
    assert_eq!((&calls["valid"], &calls["scopes"]), (&true.into(), &json!(["read:users"])), "{calls}");
    let closed = desk(&["read:users", "read:user_idp_tokens"], SOME).await;
    assert_eq!(closed.get(&user(users::GOOGLE)).await.status, 503);
    let status = closed.get("/v1/status").await.json();
    let calls = &status["management_api"];
    assert_eq!((&calls["valid"], &calls["failure"]["permanent"]), (&false.into(), &true.into()), "{calls}");
    assert!(calls["failure"]["detail"].as_str().unwrap().contains("read:user_idp_tokens"), "{calls}");
    assert_eq!((&status["ready"], &status["management_token"]["valid"]), (&true.into(), &true.into()));
}

#[tokio::test]
async fn a_token_that_auth0_refuses_is_replaced_and_the_call_made_once_more() {
    let world = desk(&["read:users", "update:users"], SOME).await;
    assert_eq!(world.get(&user(users::GOOGLE)).await.status, 200);
    world.tenant.revoke_tokens_of("ops");
    let headers = [("cloakroom-request", "true"), ("content-type", "application/json")];
    let got = world.send_with("PATCH", &user(users::GOOGLE), &headers, "{\"nickname\":\"ann\"}").await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(got.json()["nickname"], "ann");
}

#[tokio::test]
async fn a_write_whose_outcome_is_not_known_forgets_the_user_as_well() {
    let world = desk(&["read:users", "update:users"], SOME).await;
    assert_eq!(world.get(&World::path(users::GOOGLE)).await.header("cloakroom-cache"), Some("miss"));
    let headers = [("cloakroom-request", "true"), ("content-type", "application/json")];
    let unknown = Fault::Status { status: 502, headers: Vec::new(), body: "{}".into() };
    world.tenant.fault_next(Endpoint::ManagementApi, 1, unknown);
    let got = world.send_with("PATCH", &user(users::GOOGLE), &headers, "{\"blocked\":true}").await;
    assert_eq!((got.status.as_u16(), got.header("cloakroom-upstream")), (502, Some("1")), "{got:?}");
    assert_eq!(world.get(&World::path(users::GOOGLE)).await.header("cloakroom-cache"), Some("miss"));
    // A refusal of Auth0's changes nothing.
    let got = world.send_with("PATCH", &user(users::GOOGLE), &headers, "no json").await;
    assert_eq!((got.status.as_u16(), got.header("cloakroom-upstream")), (400, Some("1")), "{got:?}");
    assert_eq!(world.get(&World::path(users::GOOGLE)).await.header("cloakroom-cache"), Some("hit"));
}

//! The audit log in a file: which requests have a line, and what a line holds.

use std::fs::{self};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions, users};
use serde_json::{Value, json};

use crate::support::audit_lines::{gist, lines, number};
use crate::support::world::World;

const HEADER: (&str, &str) = ("cloakroom-request", "true");

fn settings(events: &str, more: &str) -> String {
    format!("[audit]\nevents = {events:?}\noutput = \"{{dir}}/audit.log\"\n{more}")
}

/// A daemon in virtual time that audits to a file, and has its Management token.
async fn world(events: &str, more: &str) -> World {
    let world = World::simulated(TenantOptions::default(), &settings(events, more)).await;
    world.ready().await;
    world
}

/// The lines of a daemon that has ended.
async fn lines_at_the_end(world: World) -> Vec<Value> {
    let path = world.directory.path().join("audit.log");
    let directory = world.directory;
    world.running.stop().await;
    let lines = lines(&path);
    drop(directory);
    lines
}

/// One request of every kind, and what the gist of its line has to be.
async fn everything(world: &World) -> Vec<[&'static str; 6]> {
    let google = World::path(users::GOOGLE);
    let user = google.trim_end_matches("/token").to_owned();
    let mut expected = Vec::new();
    let mut sent = async |method: &str, path: &str, headers: &[(&str, &str)], status: u16, gist| {
        let got = world.send(method, path, headers).await;
        assert_eq!(got.status, status, "{method} {path}");
        expected.extend(gist);
        got
    };
    let google_token = |cache| ["token", "answered", "-", cache, users::GOOGLE, "google-oauth2"];
    sent("GET", &google, &[HEADER], 200, Some(google_token("miss"))).await;
    sent("GET", &google, &[HEADER], 200, Some(google_token("hit"))).await;
    sent("HEAD", &google, &[HEADER], 200, Some(google_token("hit"))).await;
    sent(
        "GET",
        &format!("{user}/identities"),
        &[HEADER],
        200,
        Some(["identities", "answered", "-", "hit", users::GOOGLE, "-"]),
    )
    .await;
    sent("GET", "/v1/status", &[HEADER], 200, Some(["status", "answered", "-", "-", "-", "-"])).await;
    for probe in ["/livez", "/readyz", "/startupz", "/metrics", "/openapi.json"] {
        sent("GET", probe, &[HEADER], 200, None).await;
    }
    // Facts, and lookups that are not answered.
    let linked = format!("{}?connection=twitter", World::path(users::LINKED));
    let fact = ["token", "negative", "identity_not_found", "-", users::LINKED, "twitter"];
    sent("GET", &linked, &[HEADER], 404, Some(fact)).await;
    let blocked = ["token", "negative", "user_blocked", "-", users::BLOCKED, "-"];
    sent("GET", &World::path(users::BLOCKED), &[HEADER], 403, Some(blocked)).await;
    world.tenant.fault(Endpoint::User, Fault::Edge503Html);
    let failed = ["token", "error", "upstream_unavailable", "-", users::JOHN, "-"];
    sent("GET", &World::path(users::JOHN), &[HEADER], 503, Some(failed)).await;
    world.tenant.clear(Endpoint::User);
    // What is refused, before and after it has a route.
    let refused = |operation, code, user| [operation, "refused", code, "-", user, "-"];
    let cases: [(&str, &str, &[_], u16, _); 8] = [
        ("GET", &google, &[], 403, refused("token", "request_header_required", users::GOOGLE)),
        (
            "GET",
            &google,
            &[HEADER, ("origin", "https://canary-header")],
            403,
            refused("token", "forwarded_request", users::GOOGLE),
        ),
        ("GET", "/metrics", &[("referer", "canary-header")], 403, refused("-", "forwarded_request", "-")),
        ("GET", "/v2/canary-path", &[HEADER], 404, refused("-", "route_not_found", "-")),
        ("PUT", "/v1/users", &[HEADER], 405, refused("purge", "method_not_allowed", "-")),
        ("GET", "/v1/users/a%00canary-path/token", &[HEADER], 400, refused("token", "invalid_request", "-")),
        (
            "GET",
            &format!("{google}?fresh=canary-query"),
            &[HEADER],
            400,
            refused("token", "invalid_request", users::GOOGLE),
        ),
        (
            "GET",
            "/v1/status",
            &[HEADER, ("x-large", &"canary-header".repeat(1300))],
            431,
            refused("status", "headers_too_large", "-"),
        ),
    ];
    for (method, path, headers, status, gist) in cases {
        sent(method, path, headers, status, Some(gist)).await;
    }
    sent("DELETE", &user, &[HEADER], 204, Some(["purge", "answered", "-", "-", users::GOOGLE, "-"])).await;
    sent("DELETE", "/v1/users", &[HEADER], 204, Some(["purge", "answered", "-", "-", "-", "-"])).await;
    expected
}

#[tokio::test(start_paused = true)]
async fn with_all_every_request_with_an_operation_and_every_refusal_has_a_line() {
    let world = world("all", "[log]\nuser_ids = \"plain\"").await;
    let expected = everything(&world).await;
    let lines = lines_at_the_end(world).await;
    assert_eq!(lines.iter().map(gist).collect::<Vec<_>>(), expected);
    assert_eq!(lines.len(), 18);
}

#[tokio::test(start_paused = true)]
async fn what_is_notable_is_everything_but_hits_and_status() {
    let world = world("notable", "[log]\nuser_ids = \"plain\"").await;
    let mut expected = everything(&world).await;
    expected.retain(|[operation, outcome, _, cache, ..]| {
        *cache != "hit" && [*operation, *outcome] != ["status", "answered"]
    });
    let lines = lines_at_the_end(world).await;
    assert_eq!(lines.iter().map(gist).collect::<Vec<_>>(), expected);
    assert_eq!(lines.len(), 14);
}

#[tokio::test(start_paused = true)]
async fn with_none_there_is_no_line_and_no_file() {
    let world = world("none", "").await;
    everything(&world).await;
    assert!(!world.directory.path().join("audit.log").exists());
}

#[tokio::test(start_paused = true)]
async fn a_line_has_every_field() {
    let world = world("notable", "[log]\nuser_ids = \"plain\"").await;
    let got = world.get(&World::path(users::GOOGLE)).await;
    let (socket, fingerprint) = (world.socket.display().to_string(), got.json()["fingerprint"].clone());
    let request_id = got.header("cloakroom-request-id").unwrap().to_owned();
    tokio::time::sleep(Duration::from_millis(1_002)).await;
    world.get("/nowhere").await;
    let path = world.directory.path().join("audit.log");
    let directory = world.directory;
    world.running.stop().await;
    let text = fs::read_to_string(&path).unwrap();
    drop(directory);
    let (uid, gid, pid) = (nix::unistd::geteuid(), nix::unistd::getegid(), std::process::id());
    // As text, since the order is promised too.
    let line = text.lines().next().unwrap();
    let micros = number(&serde_json::from_str(line).unwrap(), "microseconds");
    assert_eq!(
        line,
        format!(
            r#"{{"timestamp":"2026-11-22T10:00:00.000Z","target":"audit","listener":"{socket}","uid":{uid},"gid":{gid},"pid":{pid},"operation":"token","user":"google-oauth2|103547991597142817347","connection":"google-oauth2","outcome":"answered","status":200,"code":null,"cache":"miss","source":"identities","fingerprint":{fingerprint},"request_id":"{request_id}","trace_id":null,"call":null,"microseconds":{micros},"count":1,"until":null,"lost":0}}"#
        )
    );
    let refusal: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(refusal["timestamp"], "2026-11-22T10:00:01.002Z");
    for key in ["operation", "user", "connection", "cache", "fingerprint"] {
        assert_eq!(refusal.get(key), Some(&Value::Null), "{key}: null, and there");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_token_is_notable() {
    let world = world("notable", "[log]\nuser_ids = \"plain\"").await;
    let path = World::path(users::GOOGLE);
    world.get(&path).await;
    world.tenant.fault(Endpoint::User, Fault::Edge503Html);
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!(world.get(&path).await.header("cloakroom-cache"), Some("stale"));
    let lines = lines_at_the_end(world).await;
    let states: Vec<_> = lines.iter().map(|line| (&line["outcome"], &line["cache"])).collect();
    assert_eq!(states, [(&json!("answered"), &json!("miss")), (&json!("answered"), &json!("stale"))]);
    assert!(lines[1]["fingerprint"].is_string() && lines[1]["connection"] == "google-oauth2");
}

#[tokio::test(start_paused = true)]
async fn a_report_has_its_fingerprint_and_what_became_of_it() {
    let world = world("notable", "[log]\nuser_ids = \"plain\"").await;
    let fingerprint = world.get(&World::path(users::GOOGLE)).await.json()["fingerprint"].clone();
    let body = json!({"fingerprint": fingerprint}).to_string();
    for user in [users::GOOGLE, users::JOHN] {
        let path = World::path(user).replace("/token", "/report");
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\nconnection: close");
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let mut stream = tokio::net::UnixStream::connect(&world.socket).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut Vec::new()).await.unwrap();
    }
    let lines = lines_at_the_end(world).await;
    let reports: Vec<_> = lines[1..]
        .iter()
        .map(|line| [&line["operation"], &line["outcome"], &line["user"], &line["fingerprint"]])
        .collect();
    let of = |outcome, user| [json!("report"), json!(outcome), json!(user), fingerprint.clone()];
    let expected = [of("dropped", users::GOOGLE), of("unknown", users::JOHN)];
    assert_eq!(reports, expected.each_ref().map(|report| report.each_ref()));
}

#[tokio::test(start_paused = true)]
async fn what_rules_refuse_and_management_tokens_that_are_handed_out_are_notable() {
    let uid = nix::unistd::geteuid();
    let rules = format!(
        "[log]\nuser_ids = \"plain\"\n[[listener]]\npath = \"{{dir}}/api.sock\"\n\
         [[listener.allow]]\nuid = {uid}\noperations = [\"management_token\"]\n\
         [[listener.allow]]\nuid = {uid}\nusers = [\"google-oauth2|*\"]\nconnections = [\"google-oauth2\"]\nrate = 1"
    );
    let world = world("notable", &rules).await;
    let got = world.get("/v1/management-token").await;
    assert_eq!(got.status, 200);
    let github = World::path(users::GITHUB);
    assert_eq!(world.get(&github).await.problem().1, "forbidden");
    let other = format!("{}?connection=github", World::path(users::GOOGLE));
    assert_eq!(world.get(&other).await.problem().1, "forbidden");
    while world.get(&World::path(users::GOOGLE)).await.status == 200 {}
    let management_token = got.json()["access_token"].as_str().unwrap().to_owned();
    let lines = lines_at_the_end(world).await;
    let expected = [
        ["management_token", "answered", "-", "-", "-", "-"],
        ["token", "refused", "forbidden", "-", users::GITHUB, "-"],
        ["token", "refused", "forbidden", "-", users::GOOGLE, "github"],
        ["token", "answered", "-", "miss", users::GOOGLE, "google-oauth2"],
        ["token", "refused", "rate_limited", "-", users::GOOGLE, "-"],
    ];
    assert_eq!(lines.iter().map(gist).collect::<Vec<_>>(), expected);
    assert!(lines.iter().all(|line| !line.to_string().contains(&management_token)));
}

/// What only a token's holder, a header or a query says; and whatever a caller makes up stays within its field.
#[tokio::test(start_paused = true)]
async fn no_line_holds_a_secret_or_what_a_caller_could_forge_one_with() {
    let world = world("all", "[log]\nuser_ids = \"plain\"").await;
    everything(&world).await;
    for user in [users::ENTRA, users::TWITTER, users::LINKED, users::EXPIRED] {
        world.get(&World::path(user)).await;
    }
    let forged = "a%0A%7B%22outcome%22%3A%22answered%22%7D%C2%9B%E2%80%AE%22";
    world.get(&format!("{}?connection={forged}", World::path(users::LINKED))).await;
    world.get(&format!("{}?connection={}", World::path(users::LINKED), "x".repeat(10_000))).await;
    let mut secrets: Vec<String> = ["demo-client-secret", "canary", "eyJ", "ya29"].map(str::to_owned).into();
    for user in [users::GOOGLE, users::ENTRA, users::TWITTER, users::LINKED, users::EXPIRED] {
        for identity in world.tenant.user(user).unwrap()["identities"].as_array().unwrap() {
            let texts =
                ["access_token", "access_token_secret", "refresh_token"].map(|key| identity[key].as_str());
            secrets.extend(texts.into_iter().flatten().map(str::to_owned));
        }
    }
    assert!(secrets.len() > 9);
    let path = world.directory.path().join("audit.log");
    let directory = world.directory;
    world.running.stop().await;
    let text = fs::read_to_string(&path).unwrap();
    let lines = lines(&path);
    drop(directory);
    for secret in &secrets {
        assert!(!text.contains(secret), "{secret}");
    }
    assert_eq!(lines.len(), 18 + 6);
    assert_eq!(lines[22]["connection"], "a\u{fffd}{\"outcome\":\"answered\"}\u{fffd}\u{fffd}\"");
    assert_eq!(lines[23]["connection"], "x".repeat(128));
    assert!(text.lines().all(|line| line.len() < 1024), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_rotated_is_followed() {
    let world = world("notable", "").await;
    let (path, old) = (world.directory.path().join("audit.log"), world.directory.path().join("audit.log.1"));
    world.get("/one").await;
    while fs::metadata(&path).unwrap().len() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    fs::rename(&path, &old).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.get("/two").await;
    let directory = world.directory;
    world.running.stop().await;
    assert_eq!((lines(&old).len(), lines(&path).len()), (1, 1));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(directory);
}

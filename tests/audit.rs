//! The audit log: which requests have a line, what it holds, and that nothing waits for whoever takes it.

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
    pub mod caller;
    pub mod deployment;
    pub mod process;
    pub mod world;
}

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions, users};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::caller::{Caller, token_path};
use support::deployment::Deployment;
use support::process::Daemon;
use support::world::World;

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

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
        .collect()
}

/// What of a line tells what happened.
fn gist(line: &Value) -> [&str; 6] {
    ["operation", "outcome", "code", "cache", "user", "connection"]
        .map(|key| line[key].as_str().unwrap_or("-"))
}

fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().unwrap_or_else(|| panic!("{key}: {line}"))
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
            r#"{{"timestamp":"2026-11-22T10:00:00.000Z","target":"audit","listener":"{socket}","uid":{uid},"gid":{gid},"pid":{pid},"operation":"token","user":"google-oauth2|103547991597142817347","connection":"google-oauth2","outcome":"answered","status":200,"code":null,"cache":"miss","fingerprint":{fingerprint},"request_id":"{request_id}","trace_id":null,"microseconds":{micros},"count":1,"until":null,"lost":0}}"#
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

/// A stranger's lookup is refused before the id is looked at; the line names it all the same.
#[test]
fn who_was_not_allowed_and_whom_they_asked_for_is_told() {
    use std::os::unix::process::CommandExt;
    if !support::process::is_root() {
        return;
    }
    let settings = settings(
        "notable",
        "[log]\nuser_ids = \"plain\"\n[[listener]]\npath = \"{dir}/api.sock\"\nmode = \"0666\"",
    );
    let deployment = Deployment::new(&settings);
    let directory = deployment.directory.path();
    fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    let (binary, socket) = (directory.join("cloakroom"), directory.join("api.sock"));
    fs::copy(env!("CARGO_BIN_EXE_cloakroom"), &binary).unwrap();
    let daemon = Daemon::start(&deployment.config(), &socket);
    let mut stranger = std::process::Command::new(&binary);
    stranger
        .args(["token", users::JOHN])
        .env_clear()
        .env("CLOAKROOM_SOCKET", &socket)
        .uid(12_345)
        .gid(12_346);
    let mut stranger = stranger.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(stranger.wait().unwrap().code(), Some(5));
    let lines = stopped(daemon, &directory.join("audit.log"));
    assert_eq!(gist(&lines[0]), ["token", "refused", "forbidden", "-", users::JOHN, "-"]);
    let who = ["uid", "gid", "pid", "status"].map(|key| number(&lines[0], key));
    assert_eq!(who, [12_345, 12_346, stranger.id().into(), 403]);
}

/// Ends a daemon in order, and reads what it wrote.
fn stopped(mut daemon: Daemon, file: &Path) -> Vec<Value> {
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    lines(file)
}

#[test]
fn a_user_has_the_same_hashed_name_in_every_run() {
    let lookup = |more: &str, runs: usize| {
        let deployment = Deployment::new(&settings("notable", more));
        fs::write(deployment.directory.path().join("key"), "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::set_permissions(deployment.directory.path().join("key"), PermissionsExt::from_mode(0o600))
            .unwrap();
        for _ in 0..runs {
            let daemon = deployment.start();
            assert_eq!(daemon.run(&["token", users::GOOGLE]).0, 0);
            stopped(daemon, &deployment.directory.path().join("audit.log"));
        }
        let lines = lines(&deployment.directory.path().join("audit.log"));
        let lookups = lines.iter().filter(|line| line["operation"] == "token");
        lookups.map(|line| line["user"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let key = "[log]\nuser_key_file = \"{dir}/key\"";
    let names = lookup(key, 2);
    assert_eq!((names.len(), &names[0]), (2, &names[1]));
    assert_eq!(names[0].len(), 16);
    assert_eq!(lookup(key, 1), names[..1], "another installation with the same key");
    let of_machine = lookup("", 2);
    let has_id = fs::read_to_string("/etc/machine-id").is_ok_and(|id| id.trim().len() == 32);
    assert!(!has_id || of_machine[0] == of_machine[1], "without a key file, the machine's id does");
    assert_ne!(of_machine[0], names[0]);
    assert_eq!(lookup("[log]\nuser_ids = \"plain\"", 1), [users::GOOGLE]);
}

/// Everything that was answered before the end is written by the end, even if the reader has only just come.
#[test]
fn at_the_end_nothing_is_left_in_the_queue() {
    let (reader, pipe) = std::io::pipe().unwrap();
    let deployment = Deployment::new("[audit]\nevents = \"all\"");
    let mut daemon =
        Daemon::spawn_to(&deployment.config(), &deployment.socket(), &[], OwnedFd::from(pipe).into());
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck"]).0 == 0);
    let mut caller = Caller::new(&daemon.socket);
    // Many more than a pipe of 64 KiB holds, and no more than the queue does.
    let lookups = (0..2_000).map(|_| caller.get(&token_path(users::GOOGLE)));
    let ids: Vec<_> = lookups.map(|heard| heard.header("cloakroom-request-id").unwrap().to_owned()).collect();
    daemon.signal(Signal::SIGTERM);
    daemon.until("it ends", |daemon| daemon.log().contains("Shutting down"));
    let lines = BufReader::new(reader).lines();
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    let written: Vec<_> = lines.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    assert_eq!(written, ids);
}

/// What a scrape says of lines that were not written.
fn dropped(caller: &mut std::os::unix::net::UnixStream) -> u64 {
    use std::io::Write;
    caller.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    caller.read_to_string(&mut text).unwrap();
    let line = text.lines().find(|line| line.starts_with("cloakroom_audit_lines_dropped_total ")).unwrap();
    line.split(' ').nth(1).unwrap().parse::<f64>().unwrap() as u64
}

/// Standard output that takes nothing: a pipe that is full, a disk that is full, a reader that has gone. Lookups go on
/// all the same, what is lost is counted and said once, and the end is no later than it says.
#[test]
fn an_output_that_takes_nothing_keeps_no_lookup_waiting() {
    let (reader, unread) = std::io::pipe().unwrap();
    let (gone, orphaned) = std::io::pipe().unwrap();
    drop(gone);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let outputs = [
        ("come faster than they can be written", OwnedFd::from(unread)),
        ("No space left on device", full.into()),
        ("Broken pipe", orphaned.into()),
    ];
    for (why, stdout) in outputs {
        let deployment = Deployment::new("[audit]\nevents = \"all\"");
        let mut daemon = Daemon::spawn_to(&deployment.config(), &deployment.socket(), &[], stdout.into());
        daemon.until("it is ready", |daemon| daemon.run(&["healthcheck"]).0 == 0);
        let mut caller = Caller::new(&daemon.socket);
        // More than the queue and a pipe of 64 KiB hold.
        for _ in 0..5_000 {
            assert_eq!(caller.get(&token_path(users::GOOGLE)).status, 200, "{why}");
        }
        let metrics = || dropped(&mut std::os::unix::net::UnixStream::connect(&daemon.socket).unwrap());
        assert!(metrics() > 100, "{why}");
        drop(caller);
        let metrics = metrics();
        assert!(metrics <= 5_000);
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait().code(), Some(0), "{why}: {}", daemon.log());
        let log = daemon.log();
        assert_eq!(log.matches("Lines of the audit log are lost").count(), 1, "{why}: {log}");
        assert!(log.contains(why), "{why}: {log}");
    }
    drop(reader);
}

/// A reader that was slow finds out how much it has missed.
#[test]
fn what_was_lost_adds_up() {
    let (reader, pipe) = std::io::pipe().unwrap();
    let deployment = Deployment::new("[audit]\nevents = \"all\"");
    let mut daemon =
        Daemon::spawn_to(&deployment.config(), &deployment.socket(), &[], OwnedFd::from(pipe).into());
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck"]).0 == 0);
    let mut caller = Caller::new(&daemon.socket);
    for _ in 0..5_000 {
        caller.get(&token_path(users::GOOGLE));
    }
    let reading =
        std::thread::spawn(move || BufReader::new(reader).lines().map(Result::unwrap).collect::<Vec<_>>());
    daemon.until("there is room again", |daemon| daemon.log().contains("are written again"));
    caller.get(&token_path(users::GOOGLE));
    drop(caller);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    let lines: Vec<Value> =
        reading.join().unwrap().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lost: u64 = lines.iter().map(|line| number(line, "lost")).sum();
    assert!(lost > 0);
    assert_eq!(lines.len() as u64 + lost, 5_001);
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

#[test]
fn an_output_that_cannot_be_used_is_an_error_at_the_start() {
    let deployment = Deployment::new(&settings("notable", ""));
    let file = deployment.directory.path().join("audit.log");
    let refusal = |why: &str| {
        let mut daemon = Daemon::spawn(&deployment.config(), &deployment.socket());
        assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.log());
        assert!(daemon.log().contains(why), "{}", daemon.log());
        assert!(!deployment.socket().exists(), "no socket is left behind");
    };
    std::os::unix::fs::symlink("/dev/null", &file).unwrap();
    refusal("is a symbolic link: name the file itself");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refusal("is not a regular file");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    refusal("remove that permission with chmod o-w");
    assert_eq!(
        deployment.tenant.calls_to(Endpoint::Token).len(),
        0,
        "a start that fails costs Auth0 nothing"
    );
}

/// As it is in a container: nobody at journald's address.
#[test]
fn without_journald_the_start_says_what_to_choose_instead() {
    if Path::new("/run/systemd/journal/socket").exists() {
        return;
    }
    let deployment = Deployment::new("[audit]\noutput = \"journald\"");
    let mut daemon = Daemon::spawn(&deployment.config(), &deployment.socket());
    assert_eq!(daemon.wait().code(), Some(1));
    assert!(daemon.log().contains("choose \"stdout\" or a file"), "{}", daemon.log());
}

/// What is in this variable makes the test binary a caller that is refused so often.
const FLOOD: &str = "CLOAKROOM_TEST_FLOOD";
const FLOODED: u64 = 40_000;

/// Not a test: what the next one starts under another uid.
#[test]
fn a_flood_of_refused_requests() {
    use std::io::Write;
    #[expect(clippy::disallowed_methods, reason = "only the one who starts this says what it is")]
    let Some(socket) = std::env::var_os(FLOOD) else { return };
    let request = "GET /v1/status HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n".repeat(100);
    let mut caller = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let mut answers = BufReader::new(caller.try_clone().unwrap());
    for _ in 0..FLOODED / 100 {
        caller.write_all(request.as_bytes()).unwrap();
        let (mut answered, mut line) = (0, String::new());
        while answered < 100 {
            line.clear();
            assert_ne!(answers.read_line(&mut line).unwrap(), 0);
            answered += line.matches("HTTP/1.1 403 ").count();
        }
    }
}

/// A reader that takes its time, and a uid that has itself refused as fast as it can: the tokens that others are given
/// have their lines all the same, and the refusals are few lines that add up.
#[test]
fn whoever_has_itself_refused_takes_nobody_elses_line() {
    use std::os::unix::process::CommandExt;
    if !support::process::is_root() {
        return;
    }
    let deployment = Deployment::new(
        "[audit]\nevents = \"all\"\n[[listener]]\npath = \"{dir}/api.sock\"\nmode = \"0666\"\n[[listener.allow]]\nuid = 0",
    );
    let directory = deployment.directory.path();
    fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    let (binary, socket) = (directory.join("flood"), directory.join("api.sock"));
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let (reader, pipe) = std::io::pipe().unwrap();
    let mut daemon = Daemon::spawn_to(&deployment.config(), &socket, &[], OwnedFd::from(pipe).into());
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck", "--ready"]).0 == 0);
    let (hurry, slow) = std::sync::mpsc::channel::<()>();
    let reading = std::thread::spawn(move || {
        let is_slow = || slow.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty);
        let lines = BufReader::new(reader).lines().map(|line| {
            if is_slow() {
                std::thread::sleep(Duration::from_millis(5));
            }
            serde_json::from_str::<Value>(&line.unwrap()).unwrap()
        });
        lines.collect::<Vec<_>>()
    });
    let mut flood = std::process::Command::new(&binary);
    flood.args(["--exact", "a_flood_of_refused_requests", "--quiet"]).env_clear().env(FLOOD, &socket);
    let mut flood = flood.uid(12_345).gid(12_346).stdout(Stdio::null()).spawn().unwrap();
    let mut caller = Caller::new(&socket);
    let mut handed_out = Vec::new();
    daemon.until("the flood is over", |_| {
        let heard = caller.get(&token_path(users::GOOGLE));
        assert_eq!(heard.status, 200);
        handed_out.push(heard.header("cloakroom-request-id").unwrap().to_owned());
        flood.try_wait().unwrap().is_some()
    });
    assert!(flood.wait().unwrap().success());
    assert!(handed_out.len() > 20, "{} tokens while it went on", handed_out.len());
    drop((caller, hurry));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    let lines = reading.join().unwrap();
    let tokens = lines.iter().filter(|line| line["operation"] == "token");
    let written: Vec<_> = tokens.map(|line| line["request_id"].as_str().unwrap()).collect();
    assert_eq!(written, handed_out, "every token that was handed out has its line");
    let refused: Vec<_> = lines.iter().filter(|line| line["code"] == "forbidden").collect();
    assert!(refused.iter().all(|line| line["uid"] == 12_345));
    let stands_for: u64 = refused.iter().map(|line| number(line, "count")).sum();
    assert_eq!(stands_for, FLOODED, "the refusals add up");
    assert!(refused.len() as u64 * 20 < FLOODED, "{} lines", refused.len());
    assert!(lines.iter().all(|line| number(line, "lost") == 0));
}

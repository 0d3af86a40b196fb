//! The command line as its users have it: the real binary in front of a real socket.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::support::process::{PROGRAM, copy_program};
use crate::support::standin::{Canned, Place, Ran, StandIn, json, plain, problem};

const TOKEN: &str = r#"{"user_id":"google-oauth2|1034","connection":"google-oauth2","provider":"google-oauth2",
    "identity_user_id":"1034","access_token":"ya29.canary","token_type":"Bearer","expires_at":null,"expires_in":null,
    "expiry_basis":"none","fetched_at":"2026-11-22T09:18:38Z","fingerprint":"k3Yq","from_a_newer_daemon":true}"#;

const IDENTITIES: &str = r#"{"user_id":"auth0|1","blocked":false,"fetched_at":"2026-11-22T09:18:38Z","identities":[
    {"connection":"corp","provider":"waad","identity_user_id":"7","is_social":false,"token":"available",
     "expires_at":null,"expiry_basis":"none"}]}"#;

const STATUS: &str = r#"{"version":"9.9.9","started_at":"2026-11-22T06:48:00Z","uptime_seconds":11520,"ready":true,
    "draining":false,"tenant":"acme.eu.auth0.com","management_token":{"valid":true,"expires_at":null,
    "next_refresh_at":null,"last_success_at":null,"scopes":null,"missing_scopes":[],"failure":null},
    "cache":{"entries":2,"bytes":1024,"max_bytes":2048},
    "lookups":{"hit":1,"miss":2,"stale":3,"negative":4,"error":5},
    "upstream":{"token_requests":1,"user_requests":2,"failures":0},"listeners":[]}"#;

/// One answer, one command, its end.
fn told(request: &str, answer: Canned, arguments: &[&str]) -> Ran {
    let place = Place::new();
    let daemon = StandIn::at(&place.socket(), &[(request, answer)]);
    let ran = place.run(arguments);
    assert_eq!(daemon.asked(), [request]);
    ran
}

fn token_told(answer: Canned) -> Ran {
    told("GET /v1/users/auth0%7C1/token", answer, &["token", "auth0|1"])
}

#[test]
fn a_token_is_printed_as_it_is_wanted() {
    let path = "GET /v1/users/google-oauth2%7C1034/token";
    let asked = |output: &[&str]| {
        told(path, json(TOKEN), &[["token", "google-oauth2|1034"].as_slice(), output].concat())
    };
    asked(&[]).printed("ya29.canary\n");
    asked(&["--output", "header"]).printed("Authorization: Bearer ya29.canary\n");

    let whole = asked(&["--output", "json"]);
    let printed: serde_json::Value = serde_json::from_str(&whole.out).unwrap();
    assert_eq!(printed, serde_json::from_str::<serde_json::Value>(TOKEN).unwrap(), "nothing is left out");
    assert!(whole.out.lines().count() > 10, "{}", whole.out);
}

#[test]
fn an_identity_is_selected_by_the_query() {
    told(
        "GET /v1/users/a%252Fb/token?connection=a%26b&provider=waad",
        json(TOKEN),
        &["token", "a%2Fb", "--connection", "a&b", "--provider", "waad"],
    )
    .printed("ya29.canary\n");
    told(
        "GET /v1/users/a/token?identity_user_id=corp%7C1%2B1",
        json(TOKEN),
        &["token", "a", "--identity-user-id", "corp|1+1"],
    )
    .printed("ya29.canary\n");
}

#[test]
fn a_lifetime_is_typed_in_seconds_or_with_a_unit() {
    for (typed, sent) in [("60", "60"), ("60s", "60"), ("1m30s", "90"), ("1500ms", "2")] {
        let path = format!("GET /v1/users/auth0%7C1/token?min_ttl={sent}");
        told(&path, json(TOKEN), &["token", "auth0|1", "--min-ttl", typed]).printed("ya29.canary\n");
    }
}

#[test]
fn half_an_oauth_1_token_makes_no_header() {
    let answer = json(&TOKEN.replace("Bearer", "OAuth"));
    let ran = told("GET /v1/users/auth0%7C1/token", answer, &["token", "auth0|1", "--output", "header"]);
    ran.failed(1, &["OAuth 1", "--output json"]);
    assert!(!ran.err.contains("canary"));
}

#[test]
fn every_refusal_has_its_exit_code_its_code_and_what_to_do() {
    let names = r#","connections":["corp","google-oauth2"]"#;
    let twins = r#","connections":["google-oauth2"],"identities":[
        {"connection":"google-oauth2","provider":"google-oauth2","identity_user_id":"1034"},
        {"connection":"google-oauth2","provider":"google-oauth2","identity_user_id":"a b"}]"#;
    let choice = "hint: name one of them:\n  --connection google-oauth2 --provider google-oauth2 --identity-user-id 1034\n  \
                  --connection google-oauth2 --provider google-oauth2 --identity-user-id 'a b'\n";
    let cases = [
        (problem(400, "invalid_request", ""), 2, ""),
        (problem(409, "ambiguous_identity", twins), 2, choice),
        (problem(409, "ambiguous_identity", names), 2, "--connection takes one of: corp, google-oauth2"),
        (problem(404, "user_not_found", ""), 3, "as Auth0 writes it"),
        (problem(404, "identity_not_found", names), 3, "--connection takes one of: corp, google-oauth2"),
        (problem(404, "no_token", ""), 3, ""),
        (problem(410, "login_required", r#","expired_at":"2026-11-22T09:00:00Z""#), 4, "09:00:00Z"),
        (problem(403, "forbidden", ""), 5, ""),
        (problem(403, "user_blocked", ""), 5, ""),
        (problem(503, "upstream_unavailable", "").with("Retry-After", "7"), 69, "try again in 7 s"),
        (problem(503, "management_token_unavailable", r#","permanent":true"#), 69, "waiting does not help"),
        (problem(504, "upstream_timeout", ""), 69, ""),
        (problem(422, "invalid_configuration", ""), 78, ""),
        (problem(404, "route_not_found", ""), 1, "another version"),
    ];
    for (answer, exit, hint) in cases {
        token_told(answer).failed(exit, &["the detail of ", "\ncode: ", "(request r-1)", hint]);
    }
}

/// `error: what happened: what to do`, for every code that the daemon has.
#[test]
fn an_error_says_what_happened_and_then_what_to_do() {
    let described = fs::read_to_string("src/api/openapi.json").unwrap();
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    let codes =
        described["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes.iter().map(|code| code.as_str().unwrap()) {
        let ran = token_told(problem(418, code, ""));
        let event = format!("error: the title of {code}: the detail of {code}\ncode: {code} (request r-1)");
        assert!(ran.err.starts_with(&event), "{ran:?}");
    }
    let ran = token_told(problem(422, "invalid_configuration", r#","problems":["a is wrong","b is wrong"]"#));
    let event = "error: the title of invalid_configuration: the daemon goes on with the old one\na is wrong\nb is wrong\n";
    assert!(ran.err.starts_with(event), "{ran:?}");

    // Where a command reports in passing it says the same.
    let refused = || problem(403, "forwarded_request", "");
    let ran = told("GET /readyz", refused(), &["healthcheck"]);
    assert_eq!(ran.out, "the title of forwarded_request: the detail of forwarded_request\n");
    let place = Place::new();
    let _daemon = StandIn::at(&place.socket(), &[("GET /readyz", refused())]);
    place.run(&["wait", "--timeout", "100ms"]).failed(
        69,
        &["not ready after 100ms: the title of forwarded_request: the detail of forwarded_request"],
    );
}

/// A shell has no `?connection=`.
#[test]
fn parameters_are_named_as_the_command_line_names_them() {
    for (said, shown) in [
        (
            "choose one with ?connection=, ?provider= or ?identity_user_id=",
            "choose one with --connection, --provider or --identity-user-id",
        ),
        ("ask again later, or without fresh=true", "ask again later, or without --fresh"),
        ("give seconds, such as min_ttl=60", "give seconds, such as --min-ttl=60"),
        ("nearer than cache.min_ttl", "nearer than cache.min_ttl"),
    ] {
        let answer = problem(409, "ambiguous_identity", "").saying(said);
        token_told(answer).failed(2, &[&format!("error: the title of ambiguous_identity: {shown}\n")]);
    }
    for (parameter, shown) in [
        ("connection", "--connection"),
        ("provider", "--provider"),
        ("identity_user_id", "--identity-user-id"),
        ("min_ttl", "--min-ttl"),
        ("fresh", "--fresh"),
        ("user_id", "USER_ID"),
        ("body", "body"),
    ] {
        let answer = problem(400, "invalid_request", &format!(r#","parameter":"{parameter}""#));
        let event = format!("error: the title of invalid_request: {shown}: the detail of invalid_request\n");
        token_told(answer).failed(2, &[&event]);
    }
}

/// Nothing that a provider chose can drive the terminal, hide, or turn the line around; and JSON is the same JSON.
#[test]
fn no_character_that_cannot_be_seen_is_printed_as_it_is() {
    let odd = "a\u{9b}2Jb\u{202e}c\u{2028}d\u{200b}e\u{7f}f\u{e0041}g\u{feff}h";
    let is_clean = |text: &str| {
        let seen = text.chars().filter(|c| *c != '\n').all(|c| c == '\u{fc}' || (' '..='~').contains(&c));
        assert!(seen, "{text:?}");
    };
    let identities = IDENTITIES.replace("corp", odd).replace("waad", "\u{fc}ber");
    let path = "GET /v1/users/auth0%7C1/identities";
    let text = told(path, json(&identities), &["identities", "auth0|1"]);
    is_clean(&text.out);
    assert!(
        text.out.contains("a\\u{9b}2Jb\\u{202e}c\\u{2028}d\\u{200b}e\\u{7f}f\\u{e0041}g\\u{feff}h"),
        "{text:?}"
    );
    assert!(text.out.contains("\u{fc}ber"), "letters stay as they are: {text:?}");

    let status = STATUS.replace("acme.eu.auth0.com", odd);
    let token = TOKEN.replace("\"google-oauth2\"", &format!("\"{odd}\""));
    let same = |written: &str, sent: &str| {
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        is_clean(written);
        assert_eq!(read(written), read(sent));
    };
    same(&told(path, json(&identities), &["identities", "auth0|1", "--output", "json"]).out, &identities);
    same(&told("GET /v1/status", json(&status), &["status", "--output", "json"]).out, &status);
    let asked = "GET /v1/users/auth0%7C1/token";
    same(&told(asked, json(&token), &["token", "auth0|1", "--output", "json"]).out, &token);
    is_clean(&told("GET /v1/status", json(&status), &["status"]).out);

    for more in [
        format!(r#","connections":["{odd}"]"#),
        format!(r#","problems":["{odd}"]"#),
        format!(r#","parameter":"{odd}""#),
    ] {
        let ran = token_told(problem(409, "ambiguous_identity", &more).saying(odd));
        is_clean(&ran.err);
        assert!(ran.err.contains("\\u{9b}"), "{ran:?}");
    }
    let place = Place::new();
    let ran = place.run(&["status", "--socket", &format!("/nowhere/{odd}")]);
    is_clean(&ran.err);
    let ran = told("GET /readyz", plain(503, &format!("not ready: {odd}")), &["healthcheck"]);
    is_clean(&ran.out);

    // What a program reads is what the provider issued, to the byte.
    let token = TOKEN.replace("ya29.canary", odd);
    told(asked, json(&token), &["token", "auth0|1"]).printed(&format!("{odd}\n"));
}

#[test]
fn answers_that_are_no_answers_are_named() {
    token_told(json("{}")).failed(1, &["is not cloakroom", "not the JSON"]);
    token_told(plain(200, &"x".repeat(2_000_000))).failed(1, &["is not cloakroom", "larger than 1 MiB"]);
    token_told(plain(500, "<html>")).failed(1, &["is not cloakroom", "status 500"]);
}

#[test]
fn identities_and_status_are_tables_for_people_and_json_for_programs() {
    let path = "GET /v1/users/auth0%7C1/identities";
    told(path, json(IDENTITIES), &["identities", "auth0|1"]).printed(
        "CONNECTION  PROVIDER  ACCOUNT  TOKEN      EXPIRY\n\
         corp        waad      7        available  not known\n",
    );
    let ran = told(path, json(IDENTITIES), &["identities", "auth0|1", "--output", "json"]);
    assert!(ran.out.contains("\"connection\": \"corp\""), "{ran:?}");

    let ran = told("GET /v1/status", json(STATUS), &["status"]);
    assert!(ran.out.starts_with("ready: lookups are answered\n\ndaemon   cloakroom 9.9.9"), "{ran:?}");
    let ran = told("GET /v1/status", json(STATUS), &["status", "--output", "json"]);
    assert!(ran.out.contains("\"version\": \"9.9.9\""), "{ran:?}");
}

#[test]
fn purging_says_nothing() {
    told("DELETE /v1/users/auth0%7C1", plain(204, ""), &["purge", "auth0|1"]).printed("");
    told("DELETE /v1/users", plain(204, ""), &["purge", "--all"]).printed("");
}

#[test]
fn a_healthcheck_prints_its_reason_whatever_it_is() {
    let passes = |path: &str, arguments: &[&str]| {
        told(path, plain(200, "fine\n"), &[["healthcheck"].as_slice(), arguments].concat()).printed("fine\n");
    };
    passes("GET /readyz", &[]);
    passes("GET /readyz", &["--ready"]);
    passes("GET /livez", &["--live"]);
    passes("GET /startupz", &["--started"]);

    let ran = told("GET /readyz", plain(503, "not ready: no Management token yet\n"), &["healthcheck"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Some(1), "not ready: no Management token yet\n"));
    let ran = Place::new().run(&["healthcheck"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.out.starts_with("no daemon at ") && ran.out.lines().count() == 1, "{ran:?}");
}

#[test]
fn without_a_daemon_the_mend_is_named() {
    let place = Place::new();
    let path = place.socket().display().to_string();
    place.run(&["status"]).failed(69, &["no daemon at", &path, "--socket or CLOAKROOM_SOCKET"]);

    drop(UnixListener::bind(place.socket()).unwrap());
    place.run(&["status"]).failed(69, &["no process listens at", &path]);

    fs::remove_file(place.socket()).unwrap();
    fs::write(place.socket(), "").unwrap();
    place.run(&["status"]).failed(1, &["is not cloakroom", "not a socket"]);

    place.run(&["status", "--socket", &format!("/tmp/{}", "x".repeat(120))]).failed(2, &["longer than 107"]);
}

#[test]
fn the_socket_is_the_flag_before_the_variable_before_the_default() {
    let (told, other) = (Place::new(), Place::new());
    let _daemon = StandIn::at(&told.socket(), &[("GET /livez", plain(200, "live"))]);
    let flag = told.socket().display().to_string();
    other.run(&["healthcheck", "--live", "--socket", &flag]).printed("live\n");
    told.run(&["healthcheck", "--live"]).printed("live\n");
    let bare = Ran::from(told.command(&["status"]).env_clear().output().unwrap());
    bare.failed(69, &["no daemon at /run/cloakroom/cloakroom.sock"]);
}

#[test]
fn without_permission_owner_and_mode_are_named() {
    let place = Place::new();
    let _listener = UnixListener::bind(place.socket()).unwrap();
    as_somebody_else(&place, 0o600).failed(5, &["permission denied", "with mode 0", "this is user"]);

    fs::set_permissions(place.path(), Permissions::from_mode(0o700)).unwrap();
    if nix::unistd::geteuid().is_root() {
        as_somebody_else(&place, 0o666).failed(5, &["permission denied", "a directory above it"]);
    }
}

/// Runs `status` as a user whom the socket's mode keeps out.
fn as_somebody_else(place: &Place, mode: u32) -> Ran {
    if !nix::unistd::geteuid().is_root() {
        // Only root can become somebody else; anybody can take a permission away from themselves.
        fs::set_permissions(place.socket(), Permissions::from_mode(0o400)).unwrap();
        return place.run(&["status"]);
    }
    fs::set_permissions(place.socket(), Permissions::from_mode(mode)).unwrap();
    // The other user may not be allowed where the binary was built.
    let reachable = Place::new();
    let binary = reachable.path().join("cloakroom");
    copy_program(PROGRAM, &binary);
    let mut command = std::process::Command::new(binary);
    command
        .args(["status", "--socket"])
        .arg(place.socket())
        .env_clear()
        .current_dir("/")
        .uid(12_345)
        .gid(12_345);
    Ran::from(command.output().unwrap())
}

#[test]
fn waiting_lasts_until_the_daemon_is_ready() {
    let place = Place::new();
    let waiting = place.command(&["wait"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(100));
    let daemon = StandIn::at(&place.socket(), &[("GET /readyz", plain(200, "ready\n"))]);
    Ran::from(waiting.wait_with_output().unwrap()).printed("");
    assert_eq!(daemon.asked(), ["GET /readyz"]);
}

#[test]
fn waiting_in_vain_ends_with_the_last_reason() {
    let place = Place::new();
    place
        .run(&["wait", "--timeout", "50ms"])
        .failed(69, &["not ready after 50ms: no daemon at ", "is cloakroom running?"]);
    let reason = plain(503, "not ready: no Management token yet: the host name x cannot be resolved\n");
    let _daemon = StandIn::at(&place.socket(), &[("GET /readyz", reason)]);
    place
        .run(&["wait", "--timeout", "300ms"])
        .failed(69, &["error: not ready after 300ms: no Management token yet: the host name x"]);
}

#[test]
fn a_daemon_that_hangs_up_or_speaks_something_else_is_named() {
    let says = |text: &'static str| {
        let place = Place::new();
        let listener = UnixListener::bind(place.socket()).unwrap();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert_ne!(stream.read(&mut [0; 1024]).unwrap(), 0);
            stream.write_all(text.as_bytes()).unwrap();
        });
        let ran = place.run(&["status"]);
        daemon.join().unwrap();
        ran
    };
    says("").failed(69, &["closed the connection"]);
    says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{").failed(69, &["closed the connection"]);
    says("SSH-2.0-OpenSSH_9.7\r\n").failed(1, &["is not cloakroom", "does not speak HTTP"]);
}

#[test]
fn a_full_disk_is_an_error_and_a_reader_that_has_gone_is_none() {
    let place = Place::new();
    let _daemon = StandIn::at(&place.socket(), &[("GET /v1/status", json(STATUS))]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = Ran::from(place.command(&["status"]).stdout(full).output().unwrap());
    ran.failed(1, &["standard output cannot be written"]);

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = Ran::from(place.command(&["status"]).stdout(writer).output().unwrap());
    ran.printed("");
}

//! The audit log while requests of one uid are refused as fast as it can send them.

use std::fs::{self};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use cloakroom::fake_auth0::users;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::alone;
use crate::support::caller::{Caller, token_path};
use crate::support::deployment::Deployment;
use crate::support::process::{Daemon, copy_program};

fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().unwrap_or_else(|| panic!("{key}: {line}"))
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
    if !crate::support::process::is_root() {
        return;
    }
    let _alone = alone();
    let deployment = Deployment::new(
        "[audit]\nevents = \"all\"\n[[listener]]\npath = \"{dir}/api.sock\"\nmode = \"0666\"\n[[listener.allow]]\nuid = 0",
    );
    let directory = deployment.directory.path();
    fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    let (binary, socket) = (directory.join("flood"), directory.join("api.sock"));
    copy_program(std::env::current_exe().unwrap(), &binary);
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
    flood.args(["--exact", "audit::a_flood_of_refused_requests", "--quiet"]).env_clear().env(FLOOD, &socket);
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

//! The audit log of the real binary: whose lines it holds, and what becomes of them if they cannot be written.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use cloakroom::fake_auth0::{Endpoint, users};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::audit_lines::{gist, lines, number};
use crate::support::caller::{Caller, token_path};
use crate::support::deployment::Deployment;
use crate::support::process::{Daemon, PROGRAM, copy_program};

fn settings(events: &str, more: &str) -> String {
    format!("[audit]\nevents = {events:?}\noutput = \"{{dir}}/audit.log\"\n{more}")
}

/// A stranger's lookup is refused before the id is looked at; the line names it all the same.
#[test]
fn who_was_not_allowed_and_whom_they_asked_for_is_told() {
    use std::os::unix::process::CommandExt;
    if !crate::support::process::is_root() {
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
    copy_program(PROGRAM, &binary);
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

/// A daemon whose standard output, with the audit log, is a pipe.
fn piped(deployment: &Deployment) -> (Daemon, PipeReader) {
    let (reader, pipe) = std::io::pipe().unwrap();
    let mut daemon =
        Daemon::spawn_to(&deployment.config(), &deployment.socket(), &[], OwnedFd::from(pipe).into());
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck"]).0 == 0);
    (daemon, reader)
}

/// Everything that was answered before the end is written by the end, even if the reader has only just come.
#[test]
fn at_the_end_nothing_is_left_in_the_queue() {
    let deployment = Deployment::new("[audit]\nevents = \"all\"");
    let (mut daemon, reader) = piped(&deployment);
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
    let deployment = Deployment::new("[audit]\nevents = \"all\"");
    let (mut daemon, reader) = piped(&deployment);
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

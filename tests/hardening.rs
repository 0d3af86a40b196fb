//! What the real binary gives away to somebody who looks at its process: nothing that it does not have to hold.

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
    pub mod deployment;
    pub mod memory;
    pub mod process;
    pub mod world;
}

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloakroom::fake_auth0::{TenantOptions, users};
use cloakroom::process::panics;
use cloakroom::secret::Secret;
use nix::sys::signal::Signal;
use serde_json::json;
use support::deployment::Deployment;
use support::memory::{Canary, Memory};
use support::process::{Daemon, cloakroom, finish, is_root};

/// A purge is a promise about memory, too: neither half of a token is left, nor any part of either, be it in the cache,
/// in buffers of connections that are still open to either side, or in what was freed.
#[test]
fn nothing_is_left_of_a_token_that_was_purged() {
    if !is_root() {
        return;
    }
    for (threads, purge) in [(1, "/v1/users/twitter%7Cone"), (1, "/v1/users"), (4, "/v1/users/twitter%7Cone")]
    {
        let deployment = Deployment::new(&format!("[runtime]\nthreads = {threads}"));
        let daemon = deployment.start();
        let (token, second) = (Canary::new(b'T'), Canary::new(b'S'));
        let identity = |connection: &str, token: &str, second: &str| {
            json!({
                "provider": "twitter", "connection": connection, "user_id": "1", "isSocial": true,
                "access_token": token, "access_token_secret": second,
            })
        };
        // A large answer, which makes every buffer grow; a small one; and one in which the canaries are on both sides
        // of any border between buffers.
        let many = |token: &str, second: &str| -> Vec<_> {
            (0..100).map(|n| identity(&format!("c{n}"), token, second)).collect()
        };
        let users = [
            ("twitter|large", many(&"x".repeat(1000), "y")),
            ("twitter|one", vec![identity("c1", token.text(), second.text())]),
            ("twitter|many", many(token.text(), second.text())),
            ("twitter|small", vec![identity("c1", "x", "y")]),
        ];
        for (user, identities) in users.clone() {
            let profile =
                json!({"user_id": user, "last_login": "2026-11-22T10:00:00Z", "identities": identities});
            deployment.tenant.put_user(profile);
        }
        // A caller that stays connected.
        let mut caller = Caller::connect(&daemon.socket);
        for _ in 0..3 {
            for (user, _) in &users {
                let path = format!("/v1/users/{}/token?connection=c1", user.replace('|', "%7C"));
                let body = caller.ask("GET", &path);
                let is_canary = matches!(*user, "twitter|one" | "twitter|many");
                assert_eq!(body.contains(token.text()) && body.contains(second.text()), is_canary, "{body}");
            }
        }
        let held = Memory::of(daemon.pid());
        // One for each identity, and it can be seen.
        assert_eq!((held.places(&token).len(), held.places(&second).len()), (101, 101), "{threads}");
        caller.ask("DELETE", purge);
        caller.ask("DELETE", "/v1/users/twitter%7Cmany");
        let left = Memory::of(daemon.pid());
        assert_eq!(left.places(&token), [], "{threads} {purge}");
        assert_eq!(left.places(&second), [], "{threads} {purge}");
        assert_eq!(daemon.run(&["healthcheck"]).0, 0);
    }
}

/// Buffers of the connections to Auth0 hold the latest answers for as long as those are open: also where one was large,
/// so that buffers grew, and small ones came after it; and where the last is one of them.
#[test]
fn nothing_is_left_of_tokens_whose_answers_came_after_a_large_one() {
    const USERS: usize = 60;
    if !is_root() {
        return;
    }
    for (threads, large) in [(1, 40 << 10), (1, 300 << 10), (4, 40 << 10)] {
        let deployment = Deployment::new(&format!(
            "[runtime]\nthreads = {threads}\n[upstream]\nrequests_per_second = 1000\nburst = 1000"
        ));
        let daemon = deployment.start();
        let token = Canary::new(b'U');
        let put = |user: &str, token: &str, padding: usize| {
            let identity = json!({
                "provider": "oauth2", "connection": "c1", "user_id": "1", "access_token": token,
                // Never asked for, and sent all the same.
                "profileData": "x".repeat(padding),
            });
            let profile = json!({"user_id": user, "identities": [identity]});
            deployment.tenant.put_user(profile);
        };
        put("oauth2|large", "x", large);
        (0..USERS).for_each(|n| put(&format!("oauth2|{n}"), token.text(), 20 * n));
        let mut caller = Caller::connect(&daemon.socket);
        caller.ask("GET", "/v1/users/oauth2%7Clarge/token");
        for n in 0..USERS {
            let body = caller.ask("GET", &format!("/v1/users/oauth2%7C{n}/token"));
            assert!(body.contains(token.text()), "{body}");
            // The caller's connection has no part in this.
            caller.ask("GET", "/v1/users/oauth2%7Clarge/token");
        }
        assert!(Memory::of(daemon.pid()).places(&token).len() >= USERS);
        for n in 0..USERS {
            caller.ask("DELETE", &format!("/v1/users/oauth2%7C{n}"));
        }
        let left = Memory::of(daemon.pid());
        assert_eq!(left.places(&token), [], "{threads} {large}");
    }
}

/// Asks one thing after the other on one connection.
struct Caller(BufReader<UnixStream>);

impl Caller {
    fn connect(socket: &Path) -> Self {
        Self(BufReader::new(UnixStream::connect(socket).unwrap()))
    }

    /// The body of the answer.
    fn ask(&mut self, method: &str, path: &str) -> String {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut length, mut line) = (0, String::new());
        while {
            line.clear();
            self.0.read_line(&mut line).unwrap()
        } > 2
        {
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }
}

/// The client's secret is in memory once, wherever it comes from and however it is sent: where it is kept to be sent
/// again. What a reload reads is dropped where it is the same. That it is in the environment as well is the doing of whoever
/// put it there, and so is that what a reload reads again holds it a second time.
#[test]
fn the_clients_secret_is_in_memory_once() {
    if !is_root() {
        return;
    }
    let secret = Canary::new(b'C');
    let basic = STANDARD.encode(format!("demo-client:{}", secret.text()));
    for (auth, from_file) in
        [("client_secret_post", true), ("client_secret_basic", true), ("client_secret_post", false)]
    {
        let options = TenantOptions { client_secret: Secret::new(secret.text()), ..TenantOptions::default() };
        let deployment = Deployment::with(options, "");
        fs::write(deployment.directory.path().join("secret"), secret.text()).unwrap();
        let config = fs::read_to_string(deployment.config()).unwrap();
        let place = if from_file { "secret_file" } else { "# secret_file" };
        let config = config.replace("secret_file", &format!("auth = {auth:?}\n{place}"));
        fs::write(deployment.config(), config).unwrap();
        let variable = [("CLOAKROOM_TENANT__CLIENT__SECRET", secret.text())];
        let environment = if from_file { &[][..] } else { &variable[..] };
        let mut daemon = Daemon::spawn_in(&deployment.config(), &deployment.socket(), environment);
        assert_eq!(daemon.run(&["wait"]).0, 0, "{}", daemon.log());
        let at_start = places(&daemon, &secret);
        // What a reload reads is the same once more, and is not kept.
        for number in 1..=3 {
            daemon.signal(Signal::SIGHUP);
            daemon.until("it is reloaded", |daemon| {
                daemon.log().matches("Configuration reloaded").count() == number
            });
        }
        assert_eq!(daemon.run(&["reload"]).0, 0);
        // The watch over the file looks at it once more, and for a moment holds what it reads.
        daemon.until("what was read is gone", |daemon| places(daemon, &secret) == at_start);
        let memory = Memory::of(daemon.pid());
        let (stack, elsewhere): (Vec<_>, Vec<_>) =
            memory.places(&secret).into_iter().partition(|(part, ..)| part == "[stack]");
        assert_eq!(
            (elsewhere.len(), stack.len()),
            (1 + usize::from(!from_file), usize::from(!from_file)),
            "{auth} {elsewhere:?} {stack:?}"
        );
        assert_eq!(memory.count(&basic.as_bytes()[100..150]), 0, "as it is sent in a header");
        let command_line = fs::read(format!("/proc/{}/cmdline", daemon.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&command_line).contains(secret.text()));
    }
}

/// Those before the new ones are kept until Auth0 has accepted these, and not a moment longer.
#[test]
fn of_secrets_that_were_replaced_none_is_in_memory_that_is_of_no_use() {
    if !is_root() {
        return;
    }
    let (first, second) = (Canary::new(b'F'), Canary::new(b'G'));
    let options = TenantOptions { client_secret: Secret::new(first.text()), ..TenantOptions::default() };
    let deployment = Deployment::with(options, "");
    let file = deployment.directory.path().join("secret");
    fs::write(&file, first.text()).unwrap();
    let mut daemon = Daemon::spawn_in(&deployment.config(), &deployment.socket(), &[]);
    assert_eq!(daemon.run(&["wait"]).0, 0, "{}", daemon.log());
    let (none, once) = ((0, 0), (0, 1));
    // It may have come too early; it is taken back; it comes again.
    for (number, by, expected) in
        [(1, &second, [once, once]), (2, &first, [once, none]), (3, &second, [once, once])]
    {
        fs::write(&file, by.text()).unwrap();
        daemon.until("the secret is noticed", |daemon| {
            daemon.log().matches("\"changed\":\"tenant.client.secret\"").count() == number
        });
        // The watch over the file looks at the one before for a moment more.
        daemon.until("what is of no use is gone", |daemon| {
            [&first, &second].map(|canary| places(daemon, canary)) == expected
        });
    }
    deployment.tenant.rotate_client_secret(Secret::new(second.text()));
    deployment.tenant.revoke_management_tokens();
    daemon.until("the new one is accepted", |daemon| {
        daemon.run(&["token", users::GOOGLE]);
        daemon.log().contains("Auth0 accepts the client's new credentials")
    });
    daemon.until("the one before is gone", |daemon| places(daemon, &first) == none);
    assert_eq!(places(&daemon, &second), once);
}

/// What a reload reads of the proxy's password takes the place of what was read before.
#[test]
fn a_proxys_password_is_in_memory_no_oftener_after_reloads() {
    if !is_root() {
        return;
    }
    let (deployment, password) = (Deployment::new(""), Canary::new(b'P'));
    let config = fs::read_to_string(deployment.config()).unwrap();
    let proxy = format!("[tenant]\nproxy = \"http://user:{}@localhost:1\"\n", password.text());
    fs::write(deployment.config(), config.replacen("[tenant]\n", &proxy, 1)).unwrap();
    fs::set_permissions(deployment.config(), PermissionsExt::from_mode(0o600)).unwrap();
    let mut daemon = Daemon::start(&deployment.config(), &deployment.socket());
    daemon.until("it has tried", |daemon| daemon.log().contains("No Management token"));
    let at_start = places(&daemon, &password);
    assert!(at_start.1 >= 1);
    for _ in 0..4 {
        assert_eq!(daemon.run(&["reload"]).0, 0);
    }
    daemon.until("what was before is gone", |daemon| places(daemon, &password).1 <= at_start.1);
}

/// How often `secret` is in the stack and elsewhere.
fn places(daemon: &Daemon, secret: &Canary) -> (usize, usize) {
    let places = Memory::of(daemon.pid()).places(secret);
    let in_stack = places.iter().filter(|(part, ..)| part == "[stack]").count();
    (in_stack, places.len() - in_stack)
}

/// On its way into the daemon's environment the secret is anybody's who may read that: which is root, and not even
/// another process of the daemon's own user.
#[test]
fn the_daemons_own_user_can_read_neither_its_memory_nor_its_environment() {
    const USER: u32 = 4321;
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("[runtime]\nthreads = 2");
    let place = deployment.directory.path();
    fs::set_permissions(place, PermissionsExt::from_mode(0o777)).unwrap();
    for file in ["secret", "ca.pem", "cloakroom.toml"] {
        nix::unistd::chown(&place.join(file), Some(USER.into()), None).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_cloakroom"), place.join("cloakroom")).unwrap();
    let own = |program: &Path, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).env_clear().uid(USER).gid(USER).stdin(Stdio::null());
        command
    };
    let mut daemon =
        own(&place.join("cloakroom"), &["serve", "--config", deployment.config().to_str().unwrap()])
            .env("SOME_SECRET", "canary")
            .stderr(fs::File::create(place.join("log")).unwrap())
            .spawn()
            .unwrap();
    // The same without what is being tested, to see that it could be read.
    let mut control = own(Path::new("/bin/sleep"), &["1h"]).env("SOME_SECRET", "canary").spawn().unwrap();
    let socket = deployment.socket();
    assert_eq!(finish(cloakroom(&["wait"]).env("CLOAKROOM_SOCKET", &socket).output().unwrap()).0, 0);

    let read = |pid: u32, file: &str| {
        let path = format!("/proc/{pid}/{file}");
        let (exit, out, _) = finish(own(Path::new("/bin/cat"), &[&path]).output().unwrap());
        (exit, out.contains("canary"))
    };
    assert_eq!(read(control.id(), "environ"), (0, true));
    for file in ["environ", "maps", "mem", "auxv"] {
        assert_eq!(read(daemon.id(), file), (1, false), "{file}");
    }
    let status = |task: &Path| fs::read_to_string(task.join("status")).unwrap();
    let tasks: Vec<_> = fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap().collect();
    assert!(tasks.len() >= 3, "{tasks:?}");
    for task in tasks {
        assert!(status(&task.unwrap().path()).contains("NoNewPrivs:\t1\n"));
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{limits}");
    let log = fs::read_to_string(place.join("log")).unwrap();
    assert!(log.contains("Sandboxed") || log.contains("Not sandboxed"), "{log}");
    assert_eq!(log.matches("\"level\":\"INFO\",\"message\":\"Keeping ").count(), 3, "{log}");
    for process in [&mut daemon, &mut control] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

/// Seen from outside at the one thing that a running daemon does to the file system: it removes its sockets. It may
/// do so in the directories that it was started with, and in no other that takes their place, though it is root.
#[test]
fn the_real_binary_is_in_its_sandbox() {
    let deployment = Deployment::new("");
    let mut daemon = deployment.start();
    daemon.until("it is said", |daemon| daemon.log().contains("andboxed"));
    let (sandboxed, not) = (daemon.log().contains("\"Sandboxed"), daemon.log().contains("\"Not sandboxed"));
    assert!(sandboxed != not, "{}", daemon.log());
    let (run, elsewhere) =
        (deployment.directory.path().join("run"), deployment.directory.path().join("away"));
    fs::rename(&run, &elsewhere).unwrap();
    fs::create_dir(&run).unwrap();
    fs::hard_link(elsewhere.join("api.sock"), deployment.socket()).unwrap();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(deployment.socket().exists(), sandboxed, "{}", daemon.log());
    assert_eq!(daemon.log().contains("Permission denied"), sandboxed, "{}", daemon.log());
}

/// Whatever the limit was that it was started with.
#[test]
fn a_daemon_that_dies_leaves_no_core() {
    let deployment = Deployment::new("");
    let place = deployment.directory.path();
    for signal in [Signal::SIGABRT, Signal::SIGSEGV] {
        let script = format!(
            "ulimit -c unlimited; exec {} serve --config {}",
            env!("CARGO_BIN_EXE_cloakroom"),
            deployment.config().display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env_clear().current_dir(place).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let socket = deployment.socket();
        assert_eq!(finish(cloakroom(&["wait"]).env("CLOAKROOM_SOCKET", &socket).output().unwrap()).0, 0);
        let end = loop {
            // Rust takes the first SIGSEGV for itself, to tell a full stack, and lets the next one through.
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            if let Some(end) = child.try_wait().unwrap() {
                break end;
            }
        };
        assert_eq!((end.signal(), end.core_dumped()), (Some(signal as i32), false));
        let left: Vec<_> = fs::read_dir(place).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("core")), "{left:?}");
    }
}

#[test]
fn a_panic_says_where_and_never_what() {
    let (say, said) = mpsc::channel();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| say.send(panics::text(info)).unwrap()));
    let thread = std::thread::Builder::new().name("worker".into());
    let panicked = thread.spawn(|| panic!("canary {}", "canary")).unwrap().join();
    std::panic::set_hook(before);
    assert!(panicked.is_err());
    let text = said.recv().unwrap();
    assert!(text.contains("worker") && text.contains("tests/hardening.rs:"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

/// There is no input that makes the real binary panic; a machine that gives it no threads does.
#[test]
fn the_real_binarys_panics_do_not_say_what_either() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("[runtime]\nthreads = 2");
    let place = deployment.directory.path();
    fs::set_permissions(place, PermissionsExt::from_mode(0o777)).unwrap();
    for file in ["secret", "ca.pem", "cloakroom.toml"] {
        nix::unistd::chown(&place.join(file), Some(4322.into()), None).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_cloakroom"), place.join("cloakroom")).unwrap();
    let start = |threads: u32| {
        let script = format!(
            "ulimit -u {threads}; exec {} serve --config {}",
            place.join("cloakroom").display(),
            deployment.config().display()
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).env_clear().uid(4322).gid(4322);
        finish(command.output().unwrap())
    };
    let (exit, _, why) = start(1);
    assert!(exit == 1 && why.contains("the log's descriptor or thread cannot be made"), "{exit}: {why}");
    // The log has its thread, and then the runtime has none.
    let (exit, _, log) = start(2);
    assert_eq!(exit, 101, "{log}");
    assert!(log.contains("panicked at") && log.contains("\"level\":\"ERROR\""), "{log}");
    assert!(!log.contains("spawn") && !log.contains("unavailable"), "what tokio says is left out: {log}");
}

/// A limit that would end the daemon later, by an allocation that fails, ends its start. It does not hold root.
#[test]
fn memory_is_locked_or_it_is_said_what_is_missing() {
    const USER: u32 = 4323;
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("[runtime]\nlock_memory = true");
    let place = deployment.directory.path();
    let mut daemon = Daemon::spawn(&deployment.config(), &deployment.socket());
    if daemon.run(&["wait", "--timeout", "20s"]).0 != 0 {
        // A container may take this from root as well.
        assert_eq!(daemon.wait().code(), Some(1));
        assert!(daemon.log().contains("memory cannot be locked"), "{}", daemon.log());
        return;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let locked = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
    assert_ne!(locked.split_whitespace().nth(1), Some("0"), "{status}");

    fs::set_permissions(place, PermissionsExt::from_mode(0o777)).unwrap();
    for file in ["secret", "ca.pem", "cloakroom.toml"] {
        nix::unistd::chown(&place.join(file), Some(USER.into()), None).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_cloakroom"), place.join("cloakroom")).unwrap();
    let (binary, config) = (place.join("cloakroom"), deployment.config());
    let script = format!("ulimit -l 8192; exec {} serve --config {}", binary.display(), config.display());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).env_clear().uid(USER).gid(USER);
    let (exit, _, why) = finish(command.output().unwrap());
    assert_eq!(exit, 1, "{why}");
    for text in ["runtime.lock_memory", "RLIMIT_MEMLOCK at 8192 KiB", "LimitMEMLOCK=infinity"] {
        assert!(why.contains(text), "{why}");
    }
}

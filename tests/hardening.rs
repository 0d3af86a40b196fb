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
use std::os::unix::net::UnixStream;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloakroom::demo::TenantOptions;
use cloakroom::secret::Secret;
use serde_json::json;
use support::deployment::Deployment;
use support::memory::{Canary, Memory};
use support::process::{Daemon, is_root};

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
/// again. That it is in the environment as well is the doing of whoever put it there.
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
        let daemon = Daemon::spawn_in(&deployment.config(), &deployment.socket(), environment);
        assert_eq!(daemon.run(&["wait"]).0, 0, "{}", daemon.log());
        let memory = Memory::of(daemon.pid());
        let (stack, elsewhere): (Vec<_>, Vec<_>) =
            memory.places(&secret).into_iter().partition(|(part, ..)| part == "[stack]");
        assert_eq!(
            (elsewhere.len(), stack.len()),
            (1, usize::from(!from_file)),
            "{auth} {elsewhere:?} {stack:?}"
        );
        assert_eq!(memory.count(&basic.as_bytes()[100..150]), 0, "as it is sent in a header");
        let command_line = fs::read(format!("/proc/{}/cmdline", daemon.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&command_line).contains(secret.text()));
    }
}

//! The memory of the real binary, searched for secrets that it no longer needs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloakroom::fake_auth0::provider::{Dialect, ProviderOptions};
use cloakroom::fake_auth0::{TenantOptions, users};
use cloakroom::secret::Secret;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::configuration::write_private;
use crate::support::deployment::Deployment;
use crate::support::memory::{Canary, Memory};
use crate::support::process::{Daemon, is_root};
use crate::support::renewing::{IMPATIENT, Providers, expired, user};

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

/// Refresh tokens and what was issued for them: those that Auth0 stores, those that a provider issued, and access tokens.
/// A purge leaves the refresh tokens where they are, and one with `credentials` does not.
#[test]
fn nothing_is_left_of_refresh_tokens_that_were_forgotten() {
    const USERS: usize = 30;
    if !is_root() {
        return;
    }
    let state = "[state]\npath = \"{dir}/state\"\nkey_file = \"{dir}/state.key\"\n";
    for (dialect, threads, state, all) in [
        (Dialect::Google, 1, "", false),
        (Dialect::Microsoft, 1, "", true),
        (Dialect::Zoom, 1, state, false),
        (Dialect::Zoom, 4, state, true),
    ] {
        let (stored, issued) = (Canary::new(b'R'), Canary::new(b'I'));
        let options = ProviderOptions { mark: issued.text().to_owned(), ..ProviderOptions::of(dialect) };
        let providers = Providers::listen(vec![("c1", options)]);
        let settings = format!(
            "[runtime]\nthreads = {threads}\n[upstream]\nrequests_per_second = 1000\nburst = 1000\n{state}{}",
            providers.tables(IMPATIENT)
        );
        let deployment = Deployment::with_files(TenantOptions::default(), &settings, |tenant, directory| {
            for n in 0..USERS {
                let identity = expired("c1", &n.to_string(), "x", &format!("{}-{n}", stored.text()));
                assert!(tenant.put_user(user(&format!("oauth2|{n}"), &[identity])));
            }
            providers.prepare(tenant, directory);
            write_private(&directory.join("state.key"), &STANDARD.encode([7; 32]));
        });
        let daemon = deployment.start();
        let mut caller = Caller::connect(&daemon.socket);
        let places = || {
            let memory = Memory::of(daemon.pid());
            [&stored, &issued].map(|canary| memory.places(canary))
        };
        // The second purge is of tokens that the provider has issued for one of its own.
        for round in 0..2 {
            for n in 0..USERS {
                let body = caller.ask("GET", &format!("/v1/users/oauth2%7C{n}/token"));
                assert!(body.contains(issued.text()) && body.contains("\"source\":\"refresh\""), "{body}");
            }
            assert!(places()[1].len() >= USERS, "access tokens are cached");
            (0..USERS).for_each(|n| drop(caller.ask("DELETE", &format!("/v1/users/oauth2%7C{n}"))));
            let [stored, issued] = places();
            let kept = stored.len().max(issued.len());
            // In the file they are sealed.
            let expected = if state.is_empty() { USERS } else { 0 };
            assert_eq!(kept, expected, "{dialect:?} {threads} {round}: {stored:?} {issued:?}");
        }
        (0..USERS).for_each(|n| drop(caller.ask("GET", &format!("/v1/users/oauth2%7C{n}/token"))));
        let records = |caller: &mut Caller| caller.ask("GET", "/v1/status").contains("\"records\":0");
        assert!(state.is_empty() || !records(&mut caller));
        let each = |n| format!("/v1/users/oauth2%7C{n}?credentials=true");
        let purges =
            if all { vec!["/v1/users?credentials=true".to_owned()] } else { (0..USERS).map(each).collect() };
        for purge in purges {
            caller.ask("DELETE", &purge);
        }
        assert_eq!(places(), [vec![], vec![]], "{dialect:?} {threads}");
        assert!(state.is_empty() || records(&mut caller), "{}", caller.ask("GET", "/v1/status"));
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

/// A connection's secret, as it is read and as it is sent in a header; and the key of the state file as it is read.
#[test]
fn a_connections_secret_is_in_memory_once_and_the_text_of_the_state_key_is_not() {
    if !is_root() {
        return;
    }
    let (secret, key) = (Canary::new(b'N'), STANDARD.encode([b'K'; 32]));
    let options = ProviderOptions {
        client_secrets: vec![Secret::new(secret.text())],
        ..ProviderOptions::of(Dialect::Zoom)
    };
    let providers = Providers::listen(vec![("c1", options)]);
    let state = "[state]\npath = \"{dir}/state\"\nkey_file = \"{dir}/state.key\"\n";
    let settings = format!("{state}{}", providers.tables(IMPATIENT));
    let deployment = Deployment::with_files(TenantOptions::default(), &settings, |tenant, directory| {
        tenant.put_user(user("oauth2|1", &[expired("c1", "1", "x", "refresh")]));
        providers.prepare(tenant, directory);
        write_private(&directory.join("state.key"), &key);
    });
    let mut daemon = deployment.start();
    let renew = |daemon: &Daemon| {
        assert_eq!(daemon.run(&["purge", "oauth2|1"]).0, 0);
        assert_eq!(daemon.run(&["token", "oauth2|1"]).0, 0);
    };
    renew(&daemon);
    for _ in 0..3 {
        assert_eq!(daemon.run(&["reload"]).0, 0);
    }
    renew(&daemon);
    assert_eq!(providers.of("c1").redemptions().len(), 2);
    daemon.until("what was read again is gone", |daemon| places(daemon, &secret) == (0, 1));
    let basic = STANDARD.encode(format!("{}:{}", providers.of("c1").client().0, secret.text()));
    let memory = Memory::of(daemon.pid());
    assert_eq!((memory.count(&basic.as_bytes()[100..150]), memory.count(key.as_bytes())), (0, 0));
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

//! The real binary from start to end: what it says, what it exits with, what it leaves behind.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use cloakroom::fake_auth0::{CertificateKind, Endpoint, Fault, users};
use nix::sys::signal::Signal;

use crate::support::command::run;
use crate::support::deployment::Deployment;
use crate::support::process::{Daemon, PROGRAM, cloakroom, finish, is_root};

#[test]
fn a_daemon_starts_without_auth0_and_becomes_ready_when_it_can() {
    let mut deployment = Deployment::new("");
    let port = deployment.listening.as_ref().unwrap().port();
    deployment.listening = None;
    let daemon = Daemon::start(&deployment.config(), &deployment.socket());
    assert_eq!(daemon.run(&["healthcheck", "--live"]).0, 0);
    let (exit, line, _) = daemon.run(&["healthcheck", "--ready"]);
    assert!(exit == 1 && line.contains("not ready"), "{line}");
    assert_eq!(daemon.run(&["token", users::GOOGLE]).0, 69);
    let guard = deployment.runtime.enter();
    let listening = deployment.tenant.listen_on(port, CertificateKind::Good).unwrap();
    drop(guard);
    assert_eq!(daemon.run(&["wait"]).0, 0);
    assert_eq!(daemon.run(&["token", users::GOOGLE]).0, 0);
    drop(listening);
}

#[test]
fn sigterm_and_sigint_end_it_with_0_and_leave_no_socket() {
    let deployment = Deployment::new("");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = deployment.start();
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
        assert!(!deployment.socket().exists());
    }
}

/// The tenant knows one application. Here it is that of the calls, and the one that reads users is refused.
#[test]
fn an_application_of_calls_that_may_see_users_tokens_ends_the_daemon_with_78() {
    let deployment = Deployment::new(
        "[tenant.client]\nid = \"other\"\nsecret_file = \"{dir}/secret\"\n\
         [management_api]\nclient_id = \"demo-client\"\nsecret_file = \"{dir}/secret\"\n",
    );
    let mut daemon = Daemon::start(&deployment.config(), &deployment.socket());
    assert_eq!(daemon.wait().code(), Some(78), "{}", daemon.log());
    let log = daemon.log();
    assert!(log.contains("error: the application of [management_api] has the permission"), "{log}");
    assert!(!deployment.socket().exists());

    deployment.tenant.grant_scopes(&["read:users"]);
    let mut daemon = Daemon::start(&deployment.config(), &deployment.socket());
    daemon.until("it has a token", |daemon| daemon.log().contains("Management token obtained"));
    // A later token that has it again does not end the daemon.
    deployment.tenant.grant_scopes(&["read:users", "read:user_idp_tokens"]);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
}

#[test]
fn what_was_begun_is_finished_and_readiness_goes_first() {
    let deployment = Deployment::new("[shutdown]\nmin_delay = \"300ms\"");
    let mut daemon = deployment.start();
    deployment.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_millis(800)));
    let lookup = cloakroom(&["token", users::GOOGLE])
        .env("CLOAKROOM_SOCKET", deployment.socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    daemon.until("the lookup is under way", |_| deployment.tenant.calls_to(Endpoint::User).len() == 1);
    daemon.signal(Signal::SIGTERM);
    daemon.until("it is not ready", |daemon| daemon.run(&["healthcheck"]).1.contains("shutting down"));
    assert_eq!(finish(lookup.wait_with_output().unwrap()).0, 0);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn whoever_still_waits_at_the_deadline_is_told_so() {
    let deployment = Deployment::new("[shutdown]\ndeadline = \"100ms\"");
    let mut daemon = deployment.start();
    deployment.tenant.fault(Endpoint::User, Fault::StallHeaders);
    let lookup = cloakroom(&["token", users::GOOGLE])
        .env("CLOAKROOM_SOCKET", deployment.socket())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    daemon.until("the lookup is under way", |_| deployment.tenant.calls_to(Endpoint::User).len() == 1);
    daemon.signal(Signal::SIGTERM);
    let (exit, _, why) = finish(lookup.wait_with_output().unwrap());
    assert_eq!(exit, 69);
    assert!(why.contains("draining"), "{why}");
    assert_eq!(daemon.wait().code(), Some(0));
}

/// Guarantee 9: whoever the kernel connected is answered, and the next one finds no socket.
#[test]
fn clients_that_connected_are_answered_across_a_shutdown() {
    let deployment = Deployment::new("");
    let mut daemon = deployment.start();
    let socket = deployment.socket();
    let answered = std::sync::atomic::AtomicUsize::new(0);
    // Connects and asks until there is nobody to connect to; then returns what went wrong before.
    let ask = || {
        while let Ok(mut caller) = UnixStream::connect(&socket) {
            let mut answer = String::new();
            caller
                .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                .and_then(|()| caller.read_to_string(&mut answer))
                .map_err(|why| why.to_string())?;
            if !answer.starts_with("HTTP/1.1 200 ") || !answer.ends_with("live\n") {
                return Err(answer);
            }
            answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(())
    };
    let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        daemon.until("many were answered", |_| answered.load(std::sync::atomic::Ordering::Relaxed) > 1000);
        daemon.signal(Signal::SIGTERM);
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(outcomes, vec![Ok(()); 16]);
    assert_eq!(UnixStream::connect(&socket).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let deployment = Deployment::new("[shutdown]\nmin_delay = \"1h\"");
    let mut daemon = deployment.start();
    daemon.signal(Signal::SIGTERM);
    daemon.until("the first is noticed", |daemon| daemon.log().contains("Shutting down"));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(1));
}

#[test]
fn a_wrong_configuration_ends_with_78_and_names_every_problem() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cloakroom.toml");
    std::fs::write(&file, "[tenant]\ndomain = \"http://acme.auth0.com\"\nrequest_timeout = 5\n").unwrap();
    for command in ["serve", "check"] {
        let (exit, out, err) = run(&[command, "--config", file.to_str().unwrap()]);
        assert_eq!((exit, out.as_str()), (78, ""), "{command}: {err}");
        for key in
            ["tenant.domain", "tenant.request_timeout", "tenant.client.id", "tenant.client.secret_file"]
        {
            assert!(err.contains(key), "{command}: {key} in {err}");
        }
    }
}

/// Many connections at once, and descriptors running out: the loop pauses and goes on.
#[test]
fn running_out_of_descriptors_pauses_accepting_and_no_more() {
    // Only root may count another process's descriptors, where that keeps itself from being read.
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    // Less than what the fewest connections of a listener take, which are let in whatever the limit is.
    let daemon = deployment.start();
    let at_rest = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    drop(daemon);
    let script = format!(
        "ulimit -n {}; exec {} serve --config {}",
        at_rest + 2,
        PROGRAM,
        deployment.config().display()
    );
    let log = deployment.directory.path().join("log");
    let mut child = std::process::Command::new("sh")
        .args(["-c", &script])
        .env_clear()
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let socket = deployment.socket();
    while UnixStream::connect(&socket).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut greedy: Vec<_> = (0..100).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let read_log = || std::fs::read_to_string(&log).unwrap();
    while !read_log().contains("No connection can be accepted") {
        std::thread::sleep(Duration::from_millis(20));
    }
    // One goes and another comes, over and over: each time one is accepted and the next cannot be.
    for _ in 0..300 {
        drop(greedy.remove(0));
        greedy.push(UnixStream::connect(&socket).unwrap());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(read_log().matches("No connection can be accepted").count(), 1, "{}", read_log());
    assert!(child.try_wait().unwrap().is_none());
    drop(greedy);
    let mut caller = UnixStream::connect(&socket).unwrap();
    caller.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(read_log().lines().count() < 20, "{}", read_log());
    child.kill().unwrap();
    child.wait().unwrap();
}

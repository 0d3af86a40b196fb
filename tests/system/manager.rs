//! Under a service manager: notifications, the sockets that it keeps, and the watchdog. The protocols alone are tried
//! here; `tests/host` tries them under a real systemd.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault, users};
use nix::sys::signal::Signal;

use crate::support::caller::{Caller, token_path};
use crate::support::deployment::Deployment;
use crate::support::process::{Daemon, PROGRAM, cloakroom, finish};

/// Longer than the daemon takes for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hears what a daemon tells its service manager.
struct Manager {
    socket: UnixDatagram,
    _directory: tempfile::TempDir,
    path: String,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path: path.to_str().unwrap().to_owned(), _directory: directory }
    }

    fn environment(&self) -> [(&str, &str); 1] {
        [("NOTIFY_SOCKET", &self.path)]
    }

    /// The next message, as it came.
    fn hear(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("a message");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// The next message that has this line, and those before it.
    fn until(&self, line: &str) -> (String, Vec<String>) {
        let mut before = Vec::new();
        loop {
            let message = self.hear();
            if message.lines().any(|found| found == line) {
                return (message, before);
            }
            before.push(message);
        }
    }

    fn is_silent_for(&self, span: Duration) -> bool {
        self.socket.set_read_timeout(Some(span)).unwrap();
        let heard = self.socket.recv(&mut [0; 4096]);
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        heard.is_err()
    }
}

#[test]
fn it_is_told_when_the_daemon_is_ready_reloads_and_ends() {
    let deployment = Deployment::new("");
    let manager = Manager::new();
    deployment.tenant.fault(Endpoint::Token, Fault::StallHeaders);
    let mut daemon = Daemon::spawn_in(&deployment.config(), &deployment.socket(), &manager.environment());
    daemon.until("the socket answers", |daemon| daemon.run(&["healthcheck", "--live"]).0 == 0);
    assert!(manager.is_silent_for(Duration::from_millis(300)), "it is not ready without a Management token");
    deployment.tenant.clear_all();
    let (ready, _) = manager.until("READY=1");
    assert!(ready.contains("STATUS=Ready: Management token valid until 20"), "{ready}");

    assert_eq!(daemon.run(&["reload"]).0, 0);
    let (reloading, _) = manager.until("RELOADING=1");
    let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(since.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
    manager.until("READY=1");
    std::fs::write(deployment.config(), "nonsense").unwrap();
    assert_eq!(daemon.run(&["reload"]).0, 78);
    manager.until("RELOADING=1");
    // A reload that was refused is over as well: the daemon goes on.
    manager.until("READY=1");

    daemon.signal(Signal::SIGTERM);
    let (stopping, _) = manager.until("STOPPING=1");
    assert!(stopping.contains("STATUS=Shutting down"), "{stopping}");
    assert_eq!(daemon.wait().code(), Some(0));
}

/// A tenant that cannot be reached keeps no daemon from starting: it says so, and is ready when it can be.
#[test]
fn a_start_without_auth0_is_a_start_after_ten_seconds() {
    let mut deployment = Deployment::new("");
    let manager = Manager::new();
    let port = deployment.listening.as_ref().unwrap().port();
    drop(deployment.listening.take());
    let mut daemon = Daemon::spawn_in(&deployment.config(), &deployment.socket(), &manager.environment());
    let (ready, _) = manager.until("READY=1");
    assert!(ready.contains("STATUS=Not ready: no Management token: "), "{ready}");
    daemon.until("it is said", |daemon| daemon.log().contains("Still no Management token"));
    assert_eq!(daemon.run(&["healthcheck", "--live"]).0, 0);
    assert_eq!(daemon.run(&["token", users::GOOGLE]).0, 69);
    let guard = deployment.runtime.enter();
    let kind = cloakroom::fake_auth0::CertificateKind::Good;
    let _again = deployment.tenant.listen_on(port, kind).unwrap();
    drop(guard);
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck"]).0 == 0);
    while !manager.hear().contains("STATUS=Ready") {}
}

#[test]
fn a_watchdog_hears_from_a_busy_daemon_and_not_from_a_stopped_one() {
    let deployment = Deployment::new("");
    let manager = Manager::new();
    let [notify] = manager.environment();
    let environment = [notify, ("WATCHDOG_USEC", "400000")];
    let daemon = Daemon::spawn_in(&deployment.config(), &deployment.socket(), &environment);
    manager.until("READY=1");
    // Every place that others may take is taken, and descriptors are not needed for it.
    let greedy: Vec<_> = (0..600).map(|_| UnixStream::connect(&daemon.socket)).collect();
    for _ in 0..5 {
        manager.until("WATCHDOG=1");
    }
    drop(greedy);
    daemon.signal(Signal::SIGSTOP);
    // What was on its way has come by then.
    while !manager.is_silent_for(Duration::from_secs(2)) {}
    daemon.signal(Signal::SIGCONT);
    manager.until("WATCHDOG=1");
}

/// Starts the daemon as sd_listen_fds(3) has it: the sockets from descriptor 3 on, and their number.
fn pass(sockets: &[&UnixListener], deployment: &Deployment) -> Daemon {
    // By descriptors 0 and 1 to the shell, which moves them and becomes the daemon. No other child gets any of them.
    let moves = ["exec 3<&0 0</dev/null;", "exec 4<&1 1>/dev/null;"];
    let script = format!(
        "{} export LISTEN_FDS={} LISTEN_PID=$$; exec {PROGRAM} serve --config {}",
        moves[..sockets.len()].concat(),
        sockets.len(),
        deployment.config().display()
    );
    let mut passed = sockets.iter().map(|socket| Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &script]).env_clear();
    command.stdin(passed.next().unwrap()).stdout(passed.next().unwrap_or_else(Stdio::null));
    Daemon::launch(command, &deployment.config(), &deployment.socket())
}

fn listen(path: &Path) -> UnixListener {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    UnixListener::bind(path).unwrap()
}

/// Guarantee 9, where the socket is somebody else's: whoever connects while nobody is there waits for the next daemon.
#[test]
fn a_socket_that_was_passed_outlives_the_daemon_and_nobody_in_its_queue_is_dropped() {
    let deployment = Deployment::new("");
    let socket = listen(&deployment.socket());
    let mut first = pass(&[&socket], &deployment);
    first.until("it answers", |daemon| daemon.run(&["healthcheck"]).0 == 0);
    assert_eq!(Caller::new(&deployment.socket()).get(&token_path(users::GOOGLE)).status, 200);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait().code(), Some(0));
    assert!(deployment.socket().exists(), "the file is not ours to remove");
    let mut waiting: Vec<_> = (0..20).map(|_| Caller::new(&deployment.socket())).collect();
    waiting.iter_mut().for_each(|caller| caller.ask(&token_path(users::GOOGLE)));
    let second = pass(&[&socket], &deployment);
    for mut caller in waiting {
        let heard = caller.hear();
        assert_eq!(heard.status, 200, "{}", heard.body);
    }
    drop(second);
}

#[test]
fn callers_that_ask_across_restarts_notice_nothing() {
    let deployment = Deployment::new("[shutdown]\ndeadline = \"5s\"\n");
    let socket = listen(&deployment.socket());
    let mut daemon = pass(&[&socket], &deployment);
    daemon.until("it answers", |daemon| daemon.run(&["healthcheck"]).0 == 0);
    let done = std::sync::atomic::AtomicBool::new(false);
    let ask = || {
        let mut answered = 0;
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let heard = Caller::new(&deployment.socket()).get(&token_path(users::GOOGLE));
            assert_eq!(heard.status, 200, "{}", heard.body);
            answered += 1;
        }
        answered
    };
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
        for _ in 0..3 {
            daemon.signal(Signal::SIGTERM);
            assert_eq!(daemon.wait().code(), Some(0));
            daemon = pass(&[&socket], &deployment);
            daemon.until("it answers", |daemon| daemon.run(&["healthcheck"]).0 == 0);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        for caller in callers {
            assert!(caller.join().unwrap() > 0);
        }
    });
}

#[test]
fn a_socket_that_no_listener_is_for_is_named() {
    let deployment = Deployment::new("");
    let stray = deployment.directory.path().join("stray.sock");
    let sockets = [listen(&deployment.socket()), listen(&stray)];
    let mut daemon = pass(&[&sockets[0], &sockets[1]], &deployment);
    assert_eq!(daemon.wait().code(), Some(1));
    assert!(daemon.log().contains("stray.sock") && daemon.log().contains("[[listener]]"), "{}", daemon.log());
    assert!(deployment.socket().exists() && stray.exists());
}

/// SIGTERM with many lookups under way to a tenant that is slow, but not too slow: each is answered.
#[test]
fn fifty_lookups_under_way_are_answered_at_the_end() {
    let deployment =
        Deployment::new("[upstream]\nburst = 100\nmax_concurrency = 100\nrequests_per_second = 100\n");
    let mut daemon = deployment.start();
    deployment.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_secs(2)));
    let mut callers: Vec<_> = (0..50).map(|_| Caller::new(&daemon.socket)).collect();
    for (caller, number) in callers.iter_mut().zip(0..) {
        let user = format!("google-oauth2|{number}");
        let (profile, _) =
            crate::support::deployment::logged_in(&user, &[("google-oauth2", "ya29.x")], 3600, now());
        assert!(deployment.tenant.put_user(profile));
        caller.ask(&token_path(&user));
    }
    daemon.until("all are under way", |_| deployment.tenant.calls_to(Endpoint::User).len() == 50);
    daemon.signal(Signal::SIGTERM);
    for caller in &mut callers {
        let heard = caller.hear();
        assert_eq!((heard.status, heard.token()), (200, Some("ya29.x")), "{}", heard.body);
    }
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(daemon.log().contains("Everything that was begun is finished"));
}

/// The same with a tenant that is slower than `shutdown.deadline`.
#[test]
fn fifty_lookups_that_would_outlast_the_deadline_are_told_so() {
    let deployment = Deployment::new(
        "[upstream]\nburst = 100\nmax_concurrency = 100\nrequests_per_second = 100\n[shutdown]\ndeadline = \"500ms\"\n",
    );
    let mut daemon = deployment.start();
    deployment.tenant.fault(Endpoint::User, Fault::StallHeaders);
    let mut callers: Vec<_> = (0..50).map(|_| Caller::new(&daemon.socket)).collect();
    for (caller, number) in callers.iter_mut().zip(0..) {
        caller.ask(&token_path(&format!("google-oauth2|{number}")));
    }
    daemon.until("all are under way", |_| deployment.tenant.calls_to(Endpoint::User).len() == 50);
    daemon.signal(Signal::SIGTERM);
    for caller in &mut callers {
        let heard = caller.hear();
        assert_eq!((heard.status, heard.code()), (503, "draining"), "{}", heard.body);
    }
    assert_eq!(daemon.wait().code(), Some(0));
}

fn now() -> cloakroom::domain::freshness::Timestamp {
    cloakroom::clock::Clock::system().now().wall
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn over_tcp(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn over_tcp_there_are_probes_and_metrics_and_nothing_else() {
    let port = free_port();
    let deployment = Deployment::new(&format!(
        "[shutdown]\nmin_delay = \"2s\"\n[admin]\naddress = \"127.0.0.1:{port}\"\n"
    ));
    let mut daemon = deployment.start();
    for path in ["/livez", "/startupz", "/readyz", "/metrics"] {
        let answer = over_tcp(port, &format!("GET {path}"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    let described = std::fs::read_to_string("src/api/openapi.json").unwrap();
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    let mut others = 0;
    for path in described["paths"].as_object().unwrap().keys() {
        if ["/livez", "/startupz", "/readyz", "/metrics"].contains(&path.as_str()) {
            continue;
        }
        others += 1;
        for method in ["GET", "POST", "DELETE"] {
            let answer =
                over_tcp(port, &format!("{method} {}", path.replace("{user_id}", "google-oauth2%7C1")));
            assert!(
                answer.starts_with("HTTP/1.1 404 ")
                    && answer.contains("route_not_found")
                    && answer.contains("over TCP only /livez"),
                "{path}: {answer}"
            );
        }
    }
    assert!(others >= 10);
    assert!(over_tcp(port, "POST /livez").starts_with("HTTP/1.1 405 "));
    for path in ["/livez?verbose", "/metrics?name=value"] {
        assert!(
            over_tcp(port, &format!("GET {path}")).starts_with("HTTP/1.1 200 "),
            "monitors add queries: {path}"
        );
    }
    // Who says nothing keeps nobody else from being answered.
    let _silent: Vec<_> = (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    assert!(over_tcp(port, "GET /livez").contains("live"));
    daemon.signal(Signal::SIGTERM);
    daemon.until("it is not ready", |_| over_tcp(port, "GET /readyz").starts_with("HTTP/1.1 503 "));
    assert!(over_tcp(port, "GET /livez").starts_with("HTTP/1.1 200 "), "it lives for as long as it drains");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_port_that_somebody_has_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let deployment = Deployment::new(&format!("[admin]\naddress = \"127.0.0.1:{port}\"\n"));
    let serve = cloakroom(&["serve", "--config", deployment.config().to_str().unwrap()]).output().unwrap();
    let (exit, _, err) = finish(serve);
    assert_eq!(exit, 1);
    assert!(err.contains("admin.address") && err.contains("choose another port"), "{err}");
    assert!(!deployment.socket().exists());
}

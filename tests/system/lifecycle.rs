//! The real binary from start to end: what it says, what it exits with, what it leaves behind.

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

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use cloakroom::fake_auth0::{CertificateKind, Endpoint, Fault, users};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::caller::{Caller, token_path};
use support::deployment::Deployment;
use support::process::{Daemon, cloakroom, finish, is_root, run};

/// What somebody with nothing but a checkout sees.
#[test]
fn the_demo_shows_a_cold_and_a_warm_lookup_and_ends() {
    let (exit, out, err) = run(&["demo", "--once"]);
    assert_eq!((exit, err.as_str()), (0, ""), "{out}");
    let find =
        |what: &str| out.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {out}"));
    assert!(find("cold lookup").contains(" 1 upstream call,"), "{out}");
    assert!(find("warm lookup").contains(" 0 upstream calls,"), "{out}");
    assert!(find("access_token").contains("ya29."), "{out}");
}

/// The four commands that the demo prints work as they are printed.
#[test]
fn the_demos_commands_can_be_pasted() {
    let mut demo = cloakroom(&["demo"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let commands: Vec<String> = lines
        .by_ref()
        .take_while(|line| !line.starts_with("Ctrl-C"))
        .filter(|line| line.starts_with("  /") || line.starts_with("  '/") || line.starts_with("  curl "))
        .map(|line| line.trim().to_owned())
        .collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    for command in &commands {
        let output = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.is_empty() && !said.contains("problem"), "{command}: {said}");
    }
    kill(Pid::from_raw(demo.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(0));
}

#[test]
fn the_client_commands_work_against_a_real_daemon() {
    let deployment = Deployment::new("");
    let daemon = deployment.start();
    let token = deployment.tenant.user(users::GOOGLE).unwrap()["identities"][0]["access_token"].clone();
    let token = token.as_str().unwrap();
    assert_eq!(daemon.run(&["token", users::GOOGLE]), (0, format!("{token}\n"), String::new()));
    let (_, header, _) = daemon.run(&["token", users::GOOGLE, "--output", "header"]);
    assert_eq!(header, format!("Authorization: Bearer {token}\n"));
    let (exit, _, why) = daemon.run(&["token", users::LINKED]);
    assert_eq!(exit, 2, "{why}");
    assert_eq!(daemon.run(&["token", users::LINKED, "--connection", "github"]).0, 0);
    assert_eq!(daemon.run(&["token", users::SLASH]).0, 0);
    for (user, exit) in [("auth0|nobody", 3), (users::DATABASE, 3), (users::EXPIRED, 4), (users::BLOCKED, 5)]
    {
        assert_eq!(daemon.run(&["token", user]).0, exit, "{user}");
    }
    let (exit, table, _) = daemon.run(&["identities", users::LINKED]);
    assert!(exit == 0 && table.contains("github"), "{table}");
    let (exit, status, _) = daemon.run(&["status"]);
    assert!(exit == 0 && status.starts_with("ready"), "{status}");
    for probe in ["--live", "--ready", "--started"] {
        assert_eq!(daemon.run(&["healthcheck", probe]).0, 0, "{probe}");
    }
    let asked = deployment.tenant.calls_to(Endpoint::User).len();
    assert_eq!(daemon.run(&["purge", "--all"]).0, 0);
    assert_eq!(daemon.run(&["token", users::GOOGLE]).0, 0);
    assert_eq!(deployment.tenant.calls_to(Endpoint::User).len(), asked + 1);
}

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
fn whoever_connected_is_answered_across_the_end() {
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

/// A shell's script in mounts of its own.
fn in_own_mounts(script: &str) -> std::process::Command {
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null());
    command
}

/// As clouds have them. What forbids that one is the unit; here nothing answers there.
#[test]
fn a_link_local_name_server_is_named_where_names_are_not_resolved() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    let path = |name: &str| deployment.directory.path().join(name);
    let text = std::fs::read_to_string(deployment.config()).unwrap();
    let domain = deployment.listening.as_ref().unwrap().domain();
    std::fs::write(deployment.config(), text.replace(domain, "acme.eu.auth0.com")).unwrap();
    std::fs::write(path("resolv.conf"), "nameserver 169.254.169.253\n").unwrap();
    std::fs::create_dir(path("units")).unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    std::fs::copy(root.join("cloakroom.service"), path("units/cloakroom.service")).unwrap();
    let script = |command: &str| {
        format!(
            "mount --bind {} /etc/resolv.conf && mount --bind {} /etc/systemd/system && exec {} {command} \
             --config {}",
            path("resolv.conf").display(),
            path("units").display(),
            env!("CARGO_BIN_EXE_cloakroom"),
            deployment.config().display()
        )
    };
    let check = || {
        let (exit, out, err) = finish(in_own_mounts(&script("check")).output().unwrap());
        assert_eq!(exit, 0, "{err}");
        out
    };
    assert!(check().contains("warning: the name server 169.254.169.253"), "{}", check());
    std::fs::create_dir(path("units/cloakroom.service.d")).unwrap();
    let drop_in = root.join("drop-ins/link-local-resolver.conf");
    std::fs::copy(drop_in, path("units/cloakroom.service.d/resolver.conf")).unwrap();
    assert!(!check().contains("name server"), "{}", check());

    let mut command = in_own_mounts(&script("serve"));
    command.stdout(Stdio::null());
    let mut daemon = Daemon::launch(command, &deployment.config(), &deployment.socket());
    daemon.until("it says what may be the cause", |daemon| {
        daemon.log().contains("the name server 169.254.169.253 in /etc/resolv.conf is link-local")
    });
}

/// As Compose mounts one: the host's file with the host's mode, over a file of its own.
#[test]
fn a_secret_that_a_container_is_given_may_be_open_within_it_and_nowhere_else() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    let secret = deployment.directory.path().join("secret");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o444)).unwrap();
    let text = std::fs::read_to_string(deployment.config()).unwrap();
    let moved = text.replace(secret.to_str().unwrap(), "/run/secrets/client_secret");
    std::fs::write(deployment.config(), moved).unwrap();
    let check = |mark: &str, put: &str| {
        let script = format!(
            "mount -t tmpfs none /run && mkdir /run/secrets && touch {mark} /run/secrets/client_secret && {put} {} \
             /run/secrets/client_secret && exec {} check --config {}",
            secret.display(),
            env!("CARGO_BIN_EXE_cloakroom"),
            deployment.config().display()
        );
        finish(in_own_mounts(&script).output().unwrap())
    };
    let (exit, out, err) = check("/run/.containerenv", "mount --bind");
    assert_eq!(exit, 0, "{err}");
    assert!(out.contains("warning: ") && out.contains("every process in this container may read"), "{out}");
    // A machine that is a container itself has a mark that cannot be taken away.
    let is_container = std::path::Path::new("/.dockerenv").exists();
    let elsewhere = ("/run/other", "mount --bind");
    for (mark, put) in [elsewhere, ("/run/.containerenv", "cp --preserve=mode")] {
        if (mark, put) == elsewhere && is_container {
            continue;
        }
        let (exit, _, err) = check(mark, put);
        assert_eq!(exit, 78, "{mark} {put}");
        assert!(err.contains("every user of this machine may read"), "{err}");
    }
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o666)).unwrap();
    assert_eq!(check("/run/.containerenv", "mount --bind").0, 78, "others may change it");
}

/// A daemon whose `/etc/passwd` is the file that this gives.
fn with_users_of_its_own(deployment: &Deployment) -> (Daemon, PathBuf) {
    let passwd = deployment.directory.path().join("passwd");
    std::fs::write(&passwd, "root:x:0:0::/:/bin/sh\n").unwrap();
    let script = format!(
        "mount --bind {} /etc/passwd && exec {} serve --config {}",
        passwd.display(),
        env!("CARGO_BIN_EXE_cloakroom"),
        deployment.config().display()
    );
    let mut command = in_own_mounts(&script);
    command.stdout(Stdio::null());
    (Daemon::launch(command, &deployment.config(), &deployment.socket()), passwd)
}

const LATECOMER: &str =
    "[[listener]]\npath = \"{dir}/run/api.sock\"\n[[listener.allow]]\nuid = \"latecomer\"\n";

/// As with LDAP, sssd, or another unit's `DynamicUser=`.
#[test]
fn a_user_that_is_known_later_is_waited_for() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new(LATECOMER);
    let (mut daemon, passwd) = with_users_of_its_own(&deployment);
    daemon
        .until("it says what it waits for", |daemon| daemon.log().contains("there is no user of that name"));
    assert!(!deployment.socket().exists(), "nothing is bound before the rules are known");
    let mut file = std::fs::OpenOptions::new().append(true).open(passwd).unwrap();
    file.write_all(b"latecomer:x:54321:54321::/:/bin/sh\n").unwrap();
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck", "--ready"]).0 == 0);
    // Root is not whom the rule names.
    assert_eq!(daemon.run(&["token", "auth0|1"]).0, 5);
}

#[test]
fn a_user_that_does_not_come_ends_a_start_with_75_and_a_signal_ends_the_waiting() {
    let deployment = Deployment::new(&LATECOMER.replace("latecomer", "nosuchuser"));
    let mut daemon = Daemon::spawn(&deployment.config(), &deployment.socket());
    let another = deployment.directory.path().join("another.toml");
    std::fs::copy(deployment.config(), &another).unwrap();
    let mut ended = Daemon::spawn(&another, &deployment.socket());
    ended.until("it waits", |daemon| daemon.log().contains("waiting for users or groups"));
    ended.signal(Signal::SIGTERM);
    assert_eq!(ended.wait().code(), Some(0));
    let (exit, _, err) = run(&["check", "--config", deployment.config().to_str().unwrap()]);
    assert_eq!(exit, 75, "{err}");
    assert!(err.contains("listener.0.allow.0.uid: there is no user of that name"), "{err}");
    assert_eq!(daemon.wait().code(), Some(75), "{}", daemon.log());
    // Beside anything else that is wrong, waiting would not help.
    let text = std::fs::read_to_string(deployment.config()).unwrap();
    std::fs::write(deployment.config(), text.replace("nosuchuser\"", "nosuchuser\"\nrate = -1")).unwrap();
    assert_eq!(run(&["serve", "--config", deployment.config().to_str().unwrap()]).0, 78);
}

#[test]
fn everything_can_come_from_the_environment() {
    let deployment = Deployment::new("");
    let (listening, path) =
        (deployment.listening.as_ref().unwrap(), |name: &str| deployment.directory.path().join(name));
    let check = cloakroom(&["check", "--online"])
        .env("CLOAKROOM_TENANT__DOMAIN", listening.domain())
        .env("CLOAKROOM_TENANT__AUDIENCE", deployment.tenant.audience())
        .env("CLOAKROOM_TENANT__CA_FILE", path("ca.pem"))
        .env("CLOAKROOM_TENANT__CLIENT__ID", "demo-client")
        .env("CLOAKROOM_TENANT__CLIENT__SECRET", "demo-client-secret")
        .output()
        .unwrap();
    let (exit, out, err) = finish(check);
    assert_eq!(exit, 0, "{out}{err}");
}

/// The lock on the socket's directory is nobody's means to keep a daemon from starting.
#[test]
fn a_directory_that_somebody_keeps_locked_stops_no_start() {
    let deployment = Deployment::new("");
    let directory = deployment.directory.path().join("run");
    std::fs::create_dir(&directory).unwrap();
    let held = std::fs::File::open(&directory).unwrap();
    held.lock().unwrap();
    let mut daemon = deployment.start();
    daemon.until("it is said", |daemon| daemon.log().contains("going on without the lock"));
    // And the socket of one that is there is safe all the same.
    let mut second = Daemon::spawn(&deployment.config(), &deployment.socket());
    assert_eq!(second.wait().code(), Some(1));
    assert_eq!(daemon.run(&["healthcheck"]).0, 0);
}

/// `demo` has no `listener.path` to change, so the text names none.
#[test]
fn a_demo_on_a_socket_in_use_says_what_helps() {
    let deployment = Deployment::new("");
    let daemon = deployment.start();
    let (exit, _, why) = run(&["demo", "--once", "--socket", daemon.socket.to_str().unwrap()]);
    assert_eq!(exit, 1);
    assert!(why.contains("stop it, or choose another path") && !why.contains("listener"), "{why}");
    assert_eq!(daemon.run(&["healthcheck"]).0, 0);
}

/// Each of mode, owner and group on its own, whatever the umask; applied before anybody can connect.
#[test]
fn mode_owner_and_group_are_applied_each_on_its_own() {
    let root = is_root();
    let cases = [
        ("mode = \"0600\"", 0o600, 0, 0),
        ("mode = \"0666\"", 0o666, 0, 0),
        ("owner = 1234", 0o660, 1234, 0),
        ("group = 2345", 0o660, 0, 2345),
        ("mode = \"0620\"\nowner = 1234\ngroup = 2345", 0o620, 1234, 2345),
    ];
    for umask in ["000", "022", "077"] {
        for (settings, mode, owner, group) in cases {
            if !root && (owner, group) != (0, 0) {
                continue;
            }
            let deployment =
                Deployment::new(&format!("[[listener]]\npath = \"{{dir}}/run/api.sock\"\n{settings}"));
            let script = format!(
                "umask {umask}; exec {} serve --config {}",
                env!("CARGO_BIN_EXE_cloakroom"),
                deployment.config().display()
            );
            let mut child = std::process::Command::new("sh")
                .args(["-c", &script])
                .env_clear()
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let socket = deployment.socket();
            while UnixStream::connect(&socket).is_err() {
                assert!(child.try_wait().unwrap().is_none(), "{settings}");
                std::thread::sleep(Duration::from_millis(20));
            }
            let meta = std::fs::symlink_metadata(&socket).unwrap();
            let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
            let or_own = |id, own| if id == 0 { own } else { id };
            assert_eq!(meta.mode() & 0o7777, mode, "umask {umask} {settings}");
            assert_eq!((meta.uid(), meta.gid()), (or_own(owner, own.0), or_own(group, own.1)), "{settings}");
            let directory = std::fs::metadata(socket.parent().unwrap()).unwrap();
            assert_eq!(directory.mode() & 0o7777, 0o750, "umask {umask}");
            assert_eq!(
                (directory.uid(), directory.gid()),
                (or_own(owner, own.0), or_own(group, own.1)),
                "{settings}"
            );
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// The configuration is read by the daemon's own user: what it may not read, it says.
#[test]
fn a_secret_that_the_daemon_may_not_read_is_named() {
    use std::os::unix::process::CommandExt;
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    std::fs::set_permissions(deployment.directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(deployment.config(), PermissionsExt::from_mode(0o644)).unwrap();
    let binary = deployment.directory.path().join("cloakroom");
    std::fs::copy(env!("CARGO_BIN_EXE_cloakroom"), &binary).unwrap();
    let output = std::process::Command::new(&binary)
        .args(["check", "--config", deployment.config().to_str().unwrap()])
        .env_clear()
        .uid(12_345)
        .gid(12_345)
        .output()
        .unwrap();
    let (exit, _, err) = finish(output);
    assert_eq!(exit, 78);
    assert!(err.contains("tenant.client.secret_file") && err.contains("uid 12345"), "{err}");
    assert!(!err.contains("demo-client-secret"), "{err}");
}

/// Many connections at once, and descriptors running out: the loop pauses and goes on.
#[test]
fn running_out_of_descriptors_pauses_accepting_and_no_more() {
    let deployment = Deployment::new("");
    // Less than what the fewest connections of a listener take, which are let in whatever the limit is.
    let daemon = deployment.start();
    let at_rest = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    drop(daemon);
    let script = format!(
        "ulimit -n {}; exec {} serve --config {}",
        at_rest + 2,
        env!("CARGO_BIN_EXE_cloakroom"),
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

/// A pipe as standard error, and its reader, which reads nothing yet.
struct Unread {
    reader: std::io::PipeReader,
    writer: std::io::PipeWriter,
}

impl Unread {
    fn new() -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        Self { reader, writer }
    }

    /// Fills what room is left in the pipe with empty lines, however much it is.
    fn fill(&self) {
        // Opened once more, since descriptors that are copies of each other block or do not block together.
        let mut writer = std::fs::File::options()
            .write(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open(format!("/proc/self/fd/{}", self.writer.as_raw_fd()))
            .unwrap();
        while writer.write(b"\n").is_ok() {}
    }

    fn start(&self, deployment: &Deployment) -> Unheard {
        Unheard::start(deployment, self.writer.try_clone().unwrap().into())
    }
}

/// A daemon whose log is not read while it runs. Killed when dropped.
struct Unheard {
    child: Child,
    socket: PathBuf,
}

impl Unheard {
    fn start(deployment: &Deployment, stderr: Stdio) -> Self {
        let mut command = cloakroom(&["serve", "--config", deployment.config().to_str().unwrap()]);
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Self { child, socket: deployment.socket() }
    }

    fn listens(&mut self) {
        while UnixStream::connect(&self.socket).is_err() {
            assert_eq!(self.child.try_wait().unwrap(), None);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks `path` so often, on one connection, and wants this status each time.
    fn asked(&self, path: &str, times: usize, status: u16) {
        let mut caller = Caller::new(&self.socket);
        for _ in 0..times {
            assert_eq!(caller.get(path).status, status, "{path}");
        }
    }

    /// Lines of its log that were lost, by its own word.
    fn lost(&self) -> u64 {
        let mut caller = UnixStream::connect(&self.socket).unwrap();
        caller.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        caller.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("cloakroom_log_lines_dropped_total "));
        line.unwrap().parse::<f64>().unwrap() as u64
    }

    fn is_told_to_end(&self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
    }

    /// The exit code, however long an idle machine takes; but not as long as a reader that never reads.
    fn ends(&mut self) -> Option<i32> {
        for _ in 0..3_000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the process waits for whoever reads its standard error");
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Refusals at level debug have a line each. More of them than wait, so that some are lost.
const REFUSALS: usize = 6_000;

/// A reader of the log that stalls keeps no lookup waiting and not the end either.
#[test]
fn a_log_that_cannot_be_written_keeps_nobody_waiting() {
    let deployment = Deployment::new("[log]\nlevel = \"debug\"\n[audit]\nevents = \"none\"");
    let stderr = Unread::new();
    let mut daemon = stderr.start(&deployment);
    daemon.listens();
    daemon.asked(&token_path(users::GOOGLE), 1, 200);
    stderr.fill();
    daemon.asked("/v1/absent", REFUSALS, 404);
    daemon.asked(&token_path(users::GOOGLE), 100, 200);
    daemon.asked(&token_path(users::GITHUB), 1, 200);
    let lost = daemon.lost();
    assert!(0 < lost && lost < REFUSALS as u64, "{lost}");
    daemon.is_told_to_end();
    assert_eq!(daemon.ends(), Some(0));
}

/// What was lost is said as soon as there is room again, and the last lines reach a reader that reads.
#[test]
fn a_slow_reader_of_the_log_is_told_how_many_lines_it_has_missed() {
    let deployment = Deployment::new("[log]\nlevel = \"debug\"\n[audit]\nevents = \"none\"");
    let stderr = Unread::new();
    let mut daemon = stderr.start(&deployment);
    daemon.listens();
    daemon.asked("/v1/absent", REFUSALS, 404);
    let lost = daemon.lost();
    assert!(0 < lost && lost < REFUSALS as u64, "{lost}");
    let Unread { reader, writer } = stderr;
    drop(writer);
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    let told = lines.find_map(|line| {
        let rest = line.contains("Lines of the log were lost").then(|| line.split("\"lost\":").nth(1))??;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    });
    assert_eq!(told, Some(lost));
    assert_eq!(daemon.lost(), lost);
    daemon.is_told_to_end();
    let last = lines.last().unwrap();
    assert!(last.contains("Everything that was begun is finished"), "{last}");
    assert_eq!(daemon.ends(), Some(0));
}

/// Nor does the start wait, and what is wrong with it still decides the exit code.
#[test]
fn a_log_that_never_takes_a_line_keeps_neither_start_nor_end_waiting() {
    let deployment = Deployment::new("");
    let stderr = Unread::new();
    stderr.fill();
    let mut daemon = stderr.start(&deployment);
    daemon.listens();
    daemon.asked(&token_path(users::GOOGLE), 100, 200);
    // One that finds the socket taken, which shows once there is a log.
    let mut second = stderr.start(&deployment);
    assert_eq!(second.ends(), Some(1));
    daemon.is_told_to_end();
    assert_eq!(daemon.ends(), Some(0));
    std::fs::write(deployment.config(), "colour = 1").unwrap();
    assert_eq!(stderr.start(&deployment).ends(), Some(78));
}

/// A disk that is full, and a reader that has gone: lines are counted, and that is all.
#[test]
fn a_log_without_a_place_is_counted_and_nothing_else_happens() {
    let (gone, orphaned) = std::io::pipe().unwrap();
    drop(gone);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    for stderr in [Stdio::from(orphaned), full.into()] {
        let deployment = Deployment::new("");
        let mut daemon = Unheard::start(&deployment, stderr);
        daemon.listens();
        daemon.asked(&token_path(users::GOOGLE), 10, 200);
        while daemon.lost() == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon.is_told_to_end();
        assert_eq!(daemon.ends(), Some(0));
    }
}

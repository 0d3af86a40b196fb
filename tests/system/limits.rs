//! The real binary under limits of its process: descriptors that run out, files that may not grow, signals that would
//! end it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cloakroom::fake_auth0::users;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::caller::{Caller, token_path};
use crate::support::deployment::Deployment;
use crate::support::process::{Daemon, PROGRAM, copy_program, is_root};

/// The soft limit is for programs that use select(2); the hard one is what the operator has set.
#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let deployment = Deployment::new("");
    let daemon = deployment.start_limited("-Sn 100 && ulimit -Hn 4000");
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().collect::<Vec<_>>()[3..5], ["4000", "4000"], "{limits}");
    assert!(!daemon.log().contains("LimitNOFILE"), "{}", daemon.log());
}

/// With a limit that not even the daemon's own descriptors fit in, what fails is named for what it is.
#[test]
fn a_lack_of_descriptors_is_not_taken_for_one_of_names() {
    // Only root may count another process's descriptors, where that keeps itself from being read.
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    let mut daemon = deployment.start_limited("-n 256");
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    drop(daemon);
    // Somewhere between too few for a start and enough for everything is what lets it start and resolve no name.
    let mut is_named = false;
    for limit in (open.saturating_sub(12)..open + 2).rev() {
        let script =
            format!("ulimit -n {limit} && exec {} serve --config {}", PROGRAM, deployment.config().display());
        daemon = Daemon::of_script(&script, &deployment.config(), &deployment.socket());
        daemon.until("it comes to something", |daemon| {
            let log = daemon.log();
            ["token obtained", "No Management token", "error: ", "panicked"]
                .iter()
                .any(|text| log.contains(text))
        });
        let log = daemon.log();
        assert!(!log.contains("cannot be resolved"), "{limit}: {log}");
        is_named |= log.contains("no file descriptor is left");
    }
    assert!(is_named);
}

/// As on a full disk: what cannot be written is counted, and the daemon goes on. The audit log and the log are files
/// that reach the limit; a new file, as logrotate makes one, is written to.
#[test]
fn a_file_that_may_not_grow_ends_no_daemon() {
    let deployment =
        Deployment::new("[audit]\nevents = \"all\"\noutput = \"{dir}/audit.log\"\n[log]\nlevel = \"debug\"");
    // In units of 512 or of 1024 bytes, by the shell.
    let mut daemon = deployment.start_limited("-f 16");
    let mut caller = Caller::new(&daemon.socket);
    let audit = deployment.directory.path().join("audit.log");
    let length = |file: &Path| fs::metadata(file).map_or(0, |about| about.len());
    let mut before = 0;
    loop {
        for _ in 0..50 {
            assert_eq!(caller.get(&token_path(users::GOOGLE)).status, 200);
        }
        // Misses and reloads are lines of the log as well.
        assert_eq!(daemon.run(&["reload"]).0, 0, "{}", daemon.log());
        daemon.run(&["purge", "--all"]);
        let now = length(&audit) + daemon.log().len() as u64;
        if now == before && length(&audit) > 8000 && daemon.log().len() >= 8000 {
            break;
        }
        before = now;
    }
    fs::rename(&audit, audit.with_extension("1")).unwrap();
    daemon.until("the new file is written to", |daemon| {
        daemon.run(&["status"]);
        let text = fs::read_to_string(&audit).unwrap_or_default();
        text.lines().next().is_some_and(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line["lost"].as_u64().is_some_and(|lost| lost > 0)
        })
    });
    assert_eq!(caller.get(&token_path(users::GOOGLE)).status, 200);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

/// Sent by scripts that take the daemon for another program: by rotating logs, mostly.
#[test]
fn signals_that_mean_nothing_here_end_nothing() {
    let deployment = Deployment::new("");
    let mut daemon = deployment.start();
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE, Signal::SIGXFSZ] {
        daemon.signal(signal);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(daemon.run(&["token", users::GOOGLE]).0, 0, "{signal}");
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

/// A signal that the parent blocked or ignored stays so across exec(2), unless the program changes it.
#[test]
fn signals_that_the_parent_blocked_or_ignored_are_received() {
    let deployment = Deployment::new("");
    let signals = "TERM,INT,HUP,USR1,USR2,XFSZ";
    for setting in [format!("--block-signal={signals}"), format!("--ignore-signal={signals}")] {
        let mut command = Command::new("env");
        command.args([&setting, PROGRAM, "serve", "--config"]);
        command.arg(deployment.config()).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        let mut daemon = Daemon::launch(command, &deployment.config(), &deployment.socket());
        daemon.until("it is ready", |daemon| daemon.run(&["healthcheck", "--ready"]).0 == 0);
        daemon.signal(Signal::SIGHUP);
        daemon.until("SIGHUP is received", |daemon| daemon.log().contains("Configuration reloaded"));
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait().code(), Some(0), "{setting}");
    }
}

/// Processes of one user, which the kernel counts together with the daemon's threads. Killed when dropped.
struct Crowd(Vec<Child>);

impl Crowd {
    fn of(uid: u32, size: usize) -> Self {
        let sleeper = || Command::new("sleep").arg("1000").uid(uid).gid(uid).spawn().unwrap();
        Self((0..size).map(|_| sleeper()).collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// A uid that runs nothing but one test's daemon: root is exempt from the limit.
const CROWDED: u32 = 30_012;

/// What needs a thread, names and files, needs no new one: other processes of the daemon's user may have taken all that
/// the user may have. Idle for longer than tokio keeps idle threads by default, which is ten seconds.
#[test]
fn threads_that_cannot_be_made_stop_neither_reloads_nor_new_connections() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    let directory = deployment.directory.path();
    let binary = directory.join("cloakroom");
    copy_program(PROGRAM, &binary);
    let own = |path: &Path| std::os::unix::fs::chown(path, Some(CROWDED), Some(CROWDED)).unwrap();
    own(directory);
    fs::read_dir(directory).unwrap().for_each(|entry| own(&entry.unwrap().path()));
    // dash has another letter for it than bash.
    let script = format!(
        "ulimit -p 20 2>/dev/null || ulimit -u 20; exec {} serve --config {}",
        binary.display(),
        deployment.config().display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command.uid(CROWDED).gid(CROWDED);
    let mut daemon = Daemon::launch(command, &deployment.config(), &deployment.socket());
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck", "--ready"]).0 == 0);
    std::thread::sleep(Duration::from_secs(12));
    let crowd = Crowd::of(CROWDED, 30);
    // With a transport of its own, whose first connection has to resolve the name.
    assert_eq!(daemon.run(&["reload"]), (0, "reloaded; nothing changed\n".into(), String::new()));
    let (exit, _, err) = daemon.run(&["token", users::GOOGLE]);
    assert_eq!((exit, err.as_str()), (0, ""), "{}", daemon.log());
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    // Nor is a thread needed for the end.
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    // A start that lacks them is told why.
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command.uid(CROWDED).gid(CROWDED);
    let mut daemon = Daemon::launch(command, &deployment.config(), &deployment.socket());
    assert_eq!(daemon.wait().code(), Some(1));
    assert!(daemon.log().contains("thread"), "{}", daemon.log());
    drop(crowd);
}

/// A file system that never answers, as one on a network whose server is away: nothing serves this one. Unmounted when
/// dropped.
struct Hanging<'a> {
    holder: Child,
    at: &'a Path,
}

impl<'a> Hanging<'a> {
    fn mount(at: &'a Path) -> Self {
        let script = "exec 3<>/dev/fuse && \
            mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 hanging \"$0\" && echo ! && exec sleep 1000";
        let mut holder =
            Command::new("sh").args(["-c", script]).arg(at).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "a file system of FUSE cannot be mounted at {}", at.display());
        Self { holder, at }
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        // What waits for an answer fails once the holder has gone.
        self.holder.kill().ok();
        self.holder.wait().ok();
        Command::new("umount").arg("-l").arg(self.at).status().ok();
    }
}

/// The client's secret comes to lie on a file system that hangs.
#[test]
fn a_file_system_that_hangs_stops_no_lookup_and_no_later_reload() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("");
    let path = |name: &str| deployment.directory.path().join(name);
    fs::create_dir_all(path("good")).unwrap();
    fs::create_dir_all(path("bad")).unwrap();
    fs::copy(path("secret"), path("good/secret")).unwrap();
    symlink(path("good"), path("s")).unwrap();
    let text = fs::read_to_string(deployment.config()).unwrap();
    let secret = path("secret").display().to_string();
    fs::write(deployment.config(), text.replace(&secret, &path("s/secret").display().to_string())).unwrap();
    let lead_to = |name: &str| {
        symlink(path(name), path("new")).unwrap();
        fs::rename(path("new"), path("s")).unwrap();
    };
    let bad = path("bad");
    let hanging = Hanging::mount(&bad);
    let mut daemon = deployment.start();
    lead_to("bad");
    // Longer than it takes to notice that.
    std::thread::sleep(Duration::from_secs(1));
    let mut caller = Caller::new(&daemon.socket);
    for user in [users::GOOGLE, users::GITHUB] {
        assert_eq!(caller.get(&token_path(user)).status, 200, "{}", daemon.log());
    }
    daemon.signal(Signal::SIGHUP);
    daemon.until("the reload is given up", |daemon| {
        daemon.log().contains("is refused; the old one still applies")
    });
    assert!(daemon.log().contains("file system"), "{}", daemon.log());
    // The attempt before still hangs, so another one is not even begun.
    let (exit, _, err) = daemon.run(&["reload"]);
    assert!(exit != 0 && err.contains("still"), "{err}");
    assert_eq!(caller.get(&token_path(users::JOHN)).status, 200);
    lead_to("good");
    drop(hanging);
    daemon.until("it is read again", |daemon| daemon.run(&["reload"]).0 == 0);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

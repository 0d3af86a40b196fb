//! What another process can learn of the real binary's process, and what the kernel is asked to forbid.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::deployment::Deployment;
use crate::support::process::{Daemon, PROGRAM, cloakroom, copy_program, finish, is_root};

/// Lets `uid` run a copy of the program in `directory` with the files of its configuration.
fn hand_over(directory: &Path, uid: u32) {
    fs::set_permissions(directory, PermissionsExt::from_mode(0o777)).unwrap();
    for file in ["secret", "ca.pem", "cloakroom.toml"] {
        nix::unistd::chown(&directory.join(file), Some(uid.into()), None).unwrap();
    }
    copy_program(PROGRAM, directory.join("cloakroom"));
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
    hand_over(place, USER);
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
        let script =
            format!("ulimit -c unlimited; exec {} serve --config {}", PROGRAM, deployment.config().display());
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

/// There is no input that makes the real binary panic; a machine that gives it no threads does.
#[test]
fn the_real_binarys_panics_do_not_say_what_either() {
    if !is_root() {
        return;
    }
    let deployment = Deployment::new("[runtime]\nthreads = 2");
    let place = deployment.directory.path();
    hand_over(place, 4322);
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

    hand_over(place, USER);
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

//! The real binary: as a daemon, and as the commands that talk to one.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often things that take real time are looked at.
const TICK: Duration = Duration::from_millis(20);

/// Longer than anything takes that works; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The real binary.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_cloakroom");

/// The binary with nothing of this process's environment that could change what it does.
pub fn cloakroom(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// A command's exit code, standard output, standard error.
pub fn finish(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Copies a program to where another user may run it.
pub fn copy_program(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) {
    // By another process: a copy that is still open for writing in a fork of this one cannot be run.
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

/// A running `cloakroom serve`. Killed when dropped.
pub struct Daemon {
    child: Child,
    pub socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts it and waits until its socket answers.
    pub fn start(config: &Path, socket: &Path) -> Self {
        let mut daemon = Self::spawn(config, socket);
        daemon.until("the socket answers", |daemon| UnixStream::connect(&daemon.socket).is_ok());
        daemon
    }

    /// Starts it and does not wait.
    pub fn spawn(config: &Path, socket: &Path) -> Self {
        Self::spawn_in(config, socket, &[])
    }

    /// The same, in an environment of these variables.
    pub fn spawn_in(config: &Path, socket: &Path, environment: &[(&str, &str)]) -> Self {
        Self::spawn_to(config, socket, environment, Stdio::null())
    }

    /// The same, with its standard output.
    pub fn spawn_to(config: &Path, socket: &Path, environment: &[(&str, &str)], stdout: Stdio) -> Self {
        let mut command = cloakroom(&["serve", "--config", config.to_str().unwrap()]);
        command.envs(environment.iter().copied()).stdout(stdout);
        Self::launch(command, config, socket)
    }

    /// The same by this command, which may be somebody else's or in a namespace of its own.
    pub fn launch(mut command: Command, config: &Path, socket: &Path) -> Self {
        let log = config.with_extension("log");
        let child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { child, socket: socket.to_owned(), log }
    }

    /// The same by a shell's script, which ends in becoming the daemon.
    pub fn of_script(script: &str, config: &Path, socket: &Path) -> Self {
        let log = config.with_extension("log");
        let child = Command::new("sh")
            .args(["-c", script])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, socket: socket.to_owned(), log }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        self.until("the daemon ends", |daemon| {
            status = daemon.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..PATIENCE.as_millis() / TICK.as_millis() {
            if holds(self) {
                return;
            }
            std::thread::sleep(TICK);
        }
        panic!("waited in vain until {what}\n{}", self.log());
    }

    /// Runs a client command against it.
    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        finish(cloakroom(args).env("CLOAKROOM_SOCKET", &self.socket).output().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already, which is what most tests want.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether a test that needs root can run. Under CI it must: a part that is skipped there would never be tested.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    #[expect(clippy::disallowed_methods, reason = "only a test's surroundings say whether it may be skipped")]
    let must = std::env::var_os("CI").is_some();
    assert!(root || !must, "this test needs root, and must not be skipped here");
    root
}

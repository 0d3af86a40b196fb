//! The log of the real binary, where it is not read or cannot be written.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use cloakroom::fake_auth0::users;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::caller::{Caller, token_path};
use crate::support::deployment::Deployment;
use crate::support::process::cloakroom;

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

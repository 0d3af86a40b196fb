//! What is measured: a process with a socket, and what it has used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::load::Protocol;

/// The processor that servers have to themselves; the load has the other.
pub const SERVER: usize = 0;
pub const LOAD: usize = 1;

/// A server that runs. Killed when dropped.
pub struct Subject {
    pub name: &'static str,
    pub socket: PathBuf,
    pub protocol: Protocol,
    /// Where its instructions are counted, if they are.
    pub counts: PathBuf,
    child: Child,
}

/// Whether a server runs as it is, or under callgrind, which counts its instructions.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    AsItIs,
    Counted,
}

impl Subject {
    /// Starts `program` on the servers' processor.
    pub fn start(
        name: &'static str,
        socket: PathBuf,
        protocol: Protocol,
        way: Way,
        program: &Path,
        arguments: &[&str],
    ) -> Self {
        let counts = socket.with_extension("counts");
        let mut command = Command::new("taskset");
        command.args(["-c", &SERVER.to_string()]);
        if way == Way::Counted {
            command.args(["valgrind", "--tool=callgrind", "--demangle=no"]);
            command.arg(format!("--callgrind-out-file={}", counts.display()));
        }
        command.arg(program).args(arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let subject = Self { name, socket, protocol, counts, child };
        subject.wait();
        subject
    }

    /// Its process's.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait(&self) {
        for _ in 0..2000 {
            if std::os::unix::net::UnixStream::connect(&self.socket).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} does not listen", self.name);
    }

    /// This process and those that it has started.
    fn processes(&self) -> Vec<u32> {
        let mut found = vec![self.child.id()];
        let mut at = 0;
        while let Some(parent) = found.get(at).copied() {
            at += 1;
            let children =
                fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
            found.extend(children.split_whitespace().map(|child| child.parse::<u32>().unwrap()));
        }
        found
    }

    /// Processor time so far, of all its threads and processes, as the scheduler counts it.
    pub fn cpu(&self) -> Duration {
        let threads = self.processes().into_iter().flat_map(|process| {
            fs::read_dir(format!("/proc/{process}/task"))
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
        });
        threads.map(|thread| cpu_of(&thread)).sum()
    }

    /// Resident bytes of all its processes. What they share is counted for each.
    pub fn resident(&self) -> u64 {
        let of = |process: u32| {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
        };
        self.processes().into_iter().map(of).sum()
    }
}

/// Processor time of this process's first thread so far.
pub fn own_cpu() -> Duration {
    cpu_of(Path::new("/proc/self"))
}

/// Processor time of a thread so far, as the scheduler counts it.
fn cpu_of(thread: &Path) -> Duration {
    let stat = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    Duration::from_nanos(stat.split_whitespace().next().map_or(0, |first| first.parse().unwrap()))
}

impl Drop for Subject {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
        self.child.wait().ok();
    }
}

//! How much memory a process takes, as the kernel counts it.

use nix::unistd::Pid;

/// A figure of `/proc/PID/status`, in bytes.
pub fn memory(process: Pid, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

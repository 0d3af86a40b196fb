//! The process's use of processor time, memory and descriptors, read from `/proc`.

use procfs::process::{LimitValue, Process};

/// Resource usage of this process. A value is `None` if a sandbox hides its file in `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// Seconds of processor time, in user and system mode together.
    pub cpu_seconds: Option<f64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Virtual memory in bytes.
    pub virtual_bytes: Option<u64>,
    /// Number of open file descriptors.
    pub open_fds: Option<u64>,
    /// Soft limit of open file descriptors; `None` also if there is no limit.
    pub max_fds: Option<u64>,
}

impl ProcessStats {
    /// Reads the current values. Takes a few system calls.
    pub fn now() -> Self {
        let Ok(process) = Process::myself() else { return Self::default() };
        let stat = process.stat().ok();
        let limits = process.limits().ok();
        Self {
            cpu_seconds: stat.as_ref().map(|stat| {
                let ticks = stat.utime.saturating_add(stat.stime);
                ticks as f64 / procfs::ticks_per_second().max(1) as f64
            }),
            resident_bytes: stat.as_ref().map(|stat| stat.rss.saturating_mul(procfs::page_size())),
            virtual_bytes: stat.as_ref().map(|stat| stat.vsize),
            open_fds: process.fd_count().ok().and_then(|count| u64::try_from(count).ok()),
            max_fds: limits.and_then(|limits| match limits.max_open_files.soft_limit {
                LimitValue::Value(limit) => Some(limit),
                LimitValue::Unlimited => None,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_a_process_is_read() {
        let before = ProcessStats::now();
        let _open: Vec<_> = (0..10).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let _used = std::hint::black_box(vec![1_u8; 32 << 20]);
        let now = ProcessStats::now();
        assert!(now.open_fds.unwrap() >= 10 && now.max_fds.unwrap() > now.open_fds.unwrap());
        assert!(now.resident_bytes.unwrap() >= before.resident_bytes.unwrap() / 2 + (16 << 20), "{now:?}");
        assert!(now.virtual_bytes >= now.resident_bytes);
        assert!(now.cpu_seconds >= before.cpu_seconds);
    }
}

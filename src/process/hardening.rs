//! Hardening at the start: other processes cannot read this one, no core dump is written, no privilege can be gained,
//! and memory can be locked.
//!
//! Each of the first three steps is tried on its own and may fail: the daemon also runs in containers that forbid these
//! calls.

use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// One hardening step with its outcome.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What the step achieves, as logged.
    what: &'static str,
    outcome: Result<(), Errno>,
}

/// Takes every hardening step. Call it before a secret is in memory, and before other threads start: `no_new_privs`
/// does not apply to threads that run already.
pub fn apply() -> [Step; 3] {
    let step = |what, outcome| Step { what, outcome };
    [
        // Not dumpable: no core, /proc/PID/mem, environ and similar files belong to root, and only root may attach.
        step("Keeping this process from being read by others of its user", prctl::set_dumpable(false)),
        // The kernel respects a limit of 0, and no other, even if cores are piped to a program.
        step("Keeping core dumps from being written", setrlimit(Resource::RLIMIT_CORE, 0, 0)),
        step("Keeping this process from gaining rights", prctl::set_no_new_privs()),
    ]
}

impl Step {
    /// Logs what the step achieved, or why it failed.
    pub fn log(self) {
        match self.outcome {
            Ok(()) => tracing::info!("{}", self.what),
            Err(cause) => tracing::warn!(%cause, "{} failed", self.what),
        }
    }
}

/// Why memory cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The limit is finite: the daemon would start, and end as soon as it needs more memory than the limit.
    #[error(
        "runtime.lock_memory: memory cannot be locked with RLIMIT_MEMLOCK at {0} KiB, which counts all \
         reserved address space and so must be unlimited: set LimitMEMLOCK=infinity in the unit, --ulimit \
         memlock=-1 for a container, or grant CAP_IPC_LOCK"
    )]
    Limited(u64),
    /// The system refuses the call.
    #[error(
        "runtime.lock_memory: memory cannot be locked ({0}): allow mlockall, and set RLIMIT_MEMLOCK to unlimited, as \
         LimitMEMLOCK=infinity in the unit does"
    )]
    Refused(Errno),
}

/// Locks all present and future memory, so that none of it is written to swap.
pub fn lock_memory() -> Result<(), LockError> {
    let (limit, most) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(LockError::Refused)?;
    if limit != most && setrlimit(Resource::RLIMIT_MEMLOCK, most, most).is_err() {
        return Err(LockError::Limited(limit / 1024));
    }
    // mlockall succeeds under a finite limit. A later allocation would fail and end the process.
    if most != RLIM_INFINITY && !may_lock_without_limit() {
        return Err(LockError::Limited(most / 1024));
    }
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).map_err(LockError::Refused)
}

/// Returns whether the process has `CAP_IPC_LOCK`, which exempts it from the limit.
fn may_lock_without_limit() -> bool {
    /// From `linux/capability.h`.
    const CAP_IPC_LOCK: u32 = 14;

    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    effective.is_some_and(|bits| bits >> CAP_IPC_LOCK & 1 == 1)
}

//! What the process gives up when it starts, so that less can be taken from it: to be read by others, to leave its
//! memory in a file, to gain rights.
//!
//! Each is tried on its own and none is needed: the daemon also runs where a container has taken these calls away.

use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// One of the things that were tried.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What it is good for, as the log says it.
    what: &'static str,
    outcome: Result<(), Errno>,
}

/// Takes every step. Meant for before there is a secret in memory, and before there are other threads, which would
/// keep the right to gain rights.
pub fn give_up_what_is_not_needed() -> [Step; 3] {
    let step = |what, outcome| Step { what, outcome };
    [
        // Not dumpable: no core, and /proc/PID/mem, environ and their like are root's; nobody else may attach.
        step("Keeping this process from being read by others of its user", prctl::set_dumpable(false)),
        // Where cores are piped to a program, the kernel heeds the limit of 0 as well, if not any other.
        step("Keeping core dumps from being written", setrlimit(Resource::RLIMIT_CORE, 0, 0)),
        step("Keeping this process from gaining rights", prctl::set_no_new_privs()),
    ]
}

impl Step {
    /// Writes a line to the log: what was achieved, or what was not and why.
    pub fn tell(self) {
        match self.outcome {
            Ok(()) => tracing::info!("{}", self.what),
            Err(cause) => tracing::warn!(%cause, "{} failed", self.what),
        }
    }
}

/// Why memory is not kept from being swapped out.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The limit would let the daemon start, and end it as soon as it needs more memory.
    #[error(
        "runtime.lock_memory: memory cannot be locked with RLIMIT_MEMLOCK at {0} KiB, which counts every address that \
         is reserved and so has to be unlimited: set LimitMEMLOCK=infinity in the unit, --ulimit memlock=-1 for a \
         container, or grant CAP_IPC_LOCK"
    )]
    Limited(u64),
    /// The system said no.
    #[error(
        "runtime.lock_memory: memory cannot be locked ({0}): allow mlockall, and set RLIMIT_MEMLOCK to unlimited, as \
         LimitMEMLOCK=infinity in the unit does"
    )]
    Refused(Errno),
}

/// Keeps everything that is in memory, and everything that ever will be, from being written to swap.
pub fn lock_memory() -> Result<(), LockError> {
    let (limit, most) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(LockError::Refused)?;
    if limit != most && setrlimit(Resource::RLIMIT_MEMLOCK, most, most).is_err() {
        return Err(LockError::Limited(limit / 1024));
    }
    // A limited one would not be noticed here but later, by an allocation that fails and ends the process.
    if most != RLIM_INFINITY && !may_lock_without_limit() {
        return Err(LockError::Limited(most / 1024));
    }
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).map_err(LockError::Refused)
}

/// Whether `CAP_IPC_LOCK` is in force, to whose owners the limit does not apply.
fn may_lock_without_limit() -> bool {
    /// From `linux/capability.h`.
    const CAP_IPC_LOCK: u32 = 14;

    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    effective.is_some_and(|bits| bits >> CAP_IPC_LOCK & 1 == 1)
}

//! The kernel's resource limits of the process (getrlimit(2)).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open file descriptors to the hard one. Returns the new soft limit; `None` if the kernel
/// does not report the limits.
///
/// The soft limit is often 1024 for programs that use select(2), which cannot handle higher descriptors. This program
/// does not use select(2).
pub fn raise_descriptors() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(hard),
        Err(_) => Some(soft),
    }
}

/// The soft limit of open file descriptors; `None` if the kernel does not report it.
pub fn descriptors() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft)
}

//! Limits that the kernel holds the process to (getrlimit(2)).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open file descriptors to the hard one, and gives the limit that holds then; `None` where
/// the kernel does not tell.
///
/// The soft limit, often 1024, is low for the sake of programs that use select(2), which cannot take higher numbers;
/// this one does not use it.
pub fn raise_descriptors() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(hard),
        Err(_) => Some(soft),
    }
}

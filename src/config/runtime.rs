//! `[runtime]`: threads and memory.

use super::problem::Checked;
use super::reader::Reader;
use super::reloadable::Reloadable;

/// `[runtime]`.
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    /// The number of worker threads; 1 is a single-threaded runtime.
    pub threads: usize,
    /// Whether memory is kept from being written to swap.
    pub lock_memory: bool,
}

impl Reloadable for Runtime {
    fn restore_fixed(&mut self, running: &Self) {
        *self = *running;
    }
}

/// Reads `[runtime]`.
pub(super) fn read(reader: &mut Reader) -> Checked<Runtime> {
    let threads = reader.value("runtime.threads");
    let lock_memory = reader.value("runtime.lock_memory");
    Ok(Runtime { threads: threads?, lock_memory: lock_memory? })
}

//! `[shutdown]`: the time limits for the end of the daemon.

use std::time::Duration;

use super::problem::Checked;
use super::reader::Reader;
use super::reloadable::Reloadable;

/// `[shutdown]`.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// How long the daemon goes on accepting connections after SIGTERM.
    pub min_delay: Duration,
    /// The time limit for requests that were begun by then.
    pub deadline: Duration,
}

impl Reloadable for Shutdown {}

/// Reads `[shutdown]`.
pub(super) fn read(reader: &mut Reader) -> Checked<Shutdown> {
    let min_delay = reader.value("shutdown.min_delay");
    let deadline = reader.value("shutdown.deadline");
    Ok(Shutdown { min_delay: min_delay?, deadline: deadline? })
}

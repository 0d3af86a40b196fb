//! `[management]`: the renewal of the Management token.

use std::time::Duration;

use super::problem::Checked;
use super::reader::Reader;
use super::reloadable::Reloadable;

/// `[management]`.
#[derive(Clone, Copy, Debug)]
pub struct Management {
    /// Fraction of the token's lifetime after which it is renewed; between 0.1 and 0.95.
    pub refresh_at: f64,
    /// The token is not used with less than this left, or than a tenth of its lifetime if that is less.
    pub min_ttl: Duration,
}

impl Reloadable for Management {}

/// Reads `[management]`.
pub(super) fn read(reader: &mut Reader) -> Checked<Management> {
    let refresh_at = reader.value("management.refresh_at");
    let min_ttl = reader.value("management.min_ttl");
    Ok(Management { refresh_at: refresh_at?, min_ttl: min_ttl? })
}

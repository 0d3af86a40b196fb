//! `[upstream]`: the budget for requests to Auth0.

use super::problem::Checked;
use super::reader::Reader;
use super::reloadable::Reloadable;

/// `[upstream]`.
#[derive(Clone, Copy, Debug)]
pub struct Upstream {
    /// The rate of requests to Auth0, of all kinds.
    pub requests_per_second: f64,
    /// How many requests may be sent at once after a pause.
    pub burst: u32,
    /// How many requests may be under way at a time.
    pub max_concurrency: u32,
    /// How many further attempts follow a transient failure, within `tenant.request_timeout`.
    pub max_retries: u32,
}

impl Reloadable for Upstream {}

/// Reads `[upstream]`.
pub(super) fn read(reader: &mut Reader) -> Checked<Upstream> {
    let requests_per_second = reader.value("upstream.requests_per_second");
    let burst = reader.value("upstream.burst");
    let max_concurrency = reader.value("upstream.max_concurrency");
    let max_retries = reader.value("upstream.max_retries");
    Ok(Upstream {
        requests_per_second: requests_per_second?,
        burst: burst?,
        max_concurrency: max_concurrency?,
        max_retries: max_retries?,
    })
}

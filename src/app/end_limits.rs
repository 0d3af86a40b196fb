//! The time limits of the daemon's orderly end.

use std::time::Duration;

use crate::config::{Config, Shutdown};

/// A redemption lasts for `providers.request_timeout`, half as long again with the other secret, and is sent once more
/// in the same time if the provider's grace would end before a later retry.
const TIMEOUTS_OF_A_REDEMPTION: u32 = 3;

/// The time limits of an orderly end.
#[derive(Clone, Copy, Debug)]
pub struct EndLimits {
    /// `[shutdown]`.
    pub shutdown: Shutdown,
    /// Timeout for redemptions of refresh tokens after the last answers: the answer to one that is cut short is lost.
    pub last_redemptions: Duration,
}

impl EndLimits {
    /// The limits by `config`.
    pub fn of(config: &Config) -> Self {
        let last_redemptions = config.providers.request_timeout.saturating_mul(TIMEOUTS_OF_A_REDEMPTION);
        Self { shutdown: config.shutdown, last_redemptions }
    }
}

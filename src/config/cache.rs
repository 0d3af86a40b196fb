//! `[cache]` and `[cache.negative]`: how much is cached, and for how long.

use std::time::Duration;

use bytesize::ByteSize;

use super::problem::Checked;
use super::reader::{Reader, Setting};
use super::reloadable::Reloadable;

/// `[cache]`.
#[derive(Clone, Copy, Debug)]
pub struct Cache {
    /// Limit on keys and values together, in bytes.
    pub max_bytes: u64,
    /// The age at which an entry expires.
    pub max_ttl: Duration,
    /// How much longer a valid token is served while Auth0 cannot be asked.
    pub max_stale: Duration,
    /// Tokens with less than this left are not handed out.
    pub min_ttl: Duration,
    /// Fraction of `max_ttl` after which an entry in use is refreshed; 0 turns it off.
    pub refresh_ahead: f64,
    /// `[cache.negative]`.
    pub negative: Negative,
}

/// `[cache.negative]`: how long facts are cached that are not a token.
#[derive(Clone, Copy, Debug)]
pub struct Negative {
    /// The user does not exist.
    pub user_not_found: Duration,
    /// The user exists and has no token to hand out: none, no such identity, several, or blocked.
    pub no_token: Duration,
    /// The token has expired at its provider.
    pub login_required: Duration,
}

impl Reloadable for Cache {}

/// Reads `[cache]`, except for `min_ttl`. `request_timeout` is `tenant.request_timeout`, if that is valid.
pub(super) fn read(
    reader: &mut Reader,
    request_timeout: Option<&Setting<Duration>>,
    min_ttl: &Checked<Setting<Duration>>,
) -> Checked<Cache> {
    let max_bytes = reader.value::<ByteSize>("cache.max_bytes");
    let max_ttl = reader.setting("cache.max_ttl");
    let max_stale = reader.value("cache.max_stale");
    let refresh_ahead = reader.value("cache.refresh_ahead");
    let negative = negative(reader);

    let max_ttl = max_ttl?;
    if let Some(request_timeout) = request_timeout {
        // Ages count from when the request was sent: a slow answer would be expired on arrival.
        reader.require_shorter(request_timeout, &max_ttl)?;
    }
    Ok(Cache {
        max_bytes: max_bytes?.as_u64(),
        max_ttl: max_ttl.value,
        max_stale: max_stale?,
        min_ttl: min_ttl.as_ref().map_err(|reported| *reported)?.value,
        refresh_ahead: refresh_ahead?,
        negative: negative?,
    })
}

/// Reads `[cache.negative]`.
fn negative(reader: &mut Reader) -> Checked<Negative> {
    let user_not_found = reader.value("cache.negative.user_not_found");
    let no_token = reader.value("cache.negative.no_token");
    let login_required = reader.value("cache.negative.login_required");
    Ok(Negative { user_not_found: user_not_found?, no_token: no_token?, login_required: login_required? })
}

//! The state of Token Vault: connected accounts, the application's settings, and a log of exchanges.

mod accounts;
mod settings;
mod subject;

pub(super) use accounts::{Accounts, NoToken};
pub use accounts::{ConnectedAccount, Refreshing};
pub use settings::VaultSettings;
pub(super) use subject::{Expected, judge};

use super::assertions::UsedIds;
use super::client_keys::InvalidJwt;

/// A part of the exchange's grant type that no encoding of a body changes.
const PLAIN_PART: &[u8] = b"federated-connection-access-token";

/// Whether a request with this body to the token endpoint is an exchange.
pub(super) fn is_exchange(body: &[u8]) -> bool {
    body.windows(PLAIN_PART.len()).any(|window| window == PLAIN_PART)
}

/// An exchange that the tenant has judged, in the order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The user, if the subject token was valid.
    pub user_id: Option<String>,
    /// The connection.
    pub connection: String,
    /// The account that was asked for.
    pub login_hint: Option<String>,
    /// The subject token's context, as Auth0's tenant log has it.
    pub audit_context: Option<String>,
    /// The subject token's id, if the token was valid.
    pub jti: Option<String>,
    /// Why the subject token was refused, which Auth0 does not say.
    pub refused: Option<InvalidJwt>,
    /// `None` if a token was issued, otherwise the code of the error.
    pub error: Option<String>,
}

/// The vault's state.
#[derive(Default)]
pub(super) struct Vault {
    pub settings: VaultSettings,
    pub accounts: Accounts,
    pub log: Vec<Exchange>,
    pub used: UsedIds,
}

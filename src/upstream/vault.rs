//! Token Vault: exchanges the id of a user for the access token of an account that the user has connected, as a
//! privileged worker.
//!
//! An exchange is a request to the Authentication API, whose limits are apart from those of the Management API. So it
//! has a budget of its own, with the settings of `[upstream]`, and a 429 for an exchange stops exchanges alone.

mod account;
mod answer;
mod brake;
mod check;
mod exchange;
mod outcome;
mod refreshes;
mod request;
mod state;

use std::sync::Arc;

use crate::cache::ForWhom;
use crate::config;
use crate::domain::priority::Priority;
use crate::domain::source::SourceFault;
use crate::domain::user::UserId;

use super::client::Auth0;

pub use answer::{ExchangeAnswer, parse_exchange};
pub use check::{MOST_CONNECTIONS, VaultAccess};
pub use outcome::Exchanged;

use exchange::Exchange;
use request::Wanted;
use state::VaultInner;

/// A client of Token Vault. Cheap to clone.
#[derive(Clone)]
pub struct Vault(Arc<VaultInner>);

impl Vault {
    /// A client of the vault of the tenant that `auth0` asks.
    pub fn new(auth0: Auth0, settings: config::Vault) -> Self {
        Self(Arc::new(VaultInner::new(auth0, settings)))
    }

    /// Replaces the settings. What was refused before is asked for again at once, because an operator usually reloads
    /// after fixing the cause.
    pub fn reconfigure(&self, settings: config::Vault) {
        self.0.reconfigure(settings);
    }

    /// Why Auth0 refuses exchanges of `connection`, if it does.
    pub fn fault(&self, connection: &str) -> Option<SourceFault> {
        self.0.fault(connection)
    }

    /// The tenant's domain, which exchanges go to.
    pub fn host(&self) -> Arc<str> {
        Arc::clone(&self.0.auth0.0.domain)
    }

    /// Exchanges the id of `user` for the token of an account of `connection`. `login_hint` is the account's id at the
    /// provider, without which the vault chooses among several.
    ///
    /// Waits for a permit in the queues of the flows that `for_whom` names. Ends within `tenant.request_timeout`,
    /// retries included.
    pub async fn exchange(
        &self,
        user: &UserId,
        connection: &str,
        login_hint: Option<&str>,
        priority: Priority,
        for_whom: ForWhom,
    ) -> Exchanged {
        let wanted = Wanted { user, connection, login_hint };
        Exchange::new(&self.0, wanted, priority, for_whom).run().await
    }
}

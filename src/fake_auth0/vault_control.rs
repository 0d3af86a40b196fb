//! Changes of a running tenant's Token Vault, and its log of exchanges.

use super::Tenant;
use super::vault::{ConnectedAccount, Exchange, Refreshing, VaultSettings};

impl Tenant {
    /// Changes the settings of Token Vault.
    pub fn change_vault(&self, change: impl FnOnce(&mut VaultSettings)) {
        change(&mut self.state().vault.settings);
    }

    /// Connects an account, as a user does through the connect flow. Returns the token that is stored for it.
    pub fn connect_account(&self, account: ConnectedAccount) -> String {
        let now = self.0.clock.now();
        self.state().vault.accounts.connect(account, now)
    }

    /// Disconnects the accounts of a user at a connection, or the one of this id.
    pub fn disconnect_account(&self, user_id: &str, connection: &str, account: Option<&str>) {
        self.state().vault.accounts.disconnect(user_id, connection, account);
    }

    /// Sets what refreshes do for every connected account of a connection.
    pub fn set_refreshing(&self, connection: &str, refreshing: Refreshing) {
        self.state().vault.accounts.set_refreshing(connection, refreshing);
    }

    /// Every exchange so far, in the order of arrival, except for those that a fault has answered.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.state().vault.log.clone()
    }
}

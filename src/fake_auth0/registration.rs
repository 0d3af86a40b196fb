//! What an application has registered with a running tenant.

use super::Tenant;
use super::client_keys::{KeyNotRegistered, KeyUse};

/// Public keys of the application. Each change takes effect for the next answer.
impl Tenant {
    /// Registers the public key of a PEM text, under its thumbprint, which is returned.
    pub fn register_key(
        &self,
        purpose: KeyUse,
        public_pem: &str,
        algorithm: &str,
    ) -> Result<String, KeyNotRegistered> {
        self.state().client_keys.register(purpose, public_pem, algorithm)
    }

    /// Removes the key with this id from this use.
    pub fn remove_key(&self, purpose: KeyUse, kid: &str) {
        self.state().client_keys.remove(purpose, kid);
    }
}

//! What applications have registered with a running tenant, and the tenant's further applications.

use crate::secret::Secret;

use super::Tenant;
use super::client_keys::{KeyNotRegistered, KeyUse};
use super::clients::Application;

/// Public keys of the applications. Each change takes effect for the next answer.
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

/// Further applications. Each change takes effect for the next token.
impl Tenant {
    /// Registers an application besides that of the options, with a client grant for the Management API of these
    /// scopes. It authenticates with this secret, or with an assertion. An application with this id is replaced.
    pub fn register_application(&self, id: &str, secret: Secret, scopes: &[&str]) {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        self.state().applications.insert(id.to_owned(), Application { secret, scopes });
    }

    /// Sets the scopes of a further application. Tokens issued earlier keep their scopes. Returns whether there is one
    /// with this id.
    pub fn set_application_scopes(&self, id: &str, scopes: &[&str]) -> bool {
        let mut state = self.state();
        let application = state.applications.get_mut(id);
        let is_known = application.is_some();
        if let Some(application) = application {
            application.scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        }
        is_known
    }

    /// Makes every Management token invalid that was issued to this application.
    pub fn revoke_tokens_of(&self, client_id: &str) {
        self.state().revoke_issued(Some(client_id));
    }
}

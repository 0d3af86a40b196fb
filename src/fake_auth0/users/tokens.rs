//! Which access tokens the simulated tenant stores.

use serde_json::Value;

use crate::fake_auth0::Tenant;

impl Tenant {
    /// Whether an identity of a user holds this access token.
    pub(in crate::fake_auth0) fn stores_access_token(&self, token: &str) -> bool {
        let state = self.state();
        let identities = state.users.values().filter_map(|user| user.get("identities")?.as_array()).flatten();
        let mut tokens =
            identities.filter_map(|identity| identity.get("access_token").and_then(Value::as_str));
        tokens.any(|stored| stored == token)
    }
}

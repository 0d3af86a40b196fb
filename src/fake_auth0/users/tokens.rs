//! Which tokens the simulated tenant stores.

use serde_json::Value;

use crate::fake_auth0::Tenant;

use super::logins::{self, StoredTokens};

impl Tenant {
    pub(in crate::fake_auth0) fn has_identity(&self, user_id: &str, connection: &str) -> bool {
        let mut state = self.state();
        state.users.get_mut(user_id).is_some_and(|user| logins::identity_of(user, connection).is_some())
    }

    /// The users and what is stored in their identities of `connection` that have a refresh token.
    pub(in crate::fake_auth0) fn stored_tokens(&self, connection: &str) -> Vec<(String, StoredTokens)> {
        let state = self.state();
        let of_all = state.users.iter().map(|(id, user)| (id, logins::stored_tokens(user, connection)));
        of_all.flat_map(|(id, tokens)| tokens.into_iter().map(|token| (id.clone(), token))).collect()
    }

    /// Whether an identity of a user holds this access token.
    pub(in crate::fake_auth0) fn stores_access_token(&self, token: &str) -> bool {
        let state = self.state();
        let identities = state.users.values().filter_map(|user| user.get("identities")?.as_array()).flatten();
        let mut tokens =
            identities.filter_map(|identity| identity.get("access_token").and_then(Value::as_str));
        tokens.any(|stored| stored == token)
    }
}

//! Consents of users at a provider, and what a tenant stores of them at a login.

use serde_json::{Value, json};

use crate::fake_auth0::Tenant;

use super::FakeProvider;
use super::family::Issued;

/// What becomes of the refresh token that the tenant stores when a user logs in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefreshToken {
    /// The user consents again, so the provider issues another one, of another family.
    New,
    /// The provider answers with the one that is stored.
    Same,
    /// The provider issues none, and the tenant removes the one that was stored. Google issues one at the first consent
    /// only (developers.google.com/identity, "Offline access").
    Absent,
}

impl FakeProvider {
    /// Records a user's consent: begins a family of refresh tokens. The name is that of the log.
    pub fn consent(&self, user: &str) -> Issued {
        let now = self.0.clock.now();
        let state = &mut *self.state();
        state.families.begin(user, &state.options.rules, now)
    }

    /// Accepts the tokens that `tenant` stores for the identities of `connection`, as if this provider had issued them:
    /// each refresh token is the first of a family of its user, and the access token beside it lives until it expires by
    /// the tenant's dates. Returns how many refresh tokens are new.
    pub fn adopt(&self, tenant: &Tenant, connection: &str) -> usize {
        let now = self.0.clock.now();
        let stored = tenant.stored_tokens(connection);
        let state = &mut *self.state();
        let mut new = 0;
        for (user, tokens) in stored {
            if state.families.position(&tokens.refresh_token).is_none() {
                let left = tokens.expires.map(|expires| expires.since(now.wall));
                let family = state.families.adopt(&user, &tokens.refresh_token, now);
                if let Some(access_token) = tokens.access_token {
                    state.families.adopt_access_token(family, access_token, left, now);
                }
                new += 1;
            }
        }
        new
    }

    /// Logs a user of `tenant` in through `connection`, at this provider. Returns what the provider issued; `None` if
    /// the tenant knows no such identity, or if the user has not consented and the login brings no refresh token.
    pub fn log_in(
        &self,
        tenant: &Tenant,
        user: &str,
        connection: &str,
        refresh_token: LoginRefreshToken,
    ) -> Option<Issued> {
        if !tenant.has_identity(user, connection) {
            return None;
        }
        let issued = match refresh_token {
            LoginRefreshToken::New => self.consent(user),
            LoginRefreshToken::Same | LoginRefreshToken::Absent => self.log_in_again(user)?,
        };
        let stored = match refresh_token {
            LoginRefreshToken::New => json!(issued.refresh_token),
            LoginRefreshToken::Same => return self.store(tenant, user, connection, issued, None),
            LoginRefreshToken::Absent => Value::Null,
        };
        self.store(tenant, user, connection, issued, Some(stored))
    }

    fn log_in_again(&self, user: &str) -> Option<Issued> {
        let now = self.0.clock.now();
        let state = &mut *self.state();
        let family = *state.families.of_user(user).last()?;
        state.families.log_in(family, &state.options.rules, now)
    }

    /// Writes what was issued into the tenant's identity. `None` leaves the refresh token there as it is.
    fn store(
        &self,
        tenant: &Tenant,
        user: &str,
        connection: &str,
        issued: Issued,
        refresh_token: Option<Value>,
    ) -> Option<Issued> {
        let mut members = json!({ "access_token": issued.access_token, "expires_in": issued.expires_in });
        if let (Some(refresh_token), Some(members)) = (refresh_token, members.as_object_mut()) {
            members.insert("refresh_token".into(), refresh_token);
        }
        tenant.log_in_with(user, connection, members).then_some(issued)
    }

    /// Revokes everything that the provider has issued for a user, as the user does in the account's settings.
    pub fn revoke(&self, user: &str) {
        let now = self.0.clock.now();
        self.state().families.end_of_user(user, now);
    }
}

//! Logins of the simulated tenant's users, which replace the tokens in their identities.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::freshness::Timestamp;

use super::{iso, jwt};

/// Logs a user in; see [`crate::fake_auth0::Tenant::login`].
pub(in crate::fake_auth0) fn login(
    user: &mut Map<String, Value>,
    connection: &str,
    now: Timestamp,
    number: u64,
) -> Option<String> {
    let identity = identity_of(user, connection)?;
    let token = renew(identity, now, number);
    count_login(user, now);
    token
}

/// Logs a user in with these tokens; see [`crate::fake_auth0::Tenant::log_in_with`].
pub(in crate::fake_auth0) fn log_in_with(
    user: &mut Map<String, Value>,
    connection: &str,
    tokens: Value,
    now: Timestamp,
) -> bool {
    let (Some(identity), Value::Object(tokens)) = (identity_of(user, connection), tokens) else {
        return false;
    };
    identity.extend(tokens);
    identity.retain(|_, value| !value.is_null());
    count_login(user, now);
    true
}

/// What the tenant stores of a provider's tokens in one identity.
pub(in crate::fake_auth0) struct StoredTokens {
    pub refresh_token: String,
    pub access_token: Option<String>,
    /// When the access token expires, if that is known.
    pub expires: Option<Timestamp>,
}

/// The tokens in a user's identities of `connection` that have a refresh token.
pub(in crate::fake_auth0) fn stored_tokens(user: &Map<String, Value>, connection: &str) -> Vec<StoredTokens> {
    let login = user.get("last_login").and_then(Value::as_str).and_then(Timestamp::parse);
    let identities = user.get("identities").and_then(Value::as_array).into_iter().flatten();
    let of_connection = identities.filter(|identity| identity["connection"] == connection);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let stored = |identity: &Value| {
        let lifetime = identity["expires_in"].as_u64().map(Duration::from_secs);
        Some(StoredTokens {
            refresh_token: text(&identity["refresh_token"])?,
            access_token: text(&identity["access_token"]),
            expires: login.zip(lifetime).map(|(login, lifetime)| login.after(lifetime)),
        })
    };
    of_connection.filter_map(stored).collect()
}

/// The user's first identity of `connection`.
pub(in crate::fake_auth0) fn identity_of<'a>(
    user: &'a mut Map<String, Value>,
    connection: &str,
) -> Option<&'a mut Map<String, Value>> {
    let identities = user.get_mut("identities")?.as_array_mut()?.iter_mut().filter_map(Value::as_object_mut);
    let mut of_connection =
        identities.filter(|identity| identity.get("connection").is_some_and(|it| it == connection));
    of_connection.next()
}

fn count_login(user: &mut Map<String, Value>, now: Timestamp) {
    let logins = user.get("logins_count").and_then(Value::as_u64).unwrap_or(0) + 1;
    user.insert("logins_count".into(), logins.into());
    logged_in(user, now);
}

/// Records a login of `user` at `now`.
pub(in crate::fake_auth0) fn logged_in(user: &mut Map<String, Value>, now: Timestamp) {
    user.insert("last_login".into(), iso(now).into());
    user.insert("updated_at".into(), iso(now).into());
}

/// Issues a new token for `identity`, if its provider issues tokens.
fn renew(identity: &mut Map<String, Value>, now: Timestamp, number: u64) -> Option<String> {
    let provider = identity.get("provider")?.as_str()?;
    let token = match provider {
        "auth0" => return None,
        "google-oauth2" => format!("ya29.demo-login-{number}"),
        "github" => format!("gho_demo-login-{number}"),
        "waad" => jwt(now, &format!("login-{number}")),
        _ => format!("demo-login-{number}"),
    };
    identity.insert("access_token".into(), token.clone().into());
    Some(token)
}

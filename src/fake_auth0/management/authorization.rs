//! Who calls the Management API, and what its token allows.

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};
use serde_json::Value;

use crate::domain::freshness::Moment;
use crate::fake_auth0::keys::NotOurs;
use crate::fake_auth0::reply::{self, Refusal, jwt_error, management_error};
use crate::fake_auth0::state::State;

/// The scope that shows the tokens in identities.
const SHOWS_TOKENS: &str = "read:user_idp_tokens";

const READ_SCOPES: [&str; 3] = ["read:users", SHOWS_TOKENS, "read:current_user"];

/// A caller with a valid token.
pub(super) struct Caller {
    scopes: Vec<String>,
    subject: String,
}

impl Caller {
    /// Authenticates the caller. `host` is the requested domain, which must be the token's issuer.
    pub fn of(state: &State, host: &str, headers: &HeaderMap, now: Moment) -> Result<Self, Refusal> {
        let claims = authenticate(state, host, headers, now)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        Ok(Self {
            scopes: text("scope").split(' ').map(str::to_owned).collect(),
            subject: text("sub").to_owned(),
        })
    }

    pub fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| held == scope)
    }

    /// Whether answers to this caller show the tokens in identities.
    pub fn sees_tokens(&self) -> bool {
        self.has(SHOWS_TOKENS)
    }

    /// Checks that the token has one of these scopes.
    pub fn requires(&self, any_of: &[&str]) -> Result<(), Refusal> {
        match any_of.iter().any(|scope| self.has(scope)) {
            true => Ok(()),
            false => Err(insufficient(&format!("Insufficient scope, expected any of: {}", any_of.join(",")))),
        }
    }

    /// Checks that the token allows reading this user.
    pub fn may_read(&self, id: &str) -> Result<(), Refusal> {
        self.requires(&READ_SCOPES)?;
        let only_itself = !self.has("read:users") && !self.sees_tokens();
        match only_itself && self.subject != id {
            true => Err(insufficient("User to be acted on does not match subject in bearer token.")),
            false => Ok(()),
        }
    }
}

fn insufficient(message: &str) -> Refusal {
    management_error(StatusCode::FORBIDDEN, message, Some("insufficient_scope")).into()
}

/// Returns the claims of a bearer token that this tenant issued for this API, and that is valid.
fn authenticate(state: &State, host: &str, headers: &HeaderMap, now: Moment) -> Result<Value, Refusal> {
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        let mut response = management_error(StatusCode::UNAUTHORIZED, "Missing authentication", None);
        reply::set(&mut response, "www-authenticate", "Bearer");
        return Err(response.into());
    };
    let bearer = authorization.to_str().ok().and_then(|value| value.split_once(' '));
    let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
    let Some(token) = token.filter(|token| token.split('.').count() == 3) else {
        let message = "Bad HTTP authentication header format";
        return Err(management_error(StatusCode::BAD_REQUEST, message, Some("Bearer")).into());
    };
    let claims = state.keys.verify(token).map_err(|why| match why {
        NotOurs::Invalid => jwt_error("Invalid token"),
        NotOurs::Signature => jwt_error("Invalid signature received for JSON Web Token validation"),
    })?;
    if state.is_revoked(token) {
        return Err(jwt_error("Invalid token").into());
    }
    if claims.get("exp").and_then(Value::as_i64).is_none_or(|exp| exp <= now.wall.as_secs()) {
        return Err(jwt_error("Expired token received for JSON Web Token validation").into());
    }
    if !is_for(&claims, &state.audience()) {
        let audience = match claims.get("aud") {
            Some(Value::String(audience)) => audience.clone(),
            other => other.map(Value::to_string).unwrap_or_default(),
        };
        return Err(jwt_error(&format!("Bad audience: {audience}")).into());
    }
    // A token from a custom domain is valid on that domain only.
    if claims.get("iss").and_then(Value::as_str) != Some(&format!("https://{host}/")) {
        return Err(jwt_error("Invalid token").into());
    }
    Ok(claims)
}

fn is_for(claims: &Value, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one == audience),
        _ => false,
    }
}

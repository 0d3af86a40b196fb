//! Links users, and unlinks them.

use bytes::Bytes;
use hyper::{Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::fake_auth0::reply::{Refusal, management_error};
use crate::fake_auth0::state::State;

use super::answers::{bad_body, no_user, shown};
use super::authorization::Caller;
use super::requests::{object, user_id};

/// Makes another user's identities the last ones of this user. The other user is gone then.
pub(super) fn link(
    state: &mut State,
    caller: &Caller,
    request: &Request<Bytes>,
) -> Result<Response<Bytes>, Refusal> {
    let id = user_id(request.uri().path())?;
    caller.requires(&["update:users"])?;
    let other = secondary(state, &object(request)?)?;
    if other == id {
        return Err(bad_request("Main account and secondary account cannot be the same."));
    }
    if !state.users.contains_key(&id) {
        return Err(no_user());
    }
    let other = state.users.remove(&other).ok_or_else(no_user)?;
    let profile: Map<_, _> = ["email", "email_verified", "name", "given_name", "family_name", "picture"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), other.get(name)?.clone())))
        .collect();
    let moved = other.get("identities").and_then(Value::as_array).cloned().unwrap_or_default();
    let user = state.users.get_mut(&id).ok_or_else(no_user)?;
    let identities = user.entry("identities").or_insert_with(|| json!([]));
    if let Some(identities) = identities.as_array_mut() {
        identities.extend(moved.into_iter().map(|mut identity| {
            if let Some(identity) = identity.as_object_mut() {
                identity.entry("profileData").or_insert_with(|| Value::Object(profile.clone()));
            }
            identity
        }));
    }
    let identities = identities.clone();
    Ok(shown(StatusCode::CREATED, caller, identities))
}

/// Makes an identity, but for the first one, a user of its own again, whose token is empty.
pub(super) fn unlink(
    state: &mut State,
    caller: &Caller,
    path: &str,
    (provider, other): (&str, &str),
) -> Result<Response<Bytes>, Refusal> {
    let id = user_id(path)?;
    caller.requires(&["update:users"])?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (provider, other) = (decoded(provider), decoded(other));
    let user = state.users.get_mut(&id).ok_or_else(no_user)?;
    let identities = user.get_mut("identities").and_then(Value::as_array_mut).ok_or_else(no_user)?;
    let is_it = |identity: &Value| {
        let own = identity.get("user_id").map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        identity.get("provider").is_some_and(|own| *own == *provider) && own.as_deref() == Some(&other)
    };
    let at = identities.iter().position(is_it).ok_or_else(no_user)?;
    if at == 0 {
        return Err(bad_request("Main identity can not be unlinked"));
    }
    let mut identity = identities.remove(at);
    let left = Value::Array(identities.clone());
    let mut profile = Map::new();
    if let Some(identity) = identity.as_object_mut() {
        if let Some(Value::Object(data)) = identity.remove("profileData") {
            profile = data;
        }
        if identity.contains_key("access_token") {
            identity.insert("access_token".into(), "".into());
        }
        identity.remove("refresh_token");
    }
    let user_id = format!("{provider}|{other}");
    profile.insert("user_id".into(), user_id.clone().into());
    profile.insert("identities".into(), json!([identity]));
    state.users.insert(user_id, profile);
    Ok(shown(StatusCode::OK, caller, left))
}

/// The id of the user to link, which a body names in parts or by a token of that user.
fn secondary(state: &State, body: &Map<String, Value>) -> Result<String, Refusal> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    if let Some(token) = text("link_with") {
        let claims = state.keys.verify(token).map_err(|_| bad_request("Invalid token in link_with"))?;
        return Ok(claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned());
    }
    let provider = text("provider").ok_or_else(|| bad_body("'Missing required property: provider'"))?;
    let id = match body.get("user_id") {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => return Err(bad_body("'Missing required property: user_id'")),
    };
    let whole = format!("{provider}|");
    Ok(if id.starts_with(&whole) { id } else { whole + &id })
}

fn bad_request(message: &str) -> Refusal {
    management_error(StatusCode::BAD_REQUEST, message, None).into()
}

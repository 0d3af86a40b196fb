//! Creates, changes and deletes users.

use bytes::Bytes;
use hyper::{Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::domain::freshness::Moment;
use crate::fake_auth0::reply::{Refusal, management_error};
use crate::fake_auth0::state::State;
use crate::fake_auth0::users::iso;

use super::answers::{bad_body, no_user, shown};
use super::authorization::Caller;
use super::requests::{object, user_id};

/// The members that a change may have.
const CHANGEABLE: [&str; 17] = [
    "blocked",
    "email_verified",
    "email",
    "phone_number",
    "phone_verified",
    "user_metadata",
    "app_metadata",
    "given_name",
    "family_name",
    "name",
    "nickname",
    "picture",
    "verify_email",
    "verify_phone_number",
    "password",
    "connection",
    "client_id",
];

/// Members that are not part of the user afterwards.
const INSTRUCTIONS: [&str; 5] =
    ["verify_email", "verify_phone_number", "password", "connection", "client_id"];

/// Creates a user of a database connection.
pub(super) fn create(
    state: &mut State,
    caller: &Caller,
    request: &Request<Bytes>,
    now: Moment,
) -> Result<Response<Bytes>, Refusal> {
    caller.requires(&["create:users"])?;
    let mut body = object(request)?;
    let Some(connection) = body.get("connection").and_then(Value::as_str).map(str::to_owned) else {
        return Err(bad_body("'Missing required property: connection'"));
    };
    let id = match body.remove("user_id") {
        Some(Value::String(id)) => id,
        _ => format!("demo{:020}", state.calls.begun()),
    };
    check(&body)?;
    let user_id = format!("auth0|{id}");
    let taken =
        |user: &Map<String, Value>| body.contains_key("email") && user.get("email") == body.get("email");
    if state.users.contains_key(&user_id) || state.users.values().any(taken) {
        let (message, code) = ("The user already exists.", Some("auth0_idp_error"));
        return Err(management_error(StatusCode::CONFLICT, message, code).into());
    }
    let mut user = Map::new();
    merge(&mut user, body);
    let identity = json!({ "connection": connection, "user_id": id, "provider": "auth0", "isSocial": false });
    for (name, value) in [
        ("user_id", json!(user_id)),
        ("identities", json!([identity])),
        ("created_at", json!(iso(now.wall))),
        ("updated_at", json!(iso(now.wall))),
    ] {
        user.insert(name.into(), value);
    }
    state.users.insert(user_id, user.clone());
    Ok(shown(StatusCode::CREATED, caller, Value::Object(user)))
}

/// Changes a user. Of metadata, the first level is merged, and what is null is removed.
pub(super) fn update(
    state: &mut State,
    caller: &Caller,
    request: &Request<Bytes>,
    now: Moment,
) -> Result<Response<Bytes>, Refusal> {
    let id = user_id(request.uri().path())?;
    caller.requires(&["update:users", "update:users_app_metadata"])?;
    let body = object(request)?;
    check(&body)?;
    let user = state.users.get_mut(&id).ok_or_else(no_user)?;
    merge(user, body);
    user.insert("updated_at".into(), iso(now.wall).into());
    Ok(shown(StatusCode::OK, caller, Value::Object(user.clone())))
}

/// Deletes a user. The answer does not show whether there was one.
pub(super) fn delete(state: &mut State, caller: &Caller, path: &str) -> Result<Response<Bytes>, Refusal> {
    let id = user_id(path)?;
    caller.requires(&["delete:users", "delete:current_user"])?;
    state.users.remove(&id);
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn check(body: &Map<String, Value>) -> Result<(), Refusal> {
    match body.keys().find(|name| !CHANGEABLE.contains(&name.as_str())) {
        Some(bad) => Err(bad_body(&format!("'Additional properties not allowed: {bad}'"))),
        None => Ok(()),
    }
}

fn merge(user: &mut Map<String, Value>, body: Map<String, Value>) {
    let body = body.into_iter().filter(|(name, _)| !INSTRUCTIONS.contains(&name.as_str()));
    for (name, value) in body {
        match (user.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) if name.ends_with("_metadata") => {
                old.extend(new);
                old.retain(|_, value| !value.is_null());
            }
            (_, Value::Null) => drop(user.remove(&name)),
            (_, value) => drop(user.insert(name, value)),
        }
    }
}

//! Answers of the Management API: users without what the caller may not see, and refusals.

use bytes::Bytes;
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::fake_auth0::reply::{self, Refusal, management_error};
use crate::fake_auth0::users::LONE_SURROGATE;

use super::authorization::Caller;

/// Fields of an identity that only the scope `read:user_idp_tokens` shows.
const TOKEN_FIELDS: [&str; 4] = ["access_token", "access_token_secret", "refresh_token", "expires_in"];

/// Makes an answer of users, or of identities, without what the caller may not see.
pub(super) fn shown(status: StatusCode, caller: &Caller, mut body: Value) -> Response<Bytes> {
    if !caller.sees_tokens() {
        hide_tokens(&mut body);
    }
    let mut response = reply::json(status, &body);
    if let Ok(text) = std::str::from_utf8(response.body())
        && text.contains(LONE_SURROGATE)
    {
        *response.body_mut() = text.replace(LONE_SURROGATE, "\\ud800").into();
    }
    response
}

/// Removes the tokens of identities: of a user's, of each user's in a list, or in a list of identities.
pub(super) fn hide_tokens(body: &mut Value) {
    match body {
        Value::Array(elements) => elements.iter_mut().for_each(hide_tokens),
        Value::Object(object) if object.contains_key("provider") => {
            TOKEN_FIELDS.iter().for_each(|field| drop(object.remove(*field)));
        }
        Value::Object(object) => {
            for name in ["identities", "users"] {
                object.get_mut(name).into_iter().for_each(hide_tokens);
            }
        }
        _ => {}
    }
}

pub(super) fn no_user() -> Refusal {
    management_error(StatusCode::NOT_FOUND, "The user does not exist.", Some("inexistent_user")).into()
}

pub(super) fn bad_body(problem: &str) -> Refusal {
    let message = format!("Payload validation error: {problem}.");
    management_error(StatusCode::BAD_REQUEST, &message, Some("invalid_body")).into()
}

pub(super) fn bad_query(problem: &str) -> Refusal {
    let message = format!("Query validation error: {problem}.");
    management_error(StatusCode::BAD_REQUEST, &message, Some("invalid_query_string")).into()
}

//! What a request to the Management API says: the user in its path, and its body.

use bytes::Bytes;
use hyper::{Request, StatusCode};
use serde_json::{Map, Value};

use crate::fake_auth0::paths::user_in_path;
use crate::fake_auth0::reply::{Refusal, management_error};

/// The members of a body that is a JSON object.
pub(super) fn object(request: &Request<Bytes>) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_slice(request.body()).map_err(|_| {
        let message = "Invalid request payload JSON format";
        management_error(StatusCode::BAD_REQUEST, message, None).into()
    })
}

/// Returns the user id in the path, decoded exactly once, if it is valid.
pub(super) fn user_id(path: &str) -> Result<String, Refusal> {
    let id = user_in_path(path).unwrap_or_default();
    // Every id begins with its provider and a bar.
    match id.split_once('|') {
        Some((provider, rest)) if !provider.is_empty() && !rest.is_empty() && id.chars().count() <= 300 => {
            Ok(id)
        }
        _ => {
            let message = format!(
                "Path validation error: 'Object didn't pass validation for format user-id: {id}' on property id \
                 (The user_id of the user to retrieve)."
            );
            Err(management_error(StatusCode::BAD_REQUEST, &message, Some("invalid_uri")).into())
        }
    }
}

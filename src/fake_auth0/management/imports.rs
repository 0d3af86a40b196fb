//! `POST /api/v2/jobs/users-imports`, whose body is a form with a file.

use bytes::Bytes;
use hyper::{Request, Response, StatusCode, header};
use serde_json::json;

use crate::domain::freshness::Moment;
use crate::fake_auth0::reply::{self, Refusal, management_error};
use crate::fake_auth0::state::State;
use crate::fake_auth0::users::iso;

use super::answers::bad_body;
use super::authorization::Caller;

/// The largest file, in bytes (auth0.com/docs, "Bulk User Imports"); the rest of the form is not counted.
const LARGEST: usize = 500 * 1024;

/// Accepts an import, which is never carried out.
pub(super) fn begin(
    state: &State,
    caller: &Caller,
    request: &Request<Bytes>,
    now: Moment,
) -> Result<Response<Bytes>, Refusal> {
    caller.requires(&["create:users"])?;
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = content_type.filter(|value| value.starts_with("multipart/form-data"));
    let boundary = boundary.and_then(|value| value.split_once("boundary=")).map(|(_, boundary)| boundary);
    let Some(boundary) = boundary.map(|boundary| boundary.trim_matches('"')) else {
        let message = "Unsupported Media Type";
        return Err(management_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, None).into());
    };
    let body = String::from_utf8_lossy(request.body());
    if !body.trim_end().ends_with(&format!("--{boundary}--")) {
        return Err(bad_body("'The form has no end'"));
    }
    let delimiter = format!("--{boundary}");
    let part = |name: &str| {
        let named = format!("name=\"{name}\"");
        let mut parts = body.split(delimiter.as_str()).filter_map(|part| part.split_once("\r\n\r\n"));
        parts.find(|(head, _)| head.contains(&named)).map(|(_, content)| content.trim_end_matches("\r\n"))
    };
    let connection =
        part("connection_id").ok_or_else(|| bad_body("'Missing required property: connection_id'"))?;
    let users = part("users").ok_or_else(|| bad_body("'Missing required property: users'"))?;
    if users.len() > LARGEST {
        let message = "Payload content length greater than maximum allowed";
        return Err(management_error(StatusCode::PAYLOAD_TOO_LARGE, message, None).into());
    }
    let job = json!({
        "type": "users_import",
        "status": "pending",
        "id": format!("job_{:016x}", state.calls.begun()),
        "connection_id": connection,
        "upsert": false,
        "send_completion_email": true,
        "created_at": iso(now.wall),
    });
    Ok(reply::json(StatusCode::ACCEPTED, &job))
}

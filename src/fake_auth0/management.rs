//! The Management API: its limit, its routes, and which fields are hidden without an error.

mod authorization;
mod identities;
mod imports;
mod lists;
mod selection;
#[cfg(test)]
mod tests;
mod writes;

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::domain::freshness::Moment;

use super::application;
use super::limit::LimitHeaders;
use super::reply::{self, Refusal, management_error};
use super::state::State;
use super::users::LONE_SURROGATE;

use authorization::Caller;
use selection::Selection;

/// Fields of an identity that only the scope `read:user_idp_tokens` shows.
const TOKEN_FIELDS: [&str; 4] = ["access_token", "access_token_secret", "refresh_token", "expires_in"];

/// Answers a call. `host` is the requested domain, which must be the token's issuer.
pub(super) fn answer(
    state: &mut State,
    host: &str,
    request: &Request<Bytes>,
    now: Moment,
) -> Response<Bytes> {
    let taken = match &mut state.limit {
        Some(bucket) => bucket.take(now),
        None => Ok(LimitHeaders::unlimited(now)),
    };
    let mut response = match taken {
        Ok(_) => route(state, host, request, now).unwrap_or_else(|refusal| *refusal),
        Err(_) => management_error(
            StatusCode::TOO_MANY_REQUESTS,
            "Global limit has been reached",
            Some("too_many_requests"),
        ),
    };
    let (Ok(headers) | Err(headers)) = taken;
    reply::set(&mut response, "x-ratelimit-limit", &headers.limit.to_string());
    reply::set(&mut response, "x-ratelimit-remaining", &headers.remaining.to_string());
    reply::set(&mut response, "x-ratelimit-reset", &headers.reset.to_string());
    reply::set(&mut response, "cache-control", "no-cache");
    let number = state.calls.begun();
    reply::set(&mut response, "ot-baggage-auth0-request-id", &format!("{number:016x}"));
    response
}

/// Returns the user id in a path, decoded once; `None` for other paths and for ids that are not UTF-8.
pub(super) fn user_in_path(path: &str) -> Option<String> {
    let segment = path.strip_prefix("/api/v2/users/")?.split('/').next().filter(|id| !id.is_empty())?;
    Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned())
}

fn route(
    state: &mut State,
    host: &str,
    request: &Request<Bytes>,
    now: Moment,
) -> Result<Response<Bytes>, Refusal> {
    let path = request.uri().path();
    let segments: Vec<_> = path.strip_prefix("/api/v2/").unwrap_or_default().split('/').collect();
    let caller = || Caller::of(state, host, request.headers(), now);
    let query = request.uri().query().unwrap_or_default();
    match (request.method(), segments.as_slice()) {
        (&Method::GET, ["users", id]) if !id.is_empty() => read(state, &caller()?, path, query),
        (&Method::GET, ["users"]) => lists::all(state, &caller()?, query),
        (&Method::GET, ["users-by-email"]) => lists::by_email(state, &caller()?, query),
        (&Method::GET, ["clients"]) => {
            let caller = caller()?;
            caller.requires(&["read:clients", "read:client_keys"])?;
            let clients = application::clients(state, caller.has("read:client_keys"));
            Ok(reply::json(StatusCode::OK, &clients))
        }
        (&Method::POST, ["users"]) => {
            let caller = caller()?;
            writes::create(state, &caller, request, now)
        }
        (&Method::PATCH, ["users", id]) if !id.is_empty() => {
            let caller = caller()?;
            writes::update(state, &caller, request, now)
        }
        (&Method::DELETE, ["users", id]) if !id.is_empty() => {
            let caller = caller()?;
            writes::delete(state, &caller, path)
        }
        (&Method::POST, ["users", _, "identities"]) => {
            let caller = caller()?;
            identities::link(state, &caller, request)
        }
        (&Method::DELETE, ["users", _, "identities", provider, id]) => {
            let caller = caller()?;
            identities::unlink(state, &caller, path, (provider, id))
        }
        (&Method::POST, ["jobs", "users-imports"]) => imports::begin(state, &caller()?, request, now),
        _ => Err(reply::route_not_found().into()),
    }
}

fn read(state: &State, caller: &Caller, path: &str, query: &str) -> Result<Response<Bytes>, Refusal> {
    let id = user_id(path)?;
    let selection = Selection::parse(query, &[])?;
    caller.may_read(&id)?;
    let user = state.users.get(&id).ok_or_else(no_user)?;
    Ok(shown(StatusCode::OK, caller, Value::Object(selection.apply(user))))
}

/// Makes an answer of users, or of identities, without what the caller may not see.
fn shown(status: StatusCode, caller: &Caller, mut body: Value) -> Response<Bytes> {
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
fn hide_tokens(body: &mut Value) {
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

fn no_user() -> Refusal {
    management_error(StatusCode::NOT_FOUND, "The user does not exist.", Some("inexistent_user")).into()
}

/// The members of a body that is a JSON object.
fn object(request: &Request<Bytes>) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_slice(request.body()).map_err(|_| {
        let message = "Invalid request payload JSON format";
        management_error(StatusCode::BAD_REQUEST, message, None).into()
    })
}

fn bad_body(problem: &str) -> Refusal {
    let message = format!("Payload validation error: {problem}.");
    management_error(StatusCode::BAD_REQUEST, &message, Some("invalid_body")).into()
}

/// Returns the user id in the path, decoded exactly once, if it is valid.
fn user_id(path: &str) -> Result<String, Refusal> {
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

fn bad_query(problem: &str) -> Refusal {
    let message = format!("Query validation error: {problem}.");
    management_error(StatusCode::BAD_REQUEST, &message, Some("invalid_query_string")).into()
}

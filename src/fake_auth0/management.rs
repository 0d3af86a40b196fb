//! The Management API: its limit, its routes, and which fields are hidden without an error.

mod answers;
mod authorization;
mod identities;
mod imports;
mod lists;
mod requests;
mod selection;
#[cfg(test)]
mod tests;
mod writes;

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;

use crate::domain::freshness::Moment;

use super::application;
use super::limit::LimitHeaders;
use super::reply::{self, Refusal, management_error};
use super::state::State;

use answers::{no_user, shown};
use authorization::Caller;
use requests::user_id;
use selection::Selection;

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

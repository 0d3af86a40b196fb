//! `GET /api/v2/users/{id}`: authorization, the selection of fields, and which fields are hidden without an error.

use bytes::Bytes;
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::domain::freshness::Moment;

use super::keys::NotOurs;
use super::limit::LimitHeaders;
use super::reply::{self, Refusal, jwt_error, management_error};
use super::state::State;
use super::users::LONE_SURROGATE;

/// The fields that may be requested; Auth0 refuses any other.
const FIELDS: [&str; 19] = [
    "phone_number",
    "email",
    "email_verified",
    "picture",
    "username",
    "user_id",
    "name",
    "nickname",
    "created_at",
    "identities",
    "app_metadata",
    "user_metadata",
    "last_ip",
    "last_login",
    "logins_count",
    "updated_at",
    "blocked",
    "family_name",
    "given_name",
];

/// Fields of an identity that only the scope `read:user_idp_tokens` shows.
const TOKEN_FIELDS: [&str; 4] = ["access_token", "access_token_secret", "refresh_token", "expires_in"];

const SCOPES: &str = "Insufficient scope, expected any of: read:users,read:user_idp_tokens,read:current_user";

/// Answers a read. `host` is the requested domain, which must be the token's issuer.
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
        Ok(_) => read(state, host, request, now).unwrap_or_else(|refusal| *refusal),
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
    let segment =
        path.strip_prefix("/api/v2/users/").filter(|rest| !rest.is_empty() && !rest.contains('/'))?;
    Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned())
}

fn read(
    state: &State,
    host: &str,
    request: &Request<Bytes>,
    now: Moment,
) -> Result<Response<Bytes>, Refusal> {
    if request.method() != Method::GET {
        return Err(reply::route_not_found().into());
    }
    let claims = authenticate(state, host, request.headers(), now)?;
    let id = user_id(request.uri().path())?;
    let selection = Selection::parse(request.uri().query().unwrap_or_default())?;
    let sees_tokens = authorize(&claims, &id)?;
    let Some(user) = state.users.get(&id) else {
        let message = "The user does not exist.";
        return Err(management_error(StatusCode::NOT_FOUND, message, Some("inexistent_user")).into());
    };
    let mut user = selection.apply(user);
    if !sees_tokens {
        hide_tokens(&mut user);
    }
    let mut response = reply::json(StatusCode::OK, &Value::Object(user));
    if let Ok(text) = std::str::from_utf8(response.body())
        && text.contains(LONE_SURROGATE)
    {
        *response.body_mut() = text.replace(LONE_SURROGATE, "\\ud800").into();
    }
    Ok(response)
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

/// Checks that the claims allow reading this user. Returns whether the answer shows tokens.
fn authorize(claims: &Value, id: &str) -> Result<bool, Refusal> {
    let scopes: Vec<_> = claims.get("scope").and_then(Value::as_str).unwrap_or_default().split(' ').collect();
    let sees_tokens = scopes.contains(&"read:user_idp_tokens");
    if sees_tokens || scopes.contains(&"read:users") {
        return Ok(sees_tokens);
    }
    let message = match scopes.contains(&"read:current_user") {
        true if claims.get("sub").and_then(Value::as_str) == Some(id) => return Ok(false),
        true => "User to be acted on does not match subject in bearer token.",
        false => SCOPES,
    };
    Err(management_error(StatusCode::FORBIDDEN, message, Some("insufficient_scope")).into())
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

/// The parameters `fields` and `include_fields`.
struct Selection {
    fields: Vec<String>,
    include: bool,
}

impl Selection {
    fn parse(query: &str) -> Result<Self, Refusal> {
        let mut selection = Self { fields: Vec::new(), include: true };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                ("fields", "") => {}
                ("fields", list) => {
                    selection.fields = list.split(',').map(str::to_owned).collect();
                    if let Some(bad) = selection.fields.iter().find(|field| !FIELDS.contains(&field.as_str()))
                    {
                        return Err(bad_query(&format!(
                            "'String does not match the allowed fields: {bad}' on property fields \
                             (Comma-separated list of fields to include or exclude)"
                        )));
                    }
                }
                ("include_fields", "true") => selection.include = true,
                ("include_fields", "false") => selection.include = false,
                ("include_fields", other) => {
                    return Err(bad_query(&format!(
                        "'Expected type boolean but found type string: {other}' on property include_fields"
                    )));
                }
                (other, _) => {
                    return Err(bad_query(&format!("'Additional properties not allowed: {other}'")));
                }
            }
        }
        Ok(selection)
    }

    fn apply(&self, user: &Map<String, Value>) -> Map<String, Value> {
        let listed = |name: &str| self.fields.iter().any(|field| field == name);
        let kept = |name: &str| self.fields.is_empty() || listed(name) == self.include;
        user.iter()
            .filter(|(name, _)| kept(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

fn bad_query(problem: &str) -> Refusal {
    let message = format!("Query validation error: {problem}.");
    management_error(StatusCode::BAD_REQUEST, &message, Some("invalid_query_string")).into()
}

fn hide_tokens(user: &mut Map<String, Value>) {
    let identities = user.get_mut("identities").and_then(Value::as_array_mut);
    for identity in identities.into_iter().flatten().filter_map(Value::as_object_mut) {
        TOKEN_FIELDS.iter().for_each(|field| drop(identity.remove(*field)));
    }
}

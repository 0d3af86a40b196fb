//! `GET /api/v2/users` and `GET /api/v2/users-by-email`.

use bytes::Bytes;
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::fake_auth0::reply::Refusal;
use crate::fake_auth0::state::State;

use super::answers::{bad_query, shown};
use super::authorization::Caller;
use super::selection::Selection;

const LIST_SCOPES: [&str; 2] = ["read:users", "read:user_idp_tokens"];

const LIST_PARAMETERS: [&str; 8] =
    ["page", "per_page", "include_totals", "sort", "connection", "q", "search_engine", "primary_order"];

/// The largest page.
const LARGEST: usize = 100;

type User = Map<String, Value>;

/// Answers a list or a search. Of the search syntax it knows terms such as `email:"a@example.com"` and `name:john*`,
/// joined by `AND`.
pub(super) fn all(state: &State, caller: &Caller, query: &str) -> Result<Response<Bytes>, Refusal> {
    caller.requires(&LIST_SCOPES)?;
    let selection = Selection::parse(query, &LIST_PARAMETERS)?;
    let get = |name: &str| parameter(query, name);
    let number = |name: &str, default: usize| match get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| {
            bad_query(&format!("'Expected type integer but found type string' on property {name}"))
        }),
    };
    let (page, per_page) = (number("page", 0)?, number("per_page", 50)?);
    if per_page > LARGEST {
        return Err(bad_query(&format!(
            "'Value {per_page} is greater than maximum {LARGEST}' on property per_page"
        )));
    }
    let (search, connection) = (get("q"), get("connection"));
    let matches = |user: &&User| {
        let is_of =
            |connection: &String| identities(user).any(|identity| identity["connection"] == **connection);
        search.as_deref().is_none_or(|search| is_found(user, search)) && connection.as_ref().is_none_or(is_of)
    };
    let found: Vec<_> = state.users.values().filter(matches).collect();
    let (total, start) = (found.len(), page.saturating_mul(per_page));
    let users: Vec<_> =
        found.into_iter().skip(start).take(per_page).map(|user| selection.apply(user)).collect();
    let body = match get("include_totals").as_deref() {
        Some("true") => json!({
            "start": start, "limit": per_page, "length": users.len(), "total": total, "users": users,
        }),
        _ => json!(users),
    };
    Ok(shown(StatusCode::OK, caller, body))
}

/// Answers a search by an address, whose case does not matter.
pub(super) fn by_email(state: &State, caller: &Caller, query: &str) -> Result<Response<Bytes>, Refusal> {
    caller.requires(&LIST_SCOPES)?;
    let selection = Selection::parse(query, &["email"])?;
    let email = parameter(query, "email").ok_or_else(|| bad_query("'Missing required property: email'"))?;
    let has_it = |user: &&User| {
        let own = user.get("email").and_then(Value::as_str);
        own.is_some_and(|own| own.eq_ignore_ascii_case(&email))
    };
    let users: Vec<_> = state.users.values().filter(has_it).map(|user| selection.apply(user)).collect();
    Ok(shown(StatusCode::OK, caller, json!(users)))
}

fn parameter(query: &str, wanted: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
}

fn identities(user: &User) -> impl Iterator<Item = &Value> {
    user.get("identities").and_then(Value::as_array).into_iter().flatten()
}

fn is_found(user: &User, search: &str) -> bool {
    search.split(" AND ").all(|term| {
        let Some((field, wanted)) = term.trim().split_once(':') else { return false };
        let wanted = wanted.trim().trim_matches('"');
        let values: Vec<_> = match field.strip_prefix("identities.") {
            Some(field) => identities(user).filter_map(|identity| identity.get(field)).collect(),
            None => user.get(field).into_iter().collect(),
        };
        let fits = |value: &&Value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned).to_lowercase();
            let wanted = wanted.to_lowercase();
            wanted.strip_suffix('*').map_or(text == wanted, |beginning| text.starts_with(beginning))
        };
        values.iter().any(fits)
    })
}

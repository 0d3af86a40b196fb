//! Hints about mistakes that clients make with paths.
//!
//! No hint repeats what the client sent, and none leads to a route that purges users: a client that follows every hint
//! blindly must not empty the cache.

use std::borrow::Cow;

use hyper::Method;
use strsim::osa_distance;

use crate::domain::user::UserId;

use super::route::{ROUTES, Route, RouteSpec};

/// The longest path that is compared. A longer one is too far from every route, and comparing takes time.
const LONGEST: usize = 64;

/// How many letters may be wrong, missing or swapped.
const MOST_WRONG: usize = 2;

/// The last segments of a user's paths, below `/v1/users/{user_id}/`.
const OF_A_USER: [&str; 3] = ["token", "identities", "report"];

/// Paths of probes and descriptions in other daemons, and the paths that cloakroom has for them.
const ELSEWHERE: [(&str, &str); 8] = [
    ("/health", "/livez or /readyz"),
    ("/healthz", "/livez or /readyz"),
    ("/healthcheck", "/livez or /readyz"),
    ("/ping", "/livez or /readyz"),
    ("/openapi", "/openapi.json"),
    ("/openapi.yaml", "/openapi.json"),
    ("/openapi.yml", "/openapi.json"),
    ("/swagger.json", "/openapi.json"),
];

/// What is likely wrong with a path that has no route.
pub fn of_path(path: &str) -> Cow<'static, str> {
    if Route::find(path).is_some_and(|matched| matched.spec.calls_a_provider()) {
        return "the path of a call goes on with the connection, the name of the [[proxy]], and the provider's own path, \
                which is at least a `/`"
            .into();
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed != path
        && Route::find(trimmed).is_some_and(|matched| matched.spec.method != Some(Method::DELETE))
    {
        return "leave out the `/` at the end of the path".into();
    }
    let lower = trimmed.to_ascii_lowercase();
    let (before, last) = lower.rsplit_once('/').unwrap_or_default();
    if trimmed.starts_with("/v1/users/") && (OF_A_USER.contains(&last) || near(last, &OF_A_USER).is_none()) {
        return "a `/` in a user id is sent as %2F, so that the id is one segment; a user's paths end in /token, \
                /identities or /report"
            .into();
    }
    if ["/users/", "/user/"].iter().any(|part| format!("{before}/").contains(part))
        && let Some(asked) = near(last, &OF_A_USER)
    {
        return format!("did you mean /v1/users/{{user_id}}/{asked}?").into();
    }
    if let Some((_, ours)) = ELSEWHERE.iter().find(|(theirs, _)| *theirs == lower) {
        return format!("did you mean {ours}?").into();
    }
    let fixed = ROUTES
        .iter()
        .filter(|spec| !spec.template.has_user() && !matches!(spec.method, None | Some(Method::DELETE)));
    let fixed: Vec<_> = fixed.map(|spec| spec.template.as_str()).collect();
    match near(&lower, &fixed).or_else(|| near(&format!("/v1{lower}"), &fixed)) {
        Some(path) => format!("did you mean {path}?").into(),
        None => "GET /openapi.json describes every route".into(),
    }
}

/// The method to use, or the routes that were likely meant, for a path that takes another method.
pub fn of_method(spec: &RouteSpec) -> Cow<'static, str> {
    match &spec.method {
        Some(Method::DELETE) => {
            "this path takes no GET: GET /v1/users/{user_id}/token gives a user's token, GET \
                           /v1/users/{user_id}/identities lists the identities"
                .into()
        }
        Some(method) => format!("use {method}").into(),
        None => "CONNECT, TRACE and TRACK are not sent on to any server".into(),
    }
}

/// What is likely wrong with an id in `path` that Auth0 does not know.
pub fn of_unknown_user(path: &str) -> Option<&'static str> {
    is_encoded_twice(path).then_some(
        "the id still holds an escape such as %7C after decoding: was it percent-encoded twice? Encode it once, so that `|` \
         is sent as %7C and not as %257C",
    )
}

/// Whether the id in this path looks as if it had been percent-encoded twice: it holds an escape, and no `|`, which all
/// of Auth0's ids have. An escape alone shows nothing, because an id may hold one of its own.
fn is_encoded_twice(path: &str) -> bool {
    let segment = Route::find(path).map(|matched| matched.user);
    let Some(user) = segment.and_then(|segment| UserId::from_path_segment(segment).ok()) else {
        return false;
    };
    let id = user.as_str();
    let is_escape = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    !id.contains('|') && id.split('%').skip(1).any(is_escape)
}

/// The nearest of `names`, if at most [`MOST_WRONG`] letters of it differ.
fn near<'a>(text: &str, names: &[&'a str]) -> Option<&'a str> {
    if text.len() > LONGEST {
        return None;
    }
    let slips = names.iter().filter(|name| name.len().abs_diff(text.len()) <= MOST_WRONG);
    let slips = slips.map(|name| (osa_distance(text, name), *name));
    slips.filter(|(slips, _)| *slips <= MOST_WRONG).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hint_leads_to_forgetting() {
        let paths = [
            "/v1/users/",
            "/v1/user",
            "/v1/usrs",
            "/users",
            "/v1/users/a/",
            "/v1/users/a/b",
            "/",
            "",
            "*",
            "//",
        ];
        let hints = paths.iter().map(|path| of_path(path)).chain(ROUTES.iter().map(of_method));
        for hint in hints {
            let ways: Vec<_> =
                hint.match_indices("/v1/users").map(|(at, way)| &hint[at + way.len()..]).collect();
            assert!(
                ways.iter().all(|way| way.starts_with("/{user_id}/")) && !hint.contains("DELETE"),
                "{hint}"
            );
        }
    }

    #[test]
    fn a_call_without_a_path_is_told_what_follows() {
        for path in ["/v1/users/a/proxy/github", "/v1/users/a/proxy/github/api", "/v1/me/proxy/github/api"] {
            assert!(of_path(path).contains("at least a `/`"), "{path}");
        }
    }

    #[test]
    fn what_is_far_from_everything_is_no_slip() {
        for path in ["/nowhere", "/v1/nothing/at/all", &"/x".repeat(10_000), "/\u{fc}\u{fc}", "/v1/me"] {
            let hint = of_path(path);
            assert!(hint.starts_with("GET /openapi.json"), "{path:.40}: {hint}");
        }
    }
}

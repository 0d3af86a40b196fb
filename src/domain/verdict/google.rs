//! Refusals of Google's APIs: <https://docs.cloud.google.com/apis/design/errors> for the form of today,
//! <https://developers.google.com/workspace/drive/api/guides/handle-errors> for the older one beside it.

use serde_json::Value;

use super::limits::rate_limited;
use super::meaning::Verdict;
use super::sample::{Sample, text_at};
use super::standard;

const DEAD: [&str; 3] = ["authError", "ACCESS_TOKEN_EXPIRED", "UNAUTHENTICATED"];

/// Reasons of a token that lacks a scope. `insufficientFilePermissions` is about the user's own rights.
const SCOPE: [&str; 3] = ["ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientPermissions", "insufficientScopes"];

/// Limits that are refused with 403, <https://developers.google.com/workspace/gmail/api/guides/handle-errors>. Other
/// reasons in their domain are none: `accessNotConfigured` is an API that the project has not switched on.
const LIMITS: [&str; 9] = [
    "RATE_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "concurrentLimitExceeded",
    "dailyLimitExceeded",
    "limitExceeded",
    "quotaExceeded",
    "rateLimitExceeded",
    "sharingRateLimitExceeded",
    "userRateLimitExceeded",
];

pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    match standard::stated(sample) {
        // Each scope in Google's list suffices by itself.
        Some(Verdict::MissingScope { needed, held, is_certain, .. }) => {
            let any_of = needed.len() > 1;
            return Some(Verdict::MissingScope { needed, held, any_of, is_certain });
        }
        Some(verdict) => return Some(verdict),
        None => {}
    }
    let Some(body) = sample.json() else { return standard::judge(sample) };
    // Streaming methods answer with a list of one.
    let error = body.pointer("/error").or_else(|| body.pointer("/0/error")).unwrap_or(&Value::Null);
    let reasons = reasons(error);
    let has = |known: &[&str]| reasons.iter().any(|reason| known.contains(reason));
    let lacks_scope = || text_at(error, "/message").contains("insufficient authentication scopes");
    match sample.status {
        401 => Some(Verdict::TokenDead { is_named: has(&DEAD) }),
        403 if has(&LIMITS) => Some(rate_limited(sample)),
        403 if has(&SCOPE) || lacks_scope() => Some(Verdict::unnamed_scope(true)),
        _ => None,
    }
}

/// The status, and the reasons of both forms.
fn reasons(error: &Value) -> Vec<&str> {
    let lists = ["errors", "details"].into_iter().filter_map(|name| error.get(name)?.as_array());
    let in_lists = lists.flatten().filter_map(|item| item.get("reason")?.as_str());
    in_lists.chain([text_at(error, "/status")]).collect()
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn google_names_scopes_of_which_one_suffices_and_refuses_limits_with_403() {
        const SCOPE_BODY: &str = r#"{"error":{"code":403,"message":"Request had insufficient authentication scopes.",
            "errors":[{"message":"Insufficient Permission","domain":"global","reason":"insufficientPermissions"}],
            "status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",
            "reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT","domain":"googleapis.com",
            "metadata":{"service":"calendar-json.googleapis.com","method":"calendar.v3.CalendarList.List"}}]}}"#;
        const QUOTED: &str = "Bearer realm=\"https://accounts.google.com/\", error=\"insufficient_scope\", \
            scope=\"https://www.googleapis.com/auth/contacts https://www.google.com/m8/feeds\"";
        const UNQUOTED: &str = "Bearer realm=\"https://accounts.google.com/AuthSubRequest\", error=insufficient_scope, \
            scope=\"https://www.googleapis.com/auth/analytics\"";
        let limit = |reason: &str| {
            format!(r#"{{"error":{{"code":403,"errors":[{{"domain":"usageLimits","reason":"{reason}"}}]}}}}"#)
        };
        check(
            Dialect::Google,
            &[
                (403, &[], SCOPE_BODY, "missing_scope"),
                (
                    403,
                    &[("www-authenticate", QUOTED)],
                    SCOPE_BODY,
                    "missing_scope; needed=\"https://www.googleapis.com/auth/contacts \
                        https://www.google.com/m8/feeds\"; any_of",
                ),
                (
                    403,
                    &[("www-authenticate", UNQUOTED)],
                    "",
                    "missing_scope; needed=\"https://www.googleapis.com/auth/analytics\"",
                ),
                (
                    403,
                    &[],
                    r#"{"error":{"code":403,"message":"Request had insufficient authentication scopes.",
                    "status":"PERMISSION_DENIED"}}"#,
                    "missing_scope",
                ),
                (403, &[], &limit("accessNotConfigured"), "-"),
                (403, &[], &limit("dailyLimitExceededUnreg"), "-"),
                (403, &[], &limit("insufficientFilePermissions"), "-"),
                (
                    403,
                    &[("retry-after", "20")],
                    &limit("userRateLimitExceeded"),
                    "rate_limited; retry_after=20",
                ),
                (403, &[], &limit("rateLimitExceeded"), "rate_limited"),
                (429, &[], "", "rate_limited"),
                (
                    401,
                    &[],
                    r#"{"error":{"code":401,"errors":[{"reason":"authError","location":"Authorization"}],
                    "status":"UNAUTHENTICATED"}}"#,
                    "token_dead, named",
                ),
                (401, &[], r#"[{"error":{"code":401,"status":"UNAUTHENTICATED"}}]"#, "token_dead, named"),
                (401, &[], r#"{"error":{"code":401,"errors":[{"reason":"required"}]}}"#, "token_dead"),
                (
                    401,
                    &[(
                        "www-authenticate",
                        "Bearer realm=\"https://accounts.google.com/\", error=invalid_token",
                    )],
                    "",
                    "token_dead, named",
                ),
                (401, &[], "<html>", "token_dead"),
            ],
        );
    }
}

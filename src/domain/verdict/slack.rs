//! Refusals of Slack's Web API, which have status 200: <https://docs.slack.dev/apis/web-api/#responses>.

use serde_json::Value;

use super::limits::rate_limited;
use super::meaning::Verdict;
use super::sample::{Sample, text_at};
use super::scopes::Scopes;

/// Errors of every method that are about the token, as
/// <https://docs.slack.dev/reference/methods/auth.test> lists them.
const DEAD: [&str; 4] = ["account_inactive", "invalid_auth", "token_expired", "token_revoked"];

/// The verdict on an answer with status 200.
pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    let body = sample.json()?;
    if body.get("ok").and_then(Value::as_bool) != Some(false) {
        return None;
    }
    match text_at(&body, "/error") {
        error if DEAD.contains(&error) => Some(Verdict::TokenDead { is_named: true }),
        "missing_scope" => {
            // Where a method takes one of several, such as `channels:read` or `groups:read`, all of them are listed.
            let needed = Scopes::some_of([text_at(&body, "/needed")]);
            let provided = body.get("provided").and_then(Value::as_str);
            let held = provided.and_then(|list| Scopes::all_of([list]));
            let any_of = needed.len() > 1;
            Some(Verdict::MissingScope { needed, held, any_of, is_certain: true })
        }
        "ratelimited" | "rate_limited" => Some(rate_limited(sample)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn slack_refuses_with_200() {
        check(
            Dialect::Slack,
            &[
                (200, &[], r#"{"ok":false,"error":"invalid_auth"}"#, "token_dead, named"),
                (200, &[], r#"{"ok":false,"error":"token_revoked"}"#, "token_dead, named"),
                (200, &[], r#"{"ok":true,"error":"invalid_auth"}"#, "-"),
                (200, &[], r#"{"ok":false,"error":"channel_not_found"}"#, "-"),
                (200, &[], r#"{"ok":false,"error":"missing_scope""#, "-"),
                (
                    200,
                    &[],
                    r#"{"ok":false,"error":"missing_scope","needed":"users:read.email",
                    "provided":"channels:read,users:read"}"#,
                    "missing_scope; needed=\"users:read.email\"; held=\"channels:read users:read\"",
                ),
                (200, &[], r#"{"ok":false,"error":"ratelimited"}"#, "rate_limited"),
                (
                    429,
                    &[("retry-after", "30")],
                    r#"{"ok":false,"error":"ratelimited"}"#,
                    "rate_limited; retry_after=30",
                ),
            ],
        );
    }
}

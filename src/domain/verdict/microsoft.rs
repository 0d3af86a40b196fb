//! Refusals of Microsoft Graph: <https://learn.microsoft.com/en-us/graph/errors> and
//! <https://learn.microsoft.com/en-us/graph/resolve-auth-errors>.

use super::meaning::Verdict;
use super::sample::{Sample, text_at};
use super::scopes::Scopes;
use super::standard;

/// Codes of a token that is not accepted. Services behind Graph have 401s of their own, which say nothing about it.
const DEAD: [&str; 3] = ["InvalidAuthenticationToken", "Authentication_ExpiredToken", "unauthenticated"];

/// Words of a claims challenge in a body, for answers without its header.
const CLAIMS: [&str; 2] = ["Continuous access evaluation resulted in", "ClaimsChallengeRequired"];

/// Codes of a 403 for which a missing scope is one explanation; the user's own rights are another.
const DENIED: [&str; 5] =
    ["AccessDenied", "Authorization_RequestDenied", "ErrorAccessDenied", "Forbidden", "accessDenied"];

pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    if let Some(verdict) = standard::stated(sample) {
        return Some(verdict);
    }
    let Some(body) = sample.json() else { return standard::judge(sample) };
    let (code, message) = (text_at(&body, "/error/code"), text_at(&body, "/error/message"));
    let is_refused = matches!(sample.status, 401 | 403);
    if is_refused && CLAIMS.iter().any(|words| message.contains(words)) {
        return Some(Verdict::ClaimsChallenge);
    }
    match sample.status {
        401 if DEAD.contains(&code) => Some(Verdict::TokenDead { is_named: true }),
        401 if code.is_empty() => standard::judge(sample),
        403 if code == "ErrorInsufficientPermissionsInAccessToken" => Some(Verdict::unnamed_scope(true)),
        403 if DENIED.contains(&code) => {
            Some(named_scopes(message).unwrap_or_else(|| Verdict::unnamed_scope(false)))
        }
        _ => None,
    }
}

/// Scopes in the message of Teams' part of Graph: `Missing scope permissions on the request. API requires one of
/// 'Chat.Read, Chat.ReadWrite'. Scopes on the request 'User.Read'`.
fn named_scopes(message: &str) -> Option<Verdict> {
    let quoted = |after: &str| message.split_once(after)?.1.split_once('\'').map(|(list, _)| list);
    let needed =
        Scopes::some_of([quoted("Missing scope permissions on the request. API requires one of '")?]);
    let held = quoted("Scopes on the request '").and_then(|list| Scopes::all_of([list]));
    let any_of = needed.len() > 1;
    Some(Verdict::MissingScope { needed, held, any_of, is_certain: true })
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn graph_asks_for_claims_and_names_scopes_only_for_teams() {
        const CAE: &str = "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common\", \
            error=\"insufficient_claims\", claims=\"eyJhY2Nlc3NfdG9rZW4iOnt9fQ==\"";
        const PLAIN: &str =
            "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common\"";
        const DEAD: &str = r#"{"error":{"code":"InvalidAuthenticationToken",
            "message":"Lifetime validation failed, the token is expired."}}"#;
        const TEAMS: &str = concat!(
            r#"{"error":{"code":"Forbidden","message":"Missing scope permissions on the request. "#,
            r#"API requires one of 'Chat.ReadBasic, Chat.Read, Chat.ReadWrite'. "#,
            r#"Scopes on the request 'openid, User.Read, email'"}}"#,
        );
        check(
            Dialect::Microsoft,
            &[
                (401, &[("www-authenticate", CAE)], DEAD, "claims_challenge"),
                (403, &[("www-authenticate", CAE)], "", "claims_challenge"),
                (
                    401,
                    &[],
                    r#"{"error":{"code":"InvalidAuthenticationToken",
                    "message":"Continuous access evaluation resulted in challenge"}}"#,
                    "claims_challenge",
                ),
                (401, &[("www-authenticate", PLAIN)], DEAD, "token_dead, named"),
                (401, &[("www-authenticate", PLAIN)], "", "token_dead"),
                (401, &[], r#"{"error":{"message":""}}"#, "token_dead"),
                (401, &[], r#"{"error":{"code":"OrganizationFromTenantGuidNotFound","message":""}}"#, "-"),
                (
                    403,
                    &[],
                    r#"{"error":{"code":"Authorization_RequestDenied",
                    "message":"Insufficient privileges to complete the operation."}}"#,
                    "missing_scope; maybe",
                ),
                (403, &[], r#"{"error":{"code":"Forbidden","message":""}}"#, "missing_scope; maybe"),
                (403, &[], r#"{"error":{"code":"tooManyPages","message":""}}"#, "-"),
                (
                    403,
                    &[],
                    TEAMS,
                    "missing_scope; needed=\"Chat.ReadBasic Chat.Read Chat.ReadWrite\"; \
                        held=\"openid User.Read email\"; any_of",
                ),
                (429, &[("retry-after", "150")], "", "rate_limited; retry_after=150"),
            ],
        );
    }
}

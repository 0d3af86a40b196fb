//! Refusals of LinkedIn: <https://learn.microsoft.com/en-us/linkedin/shared/api-guide/concepts/error-handling>.

use serde_json::Value;

use super::meaning::Verdict;
use super::sample::{Sample, text_at};
use super::standard;

/// `serviceErrorCode` of a token that is invalid, revoked or expired. LinkedIn has been seen to answer `65601` for
/// seconds after a login, <https://github.com/jclusso/omniauth-linkedin-openid/issues/6>.
const DEAD: [u64; 3] = [65_600, 65_601, 65_602];

pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    let Some(body) = sample.json() else { return standard::judge(sample) };
    let code = body.get("serviceErrorCode").and_then(Value::as_u64);
    match sample.status {
        401 if code.is_some_and(|code| DEAD.contains(&code)) => Some(Verdict::TokenDead { is_named: true }),
        403 if text_at(&body, "/message").starts_with("Not enough permissions to access") => {
            Some(Verdict::unnamed_scope(true))
        }
        _ => standard::judge(sample),
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn linkedin_names_no_scope() {
        check(
            Dialect::LinkedIn,
            &[
                (
                    401,
                    &[],
                    r#"{"status":401,"serviceErrorCode":65601,"code":"REVOKED_ACCESS_TOKEN","message":"m"}"#,
                    "token_dead, named",
                ),
                (
                    401,
                    &[],
                    r#"{"status":401,"serviceErrorCode":401,"message":"Empty oauth2_access_token"}"#,
                    "token_dead",
                ),
                (
                    403,
                    &[],
                    r#"{"serviceErrorCode":100,"message":"Not enough permissions to access: GET /me","status":403}"#,
                    "missing_scope",
                ),
                (403, &[], r#"{"serviceErrorCode":100,"message":"Member is restricted","status":403}"#, "-"),
            ],
        );
    }
}

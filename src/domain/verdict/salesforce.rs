//! Refusals of Salesforce:
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>.

use super::challenge::challenges;
use super::limits::rate_limited;
use super::meaning::Verdict;
use super::sample::{Sample, text_at};
use super::scopes::Scopes;
use super::standard;

pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    if sample.body.is_some_and(|body| body.trim_ascii() == b"Bad_OAuth_Token") {
        // The identity URL,
        // https://help.salesforce.com/s/articleView?id=sf.remoteaccess_using_openid.htm
        return Some(Verdict::TokenDead { is_named: true });
    }
    let Some(body) = sample.json() else { return unread(sample) };
    // A list, of which one has been seen; Bulk API 1.0 has an object.
    let code = [text_at(&body, "/0/errorCode"), text_at(&body, "/exceptionCode")].concat();
    let message = text_at(&body, "/0/message");
    match (sample.status, code.as_str()) {
        // One code for two things: this session can be alive, and its application may lack the scope `api` or the
        // user a security level, https://github.com/jsforce/jsforce/pull/1301.
        (401, "INVALID_SESSION_ID") if message.contains("not valid for use with") => {
            let needed = Scopes::some_of(["api"]);
            Some(Verdict::MissingScope { needed, held: None, any_of: false, is_certain: false })
        }
        (401, "INVALID_SESSION_ID") | (400 | 401, "InvalidSessionId") => {
            Some(Verdict::TokenDead { is_named: true })
        }
        (403, "REQUEST_LIMIT_EXCEEDED") => Some(rate_limited(sample)),
        (401, "") => unread(sample),
        _ => None,
    }
}

/// The verdict without a body that can be read. Only a session that has ended is refused with a challenge
/// (`WWW-Authenticate: Token`).
fn unread(sample: &Sample<'_>) -> Option<Verdict> {
    standard::judge(sample).filter(|_| !challenges(sample).is_empty())
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn salesforce_refuses_live_tokens_with_401() {
        const TOKEN: (&str, &str) = ("www-authenticate", "Token");
        check(
            Dialect::Salesforce,
            &[
                (
                    401,
                    &[TOKEN],
                    r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#,
                    "token_dead, named",
                ),
                (
                    401,
                    &[],
                    r#"[{"message":"This session is not valid for use with the REST API",
                    "errorCode":"INVALID_SESSION_ID"}]"#,
                    "missing_scope; needed=\"api\"; maybe",
                ),
                (
                    400,
                    &[],
                    r#"{"exceptionCode":"InvalidSessionId","exceptionMessage":"Invalid session id"}"#,
                    "token_dead, named",
                ),
                (403, &[], "Bad_OAuth_Token", "token_dead, named"),
                (401, &[TOKEN], "", "token_dead"),
                (401, &[TOKEN], "{}", "token_dead"),
                (401, &[], "", "-"),
                (
                    403,
                    &[],
                    r#"[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#,
                    "rate_limited",
                ),
                (403, &[], r#"[{"errorCode":"API_DISABLED_FOR_ORG"}]"#, "-"),
            ],
        );
    }
}

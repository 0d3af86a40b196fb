//! Refusals of Dropbox, which have status 401 for everything about a token, dead or not:
//! <https://www.dropbox.com/developers/documentation/http/documentation#error-handling>, and the union `AuthError` in
//! <https://github.com/dropbox/dropbox-api-spec/blob/main/auth.stone>.

use super::meaning::Verdict;
use super::sample::{Sample, text_at};
use super::scopes::Scopes;
use super::standard;

pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    // A challenge is the same for every 401. Without its body, such an answer shows nothing.
    let Some(body) = sample.json() else { return standard::stated(sample) };
    match (sample.status, text_at(&body, "/error/.tag")) {
        (401, "expired_access_token" | "invalid_access_token") => Some(Verdict::TokenDead { is_named: true }),
        (401, "missing_scope") => {
            let needed = Scopes::some_of([text_at(&body, "/error/required_scope")]);
            Some(Verdict::MissingScope { needed, held: None, any_of: false, is_certain: true })
        }
        // A suspended user, a member who has left the team, a route that is not public.
        _ => standard::stated(sample),
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn dropbox_refuses_live_tokens_with_401() {
        const BEARER: (&str, &str) = ("www-authenticate", "Bearer realm=\"Dropbox-API\"");
        check(
            Dialect::Dropbox,
            &[
                (
                    401,
                    &[BEARER],
                    r#"{"error_summary": "missing_scope/...",
                    "error": {".tag": "missing_scope", "required_scope": "files.content.write"}}"#,
                    "missing_scope; needed=\"files.content.write\"",
                ),
                (
                    401,
                    &[BEARER],
                    r#"{"error_summary":"expired_access_token/..","error":{".tag":"expired_access_token"}}"#,
                    "token_dead, named",
                ),
                (401, &[BEARER], r#"{"error":{".tag":"user_suspended"}}"#, "-"),
                (401, &[BEARER], "", "-"),
                (429, &[("retry-after", "300")], "", "rate_limited; retry_after=300"),
            ],
        );
    }
}

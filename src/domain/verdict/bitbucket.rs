//! Refusals of Bitbucket Cloud: <https://developer.atlassian.com/cloud/bitbucket/rest/intro/>.

use super::meaning::Verdict;
use super::sample::{Sample, text_at, texts_at};
use super::scopes::Scopes;
use super::standard;

pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    let Some(body) = sample.json() else { return standard::judge(sample) };
    match sample.status {
        401 => {
            // The other text, "Token is invalid, expired, or not supported for this endpoint", can be about the
            // endpoint.
            let is_named = text_at(&body, "/error/message").starts_with("Access token expired");
            standard::stated(sample).or(Some(Verdict::TokenDead { is_named }))
        }
        403 => unmet_scopes(&body).or_else(|| standard::judge(sample)),
        _ => None,
    }
}

/// The lists of required and granted scopes, <https://github.com/backstage/backstage/issues/22383>.
fn unmet_scopes(body: &serde_json::Value) -> Option<Verdict> {
    let (required, granted) =
        (texts_at(body, "/error/detail/required"), texts_at(body, "/error/detail/granted"));
    let needed = Scopes::some_of(required.into_iter().filter(|scope| !granted.contains(scope)));
    let held = body.pointer("/error/detail/granted").and_then(|_| Scopes::all_of(granted));
    let is_unmet = !needed.is_empty();
    is_unmet.then_some(Verdict::MissingScope { needed, held, any_of: false, is_certain: true })
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn bitbucket_lists_what_is_required_and_what_is_granted() {
        check(
            Dialect::Bitbucket,
            &[
                (
                    403,
                    &[],
                    r#"{"type":"error","error":{
                    "message":"Your credentials lack one or more required privilege scopes.",
                    "detail":{"required":["account","team"],"granted":["team"]}}}"#,
                    "missing_scope; needed=\"account\"; held=\"team\"",
                ),
                (403, &[], r#"{"type":"error","error":{"message":"Forbidden"}}"#, "-"),
                (
                    401,
                    &[],
                    r#"{"type":"error","error":{
                    "message":"Access token expired. Use your refresh token to obtain a new access token."}}"#,
                    "token_dead, named",
                ),
                (
                    401,
                    &[],
                    r#"{"type":"error","error":{
                    "message":"Token is invalid, expired, or not supported for this endpoint."}}"#,
                    "token_dead",
                ),
            ],
        );
    }
}

//! Refusals of GitHub: <https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api>.

use super::limits::rate_limited;
use super::meaning::Verdict;
use super::sample::{Sample, text_at};
use super::scopes::Scopes;
use super::standard;

pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    let message = sample.json().map(|body| text_at(&body, "/message").to_owned());
    match sample.status {
        401 => {
            let is_named = message.as_deref() == Some("Bad credentials");
            standard::stated(sample).or(Some(Verdict::TokenDead { is_named }))
        }
        403 if is_limit(sample, message.as_deref()) => Some(rate_limited(sample)),
        403 => unmet_scope(sample, true).or_else(|| unmet_permission(sample, message.as_deref())),
        // A resource that the token may not see does not exist for it.
        404 => unmet_scope(sample, false),
        _ => None,
    }
}

/// Primary and secondary limits,
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit>.
fn is_limit(sample: &Sample<'_>, message: Option<&str>) -> bool {
    sample.number("x-ratelimit-remaining") == Some(0)
        || sample.text("retry-after").is_some()
        || message.is_some_and(|text| text.contains("secondary rate limit"))
}

/// A token of an OAuth app with none of the scopes that the endpoint accepts,
/// <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps>. Accepted scopes include
/// those that contain the needed one, so names are compared as they are. Lists that are not known as a whole show
/// nothing.
fn unmet_scope(sample: &Sample<'_>, is_certain: bool) -> Option<Verdict> {
    let list = |name| {
        let texts = sample.texts(name);
        // A token without scopes has an empty header.
        (!texts.is_empty()).then(|| Scopes::all_of(texts.iter().map(String::as_str)))?
    };
    let (needed, held) = (list("x-accepted-oauth-scopes")?, list("x-oauth-scopes")?);
    let is_unmet = !needed.is_empty() && !needed.iter().any(|scope| held.contains(scope));
    let any_of = needed.len() > 1;
    is_unmet.then_some(Verdict::MissingScope { needed, held: Some(held), any_of, is_certain })
}

/// A permission that an App lacks. The header names sets of permissions: `,` joins those of a set, `;` separates sets
/// of which one suffices. A set of several is named alone.
fn unmet_permission(sample: &Sample<'_>, message: Option<&str>) -> Option<Verdict> {
    // "by integration", "by personal access token".
    if message.is_some_and(|text| !text.starts_with("Resource not accessible by")) {
        return None;
    }
    let accepted = sample.text("x-accepted-github-permissions")?;
    let sets: Vec<_> = accepted.split(';').collect();
    let are_single = sets.iter().all(|set| !set.contains(','));
    let needed = Scopes::some_of(sets.into_iter().take(if are_single { usize::MAX } else { 1 }));
    let any_of = are_single && needed.len() > 1;
    Some(Verdict::MissingScope { needed, held: None, any_of, is_certain: message.is_some() })
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::{DATE, check};

    #[test]
    fn github_hides_what_a_token_may_not_see_and_lists_what_it_has() {
        let scopes = |held, accepted| [("x-oauth-scopes", held), ("x-accepted-oauth-scopes", accepted)];
        const ACCEPTED: &str = "x-accepted-github-permissions";
        const NOT_ACCESSIBLE: &str = r#"{"message":"Resource not accessible by integration","status":"403"}"#;
        check(
            Dialect::GitHub,
            &[
                (401, &[], r#"{"message":"Bad credentials","status":"401"}"#, "token_dead, named"),
                (401, &[], r#"{"message":"Requires authentication"}"#, "token_dead"),
                (
                    404,
                    &scopes("gist, read:user", "repo"),
                    "",
                    "missing_scope; needed=\"repo\"; held=\"gist read:user\"; maybe",
                ),
                (404, &scopes("", "repo"), "", "missing_scope; needed=\"repo\"; held=\"\"; maybe"),
                (404, &scopes("repo", "repo"), "", "-"),
                (404, &scopes("gist", ""), "", "-"),
                (404, &[("x-accepted-oauth-scopes", "repo")], "", "-"),
                (404, &scopes("gist, \"", "repo"), "", "-"),
                (
                    403,
                    &scopes("repo", "admin:org, read:org, write:org"),
                    r#"{"message":"Must have admin rights to Repository."}"#,
                    "missing_scope; needed=\"admin:org read:org write:org\"; held=\"repo\"; any_of",
                ),
                (403, &scopes("notifications, repo", ""), r#"{"message":"Must have push access"}"#, "-"),
                (
                    403,
                    &[(ACCEPTED, "contents=write")],
                    NOT_ACCESSIBLE,
                    "missing_scope; needed=\"contents=write\"",
                ),
                (
                    403,
                    &[(ACCEPTED, "repository_projects=write; organization_projects=admin")],
                    NOT_ACCESSIBLE,
                    "missing_scope; needed=\"repository_projects=write organization_projects=admin\"; any_of",
                ),
                (
                    403,
                    &[(ACCEPTED, "pull_requests=write,contents=read; issues=write")],
                    NOT_ACCESSIBLE,
                    "missing_scope; needed=\"pull_requests=write contents=read\"",
                ),
                (403, &[(ACCEPTED, "contents=write")], "", "missing_scope; needed=\"contents=write\"; maybe"),
                (403, &[(ACCEPTED, "contents=write")], r#"{"message":"Repository was archived"}"#, "-"),
                (404, &[(ACCEPTED, "contents=read")], "", "-"),
                (
                    403,
                    &[DATE, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795341690")],
                    r#"{"message":"API rate limit exceeded for user ID 1."}"#,
                    "rate_limited; retry_after=90",
                ),
                (
                    403,
                    &[
                        ("retry-after", "60"),
                        ("x-ratelimit-remaining", "4000"),
                        ("x-ratelimit-reset", "1795341690"),
                    ],
                    "",
                    "rate_limited; retry_after=60",
                ),
                (403, &[], r#"{"message":"You have exceeded a secondary rate limit."}"#, "rate_limited"),
                (
                    429,
                    &[DATE, ("x-ratelimit-remaining", "4000"), ("x-ratelimit-reset", "1795341690")],
                    "",
                    "rate_limited",
                ),
            ],
        );
    }
}

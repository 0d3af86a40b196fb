//! Refusals of Facebook's Graph API, which refuses dead tokens with 400:
//! <https://developers.facebook.com/docs/graph-api/guides/error-handling>.

use super::limits::rate_limited;
use super::meaning::Verdict;
use super::sample::Sample;
use super::standard;

pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    let code = sample.json().and_then(|body| body.pointer("/error/code")?.as_u64());
    match code {
        // Every subcode of theirs needs a new token. The type `OAuthException` alone has other faults as well.
        Some(102 | 190) => Some(Verdict::TokenDead { is_named: true }),
        // Permissions, of the user to the application or of the user itself.
        Some(10 | 200..=299) => Some(Verdict::unnamed_scope(false)),
        // https://developers.facebook.com/docs/graph-api/overview/rate-limiting
        Some(4 | 17 | 32 | 341 | 613 | 80_000..=80_014) => Some(rate_limited(sample)),
        Some(_) => None,
        None => unread(sample),
    }
}

/// The verdict without a body that can be read. Facebook's challenges have no parameters, and are not documented:
/// `OAuth "Facebook Platform" "invalid_token" "The session has expired"`.
fn unread(sample: &Sample<'_>) -> Option<Verdict> {
    let is_named = |text: &String| text.starts_with("OAuth \"Facebook Platform\" \"invalid_token\"");
    let is_dead = sample.status == 400 && sample.text("www-authenticate").as_ref().is_some_and(is_named);
    is_dead.then_some(Verdict::TokenDead { is_named: false }).or_else(|| standard::judge(sample))
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn facebook_refuses_dead_tokens_with_400() {
        let error = |code: u32| {
            format!(
                r#"{{"error":{{"message":"m","type":"OAuthException","code":{code},"error_subcode":463}}}}"#
            )
        };
        const CHALLENGE: &str =
            "OAuth \"Facebook Platform\" \"invalid_token\" \"Error validating access token\"";
        check(
            Dialect::Facebook,
            &[
                (400, &[], &error(190), "token_dead, named"),
                (401, &[("www-authenticate", CHALLENGE)], &error(190), "token_dead, named"),
                (400, &[], &error(100), "-"),
                (400, &[], &error(2500), "-"),
                (403, &[], &error(10), "missing_scope; maybe"),
                (403, &[], &error(200), "missing_scope; maybe"),
                (403, &[], &error(4), "rate_limited"),
                (400, &[], &error(80_004), "rate_limited"),
                (400, &[], "", "-"),
                (400, &[("www-authenticate", CHALLENGE)], "", "token_dead"),
                (401, &[], "", "token_dead"),
            ],
        );
    }
}

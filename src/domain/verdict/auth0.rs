//! Refusals of Auth0's Management API: <https://auth0.com/docs/api/management/v2/#!/Introduction/Responses>, and the
//! messages that its users have reported.

use super::meaning::Verdict;
use super::sample::{Sample, text_at};
use super::scopes::Scopes;
use super::standard;

/// Messages about a token that is refused: <https://github.com/auth0/node-auth0/issues/831>,
/// <https://github.com/auth0/laravel-auth0/issues/455>.
const DEAD: [&str; 3] = [
    "Expired token received for JSON Web Token validation",
    "Invalid signature received for JSON Web Token validation",
    "Invalid token",
];

/// What a list of permissions follows, of which one suffices.
const ANY_OF: &str = "Insufficient scope, expected any of:";

pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    // An edge or a proxy on the way answers in HTML, and knows nothing of the token.
    let Some(body) = sample.json() else { return standard::stated(sample) };
    let message = text_at(&body, "/message");
    match (sample.status, text_at(&body, "/errorCode")) {
        (401, _) if DEAD.contains(&message) => Some(Verdict::TokenDead { is_named: true }),
        (403, "insufficient_scope") => Some(match message.strip_prefix(ANY_OF) {
            Some(scopes) => {
                let needed = Scopes::some_of([scopes]);
                let any_of = needed.len() > 1;
                Verdict::MissingScope { needed, held: None, any_of, is_certain: true }
            }
            // Limits of a plan have this code as well.
            None => Verdict::unnamed_scope(false),
        }),
        _ => standard::judge(sample),
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn auth0_names_dead_tokens_and_permissions_in_messages() {
        check(
            Dialect::Auth0,
            &[
                (
                    401,
                    &[],
                    r#"{"statusCode":401,"error":"Unauthorized","message":"Invalid token"}"#,
                    "token_dead, named",
                ),
                (
                    401,
                    &[],
                    r#"{"message":"Expired token received for JSON Web Token validation"}"#,
                    "token_dead, named",
                ),
                (401, &[], r#"{"statusCode":401,"message":"Bad audience: https://a/"}"#, "token_dead"),
                (401, &[("www-authenticate", "Bearer")], r#"{"message":"?"}"#, "token_dead"),
                (401, &[], "<html>", "-"),
                (401, &[], "", "-"),
                (
                    403,
                    &[],
                    r#"{"message":"Insufficient scope, expected any of: read:users,read:current_user","errorCode":"insufficient_scope"}"#,
                    "missing_scope; needed=\"read:users read:current_user\"; any_of",
                ),
                (
                    403,
                    &[],
                    r#"{"message":"Insufficient scope, expected any of: read:logs","errorCode":"insufficient_scope"}"#,
                    "missing_scope; needed=\"read:logs\"",
                ),
                (
                    403,
                    &[],
                    r#"{"message":"Not in your plan","errorCode":"insufficient_scope"}"#,
                    "missing_scope; maybe",
                ),
                (403, &[], r#"{"errorCode":"operation_not_supported"}"#, "-"),
                (404, &[], r#"{"errorCode":"inexistent_user"}"#, "-"),
            ],
        );
    }
}

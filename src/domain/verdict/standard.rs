//! Refusals by the standards alone: RFC 6750 §3.1, the step-up of RFC 9470 §3, and Microsoft's claims challenge,
//! which has the form of one.

use super::challenge::{Challenge, challenges};
use super::meaning::Verdict;
use super::sample::Sample;
use super::scopes::Scopes;

/// Demands on the sign-in, <https://learn.microsoft.com/en-us/entra/identity-platform/claims-challenge> and RFC 9470.
const STEP_UPS: [&str; 2] = ["insufficient_claims", "insufficient_user_authentication"];

/// The verdict by status and headers alone.
pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    stated(sample).or_else(|| unstated(sample))
}

/// The verdict by an error that the challenges state.
pub(super) fn stated(sample: &Sample<'_>) -> Option<Verdict> {
    if !matches!(sample.status, 400 | 401 | 403) {
        return None;
    }
    let challenges = challenges(sample);
    let with = |errors: &[&str]| challenges.iter().find(|challenge| errors.contains(&error(challenge)));
    if with(&STEP_UPS).is_some() {
        return Some(Verdict::ClaimsChallenge);
    }
    if let Some(challenge) = with(&["insufficient_scope"]) {
        let needed = Scopes::some_of(challenge.get("scope"));
        return Some(Verdict::MissingScope { needed, held: None, any_of: false, is_certain: true });
    }
    with(&["invalid_token"]).map(|_| Verdict::TokenDead { is_named: true })
}

/// The verdict on a 401 without a stated error. An error that is stated and means something else, such as
/// `invalid_request`, says nothing about the token.
fn unstated(sample: &Sample<'_>) -> Option<Verdict> {
    let is_silent = || challenges(sample).iter().all(|challenge| error(challenge).is_empty());
    (sample.status == 401 && is_silent()).then_some(Verdict::TokenDead { is_named: false })
}

fn error(challenge: &Challenge) -> &str {
    challenge.get("error").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn bearer_challenges_are_read_in_each_of_their_forms() {
        check(
            Dialect::Standard,
            &[
                (
                    401,
                    &[("www-authenticate", "Bearer realm=\"x\", error=\"invalid_token\"")],
                    "",
                    "token_dead, named",
                ),
                (401, &[("www-authenticate", "Bearer error=invalid_token")], "", "token_dead, named"),
                (401, &[], "", "token_dead"),
                (401, &[("www-authenticate", "Bearer realm=\"x\"")], "", "token_dead"),
                (401, &[("www-authenticate", "Bearer error=\"invalid_request\"")], "", "-"),
                (403, &[], "", "-"),
                (404, &[("www-authenticate", "Bearer error=\"invalid_token\"")], "", "-"),
                (
                    403,
                    &[(
                        "www-authenticate",
                        "Basic realm=\"x\", Bearer error=\"insufficient_scope\", scope=\"a b\"",
                    )],
                    "",
                    "missing_scope; needed=\"a b\"",
                ),
                (
                    403,
                    &[
                        ("www-authenticate", "Basic"),
                        ("www-authenticate", "Bearer error=insufficient_scope,scope=a b"),
                    ],
                    "",
                    "missing_scope; needed=\"a b\"",
                ),
                (
                    401,
                    &[(
                        "www-authenticate",
                        "Bearer error=\"insufficient_user_authentication\", acr_values=\"mfa\"",
                    )],
                    "",
                    "claims_challenge",
                ),
            ],
        );
    }
}

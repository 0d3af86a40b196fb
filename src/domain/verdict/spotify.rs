//! Refusals of Spotify:
//! <https://developer.spotify.com/documentation/web-api/concepts/api-calls#response-status-codes>.

use super::meaning::Verdict;
use super::sample::{Sample, text_at};
use super::standard;

const DEAD: [&str; 2] = ["The access token expired", "Invalid access token"];

/// Both have been seen for a missing scope: <https://github.com/spotipy-dev/spotipy/issues/830> with 403,
/// <https://github.com/spotipy-dev/spotipy/issues/684> with 401.
const SCOPE: [&str; 2] = ["Insufficient client scope", "Permissions missing"];

pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    let Some(body) = sample.json() else { return standard::judge(sample) };
    match (sample.status, text_at(&body, "/error/message")) {
        (401 | 403, message) if SCOPE.contains(&message) => Some(Verdict::unnamed_scope(true)),
        (401, message) if DEAD.contains(&message) => Some(Verdict::TokenDead { is_named: true }),
        _ => standard::judge(sample),
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn spotify_names_no_scope_and_refuses_a_missing_one_in_two_ways() {
        check(
            Dialect::Spotify,
            &[
                (
                    401,
                    &[],
                    r#"{"error":{"status":401,"message":"The access token expired"}}"#,
                    "token_dead, named",
                ),
                (
                    403,
                    &[],
                    r#"{"error":{"status":403,"message":"Insufficient client scope"}}"#,
                    "missing_scope",
                ),
                (401, &[], r#"{"error":{"status":401,"message":"Permissions missing"}}"#, "missing_scope"),
                (
                    403,
                    &[],
                    r#"{"error":{"status":403,"message":"Player command failed: Premium required"}}"#,
                    "-",
                ),
                (429, &[("retry-after", "7")], "", "rate_limited; retry_after=7"),
            ],
        );
    }
}

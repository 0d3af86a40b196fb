//! What an application asks Auth0 for, so that the next call of the API succeeds.

use form_urlencoded::Serializer;

use super::meaning::Verdict;
use super::scopes::Scopes;

/// The value of `Cloakroom-Remedy`: parameters of a request to `/authorize` that cures the verdict, form-encoded. The
/// application adds its own `client_id`, `redirect_uri`, `response_type`, `scope` and `state`. `None` if no login cures
/// it, or if it is unclear what to ask for.
///
/// - A missing scope: the connection's permissions and the scopes of `connection_scope`, confirmed once more with
///   `prompt=consent`. Scopes that the token holds are in it too, as far as the answer lists them: a provider that
///   grants only what is asked for would otherwise take them away. Where one of several scopes suffices, the first that
///   only reads is asked for, else the first: every scope of such a list permits the call, so that the narrowest is
///   enough, and lists begin with the widest as often as not.
/// - A dead token: consent, because it may have been revoked, and because Google issues a refresh token only then.
/// - A claims challenge: `prompt=login`, because the policy demands another sign-in and no other consent.
///
/// Scopes that an earlier login added with `connection_scope`, and that the answer does not list, are the application's
/// to add. Permissions of a GitHub App are granted where the App is installed, and no login adds one.
///
/// <https://auth0.com/docs/authenticate/identity-providers/adding-scopes-for-an-external-idp>,
/// <https://auth0.com/docs/authenticate/identity-providers/social-identity-providers/reprompt-permissions>
pub fn remedy(connection: &str, verdict: &Verdict) -> Option<String> {
    let mut query = Serializer::new(String::new());
    query.append_pair("connection", connection);
    match verdict {
        Verdict::RateLimited { .. } => return None,
        Verdict::ClaimsChallenge => {
            query.append_pair("prompt", "login");
        }
        Verdict::TokenDead { .. } => {
            query.append_pair("access_type", "offline").append_pair("prompt", "consent");
        }
        Verdict::MissingScope { needed, held, any_of, is_certain } => {
            let is_unclear = needed.is_empty() && !is_certain;
            if is_unclear || needed.iter().any(is_app_permission) {
                return None;
            }
            let wanted = wanted(needed, held.as_ref(), *any_of).join(",");
            if !wanted.is_empty() {
                query.append_pair("connection_scope", &wanted);
            }
            query.append_pair("access_type", "offline").append_pair("prompt", "consent");
        }
    }
    Some(query.finish())
}

/// The scopes to ask for: those that are held, then those that are needed.
fn wanted<'a>(needed: &'a Scopes, held: Option<&'a Scopes>, any_of: bool) -> Vec<&'a str> {
    let narrowest = needed.iter().find(|scope| only_reads(scope)).or_else(|| needed.iter().next());
    let needed = needed.iter().filter(|scope| !any_of || Some(*scope) == narrowest);
    let mut wanted: Vec<_> = held.into_iter().flat_map(Scopes::iter).collect();
    wanted.extend(needed.filter(|scope| !held.is_some_and(|held| held.contains(scope))));
    wanted
}

/// Whether a scope's name says that it only reads: `read:org`, `Chat.ReadBasic`, `gmail.readonly`, and not
/// `Chat.ReadWrite`.
fn only_reads(scope: &str) -> bool {
    let mut words = scope.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
    words.any(|word| word.starts_with("read") && !word.starts_with("readwrite"))
}

/// GitHub writes the permission of an App as `name=level`. No provider's scope has that sign.
fn is_app_permission(scope: &str) -> bool {
    scope.contains('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(needed: &str, held: Option<&str>, any_of: bool, is_certain: bool) -> Verdict {
        let held = held.map(|held| Scopes::some_of([held]));
        Verdict::MissingScope { needed: Scopes::some_of([needed]), held, any_of, is_certain }
    }

    #[test]
    fn a_missing_scope_is_asked_for_together_with_those_that_are_held() {
        assert_eq!(
            remedy("github", &missing("repo gist", Some("gist read:user"), false, true)).as_deref(),
            Some(
                "connection=github&connection_scope=gist%2Cread%3Auser%2Crepo&access_type=offline&prompt=consent"
            )
        );
        assert_eq!(
            remedy("a&b c", &missing("", None, false, true)).as_deref(),
            Some("connection=a%26b+c&access_type=offline&prompt=consent")
        );
    }

    #[test]
    fn of_several_scopes_that_suffice_the_narrowest_is_asked_for() {
        for (needed, asked_for) in [
            ("admin:org read:org write:org", "read%3Aorg"),
            ("Chat.ReadWrite Chat.ReadBasic", "Chat.ReadBasic"),
            (
                "https://mail.google.com/ https://www.googleapis.com/auth/gmail.modify",
                "https%3A%2F%2Fmail.google.com%2F",
            ),
        ] {
            let query = remedy("c", &missing(needed, None, true, true)).unwrap();
            assert_eq!(
                query,
                format!("connection=c&connection_scope={asked_for}&access_type=offline&prompt=consent")
            );
        }
    }

    #[test]
    fn a_login_cures_a_dead_token_and_a_claims_challenge_and_no_limit() {
        let dead = Verdict::TokenDead { is_named: false };
        assert_eq!(remedy("c", &dead).as_deref(), Some("connection=c&access_type=offline&prompt=consent"));
        assert_eq!(remedy("c", &Verdict::ClaimsChallenge).as_deref(), Some("connection=c&prompt=login"));
        assert_eq!(remedy("c", &Verdict::RateLimited { retry_after: None }), None);
    }

    #[test]
    fn there_is_no_remedy_where_a_login_would_be_a_guess() {
        assert_eq!(remedy("c", &missing("", None, false, false)), None);
        assert_eq!(remedy("c", &missing("contents=write", None, false, true)), None);
    }
}

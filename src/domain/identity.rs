//! A user's profile as far as this program cares: identities, their tokens, and which of them a selector means.

use std::mem::size_of;

use crate::secret::{Secret, Tag};

use super::freshness::{Deadline, Timestamp};
use super::user::{Selector, UserId};

/// What Auth0 knows of a user, less everything we have no use for. Refresh tokens are never kept.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The id Auth0 answered with.
    pub user_id: UserId,
    /// Auth0 refuses this user's logins; so do we refuse their tokens.
    pub blocked: bool,
    /// The primary identity first, linked ones after it, as Auth0 orders them.
    pub identities: Vec<Identity>,
}

/// One account at one identity provider.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The connection's name: the right selector.
    pub connection: String,
    /// The provider's name; an open set.
    pub provider: String,
    /// The account's id at the provider. Auth0 sends a number for some providers; here it is always text.
    pub user_id: String,
    /// Whether Auth0 counts the provider as social.
    pub is_social: bool,
    /// The token the provider issued, if Auth0 has it and lets us see it.
    pub token: Option<IdpToken>,
}

/// An access token that an identity provider issued to a user.
#[derive(Clone, Debug)]
pub struct IdpToken {
    /// The token.
    pub access_token: Secret,
    /// Its second half where the provider speaks OAuth 1: the token is useless without it.
    pub access_token_secret: Option<Secret>,
    /// When it dies, if that is known.
    pub expires: Option<Deadline>,
    /// How we know.
    pub basis: ExpiryBasis,
    /// Names the token without telling it.
    pub fingerprint: Tag,
}

/// Where an expiry comes from. Where several sources know one, the earliest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryBasis {
    /// The token's own `exp` claim.
    Jwt,
    /// `last_login + expires_in`: an upper bound where identities are linked, since `last_login` is the user's.
    Login,
    /// Nothing is known.
    None,
}

impl ExpiryBasis {
    /// As it is written in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Login => "login",
            Self::None => "none",
        }
    }
}

/// The earliest of the expiries that the sources know, and which source that is.
pub fn earliest(jwt: Option<Timestamp>, login: Option<Timestamp>) -> (Option<Timestamp>, ExpiryBasis) {
    match (jwt, login) {
        (Some(jwt), Some(login)) if login < jwt => (Some(login), ExpiryBasis::Login),
        (Some(jwt), _) => (Some(jwt), ExpiryBasis::Jwt),
        (None, Some(login)) => (Some(login), ExpiryBasis::Login),
        (None, None) => (None, ExpiryBasis::None),
    }
}

/// Why a selector leads to no token of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSelection {
    /// The user has no such identity; these are the connections there are.
    IdentityNotFound(Vec<String>),
    /// The identity, or every identity, carries no token.
    NoToken,
    /// Several identities that match carry one; these are their connections.
    Ambiguous(Vec<String>),
}

impl Profile {
    /// The identity that `selector` means, and its token.
    ///
    /// Never by position: only one match may carry a token, dead or alive, so that which identity is meant does
    /// not change when a token expires.
    pub fn select(&self, selector: &Selector) -> Result<(&Identity, &IdpToken), NoSelection> {
        let shown = || self.identities.iter().filter(|identity| selector.shows(&identity.connection));
        let matching = || shown().filter(|identity| identity.matches(selector));
        let mut found = matching().filter_map(Identity::with_token);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => {
                let several = matching().filter_map(Identity::with_token).map(|(identity, _)| identity);
                Err(NoSelection::Ambiguous(connections(several)))
            }
            (None, _) if matching().next().is_none() && *selector != Selector::default() => {
                Err(NoSelection::IdentityNotFound(connections(shown())))
            }
            (None, _) => Err(NoSelection::NoToken),
        }
    }

    /// Bytes of memory this profile takes, its own struct included.
    pub fn weight(&self) -> usize {
        let identities: usize = self.identities.iter().map(Identity::weight).sum();
        size_of::<Self>().saturating_add(self.user_id.as_str().len()).saturating_add(identities)
    }
}

impl Identity {
    fn matches(&self, selector: &Selector) -> bool {
        selector.connection.as_ref().is_none_or(|wanted| *wanted == self.connection)
            && selector.provider.as_ref().is_none_or(|wanted| *wanted == self.provider)
    }

    fn with_token(&self) -> Option<(&Self, &IdpToken)> {
        self.token.as_ref().map(|token| (self, token))
    }

    fn weight(&self) -> usize {
        let texts = [self.connection.len(), self.provider.len(), self.user_id.len()];
        let secrets = self.token.as_ref().map_or(0, |token| {
            let second = token.access_token_secret.as_ref().map_or(0, Secret::len);
            token.access_token.len().saturating_add(second)
        });
        size_of::<Self>().saturating_add(texts.iter().sum()).saturating_add(secrets)
    }
}

/// Each connection once, in the order of the identities.
fn connections<'a>(identities: impl Iterator<Item = &'a Identity>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for identity in identities {
        if !names.contains(&identity.connection) {
            names.push(identity.connection.clone());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::TagKey;

    fn identity(connection: &str, provider: &str, token: Option<&str>) -> Identity {
        Identity {
            connection: connection.into(),
            provider: provider.into(),
            user_id: "1".into(),
            is_social: true,
            token: token.map(|text| IdpToken {
                access_token: Secret::new(text),
                access_token_secret: None,
                expires: None,
                basis: ExpiryBasis::None,
                fingerprint: TagKey::random().unwrap().tag("token", text),
            }),
        }
    }

    fn profile(identities: Vec<Identity>) -> Profile {
        Profile { user_id: UserId::parse("auth0|1").unwrap(), blocked: false, identities }
    }

    fn pick(
        profile: &Profile,
        connection: Option<&str>,
        provider: Option<&str>,
    ) -> Result<String, NoSelection> {
        let selector = Selector {
            connection: connection.map(Into::into),
            provider: provider.map(Into::into),
            within: None,
        };
        profile.select(&selector).map(|(_, token)| token.access_token.expose().to_owned())
    }

    #[test]
    fn without_a_selector_the_only_token_is_meant_wherever_it_stands() {
        let linked = profile(vec![identity("db", "auth0", None), identity("gh", "github", Some("t"))]);
        assert_eq!(pick(&linked, None, None), Ok("t".into()));
        assert_eq!(
            pick(&profile(vec![identity("db", "auth0", None)]), None, None),
            Err(NoSelection::NoToken)
        );
        assert_eq!(pick(&profile(vec![]), None, None), Err(NoSelection::NoToken));
    }

    #[test]
    fn several_tokens_need_a_selector_and_either_half_may_do() {
        let two = profile(vec![
            identity("corp-a", "waad", Some("a")),
            identity("corp-b", "waad", Some("b")),
            identity("google-oauth2", "google-oauth2", Some("g")),
        ]);
        let all = vec!["corp-a".into(), "corp-b".into(), "google-oauth2".into()];
        assert_eq!(pick(&two, None, None), Err(NoSelection::Ambiguous(all.clone())));
        assert_eq!(pick(&two, None, Some("waad")), Err(NoSelection::Ambiguous(all[..2].to_vec())));
        assert_eq!(pick(&two, Some("corp-b"), None), Ok("b".into()));
        assert_eq!(pick(&two, None, Some("google-oauth2")), Ok("g".into()));
        assert_eq!(pick(&two, Some("corp-a"), Some("github")), Err(NoSelection::IdentityNotFound(all)));
    }

    #[test]
    fn an_identity_that_is_there_but_empty_is_no_token_rather_than_no_identity() {
        let linked = profile(vec![identity("db", "auth0", None), identity("gh", "github", Some("t"))]);
        assert_eq!(pick(&linked, Some("db"), None), Err(NoSelection::NoToken));
        assert_eq!(
            pick(&linked, Some("google-oauth2"), None),
            Err(NoSelection::IdentityNotFound(vec!["db".into(), "gh".into()]))
        );
    }

    #[test]
    fn what_a_caller_is_not_shown_is_not_there() {
        let two = profile(vec![identity("a", "p", Some("t")), identity("b", "p", Some("u"))]);
        let pick = |connection: Option<&str>, within: &[&str]| {
            let within = Some(within.iter().map(|&name| name.to_owned()).collect());
            let selector = Selector { connection: connection.map(Into::into), provider: None, within };
            two.select(&selector).map(|(_, token)| token.access_token.expose().to_owned())
        };
        assert_eq!(pick(None, &["b"]), Ok("u".into()), "so nothing is ambiguous");
        assert_eq!(pick(Some("a"), &["b"]), Err(NoSelection::IdentityNotFound(vec!["b".into()])));
        assert_eq!(pick(None, &["c"]), Err(NoSelection::IdentityNotFound(vec![])));
    }

    #[test]
    fn the_earliest_known_expiry_counts() {
        let (early, late) = (Timestamp::from_secs(10), Timestamp::from_secs(20));
        assert_eq!(earliest(Some(early), Some(late)), (Some(early), ExpiryBasis::Jwt));
        assert_eq!(earliest(Some(late), Some(early)), (Some(early), ExpiryBasis::Login));
        assert_eq!(earliest(None, Some(late)), (Some(late), ExpiryBasis::Login));
        assert_eq!(earliest(None, None), (None, ExpiryBasis::None));
    }
}

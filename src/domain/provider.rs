//! Identity providers' token endpoints: how a client authenticates, what becomes of refresh tokens, and what a refusal
//! means.
//!
//! A refresh token counts as refused only by the codes that its provider is known to send for that. Every other refusal
//! is an operator's to fix, or passes: a wrong client secret or an outage must not make users log in. What a provider
//! sends is compared with known texts and dropped.

use super::source::{OverReason, Processed};

mod common;
mod row;
mod sign;
mod table;

pub use row::{Endpoint, Provider, ProviderAuth};
pub use sign::{Meaning, RefusalParts, Sign};
pub use table::PROVIDERS;

impl Provider {
    /// The provider with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PROVIDERS.iter().find(|provider| provider.name == name)
    }

    /// What a refusal means.
    pub fn meaning_of(&self, refusal: &RefusalParts<'_>) -> Meaning {
        match refusal.status {
            429 => return Meaning::Throttled,
            // Whatever the body says: the server, or a host in front of it, may have failed at any point.
            408 | 500.. => return Meaning::Passing(Processed::Unknown),
            _ => {}
        }
        let meant = |signs: &[(Sign, Meaning)]| {
            signs.iter().find(|(sign, _)| sign.is_in(refusal)).map(|(_, meaning)| meaning.clone())
        };
        let refused = || self.refused.iter().find(|sign| sign.is_in(refusal));
        meant(self.signs)
            .or_else(|| refused().map(|_| Meaning::Over(OverReason::RefreshRefused)))
            .or_else(|| meant(common::SIGNS))
            // A refusal for an unknown reason, or a page of a host on the way. No token was issued.
            .unwrap_or(Meaning::Passing(Processed::No))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(provider: &str, refusal: RefusalParts<'_>) -> Meaning {
        Provider::named(provider).unwrap().meaning_of(&refusal)
    }

    #[test]
    fn names_are_unique_and_every_provider_has_a_sign_of_its_own_for_a_refused_token() {
        let mut names: Vec<_> = PROVIDERS.iter().map(|provider| provider.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PROVIDERS.len());
        assert!(PROVIDERS.iter().all(|provider| !provider.refused.is_empty()));
    }

    #[test]
    fn a_server_that_fails_shows_nothing_about_the_token_whatever_the_body_says() {
        for provider in PROVIDERS {
            for status in [408, 500, 503, 599] {
                let refusal = RefusalParts { status, code: "invalid_grant", ..RefusalParts::default() };
                let meaning = provider.meaning_of(&refusal);
                assert_eq!(meaning, Meaning::Passing(Processed::Unknown), "{}", provider.name);
            }
            let refusal = RefusalParts { status: 429, code: "invalid_grant", ..RefusalParts::default() };
            assert_eq!(provider.meaning_of(&refusal), Meaning::Throttled);
        }
    }

    #[test]
    fn a_code_of_another_provider_ends_nothing() {
        let refusal = |code| RefusalParts { status: 400, code, ..RefusalParts::default() };
        for (provider, code) in [
            ("google", "bad_refresh_token"),
            ("google", "BAD_REFRESH_TOKEN"),
            ("github", "invalid_refresh_token"),
            ("oauth2", "access_denied"),
            ("oauth2", "unauthorized"),
            ("oauth2", ""),
        ] {
            let meaning = meaning(provider, refusal(code));
            assert_eq!(meaning, Meaning::Passing(Processed::No), "{provider} {code}");
        }
    }
}

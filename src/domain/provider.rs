//! Identity providers' token endpoints: how a client authenticates, what becomes of refresh tokens, and what a refusal
//! means.
//!
//! A refresh token counts as refused only by the codes that its provider is known to send for that. Every other refusal
//! is an operator's to fix, or passes: a wrong client secret or an outage must not make users log in. What a provider
//! sends is compared with known texts and dropped.

use std::time::Duration;

use super::source::{OverReason, Processed, Rotation, SourceFault};

mod common;
mod table;

pub use table::PROVIDERS;

/// A built-in provider. A connection can override everything but the name and the signs.
#[derive(Debug)]
pub struct Provider {
    /// The name in the configuration.
    pub name: &'static str,
    /// The token endpoint.
    pub token_endpoint: Endpoint,
    /// How the client authenticates.
    pub client_auth: ProviderAuth,
    /// What becomes of a refresh token that is redeemed.
    pub rotation: Rotation,
    /// For how long a redeemed refresh token can be redeemed once more, after its answer was lost.
    pub grace: Duration,
    /// How the provider says that it does not accept the refresh token.
    pub refused: &'static [Sign],
    /// Further signs of the provider. They take precedence over `refused` and over the signs that are common to all.
    pub signs: &'static [(Sign, Meaning)],
}

/// Two providers are the same if they have the same name.
impl PartialEq for Provider {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Provider {}

/// The token endpoint of a built-in provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// This URL, unless the connection has another, such as that of a self-managed installation.
    At(&'static str),
    /// The URL depends on a tenant or an installation, so that the connection has to state it. What it looks like.
    Like(&'static str),
}

/// How a connection's client authenticates at a token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderAuth {
    /// Id and secret in the form.
    Post,
    /// Id and secret in the `Authorization` header.
    Basic,
}

impl ProviderAuth {
    /// The method with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Post, Self::Basic].into_iter().find(|auth| auth.as_str() == name)
    }

    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Basic => "basic",
        }
    }
}

/// A part of a refusal that shows what it means.
#[derive(Clone, Copy, Debug)]
pub enum Sign {
    /// The error code.
    Code(&'static str),
    /// The error code, and words of a description, in lower case. For codes that mean several things.
    Described(&'static str, &'static str),
    /// The code that narrows the error code down.
    Subcode(&'static str),
    /// One of the numbers beside the error code.
    Number(u64),
}

/// What a refusal means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Only the user can do something about it.
    Over(OverReason),
    /// Only an operator can do something about it.
    Misconfigured(SourceFault),
    /// Too many requests. This one was not processed.
    Throttled,
    /// Something that is likely to pass.
    Passing(Processed),
}

/// What a token endpoint says when it issues no token.
#[derive(Clone, Copy, Debug, Default)]
pub struct RefusalParts<'a> {
    /// The status of the answer.
    pub status: u16,
    /// The error code; empty if there is none that can be read.
    pub code: &'a str,
    /// A code that narrows it down; empty if there is none.
    pub subcode: &'a str,
    /// The descriptions, in which known words are looked for.
    pub descriptions: [&'a str; 2],
    /// Numbers beside the code.
    pub numbers: &'a [u64],
}

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

impl Sign {
    fn is_in(&self, refusal: &RefusalParts<'_>) -> bool {
        match self {
            Self::Code(code) => refusal.code == *code,
            Self::Described(code, words) => {
                refusal.code == *code && refusal.descriptions.iter().any(|text| contains(text, words))
            }
            Self::Subcode(code) => refusal.subcode == *code,
            Self::Number(number) => refusal.numbers.contains(number),
        }
    }
}

/// Whether `text` contains `words`, which are in lower case.
fn contains(text: &str, words: &str) -> bool {
    let (text, words) = (text.as_bytes(), words.as_bytes());
    text.windows(words.len().max(1)).any(|part| part.eq_ignore_ascii_case(words))
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

    #[test]
    fn words_are_found_in_any_case_and_part_of_a_text() {
        assert!(contains("The Refresh Token is expired", "refresh token"));
        assert!(!contains("refresh", "refresh token") && !contains("", "refresh token"));
    }
}

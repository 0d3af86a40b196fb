//! The meanings of a refusal, and the value of `Cloakroom-Verdict`.

use std::fmt::Write as _;
use std::time::Duration;

use crate::domain::retry::whole_seconds;

use super::scopes::Scopes;

/// What an API's refusal says about the token, or about a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The API does not accept the token any more. Another token can cure that.
    TokenDead {
        /// Whether the answer names it by a code that the provider documents, so that the call was refused before it
        /// had an effect. A 401 alone names nothing.
        is_named: bool,
    },
    /// The user has to sign in once more, with what a policy demands. No refresh cures that: Microsoft's claims
    /// challenge, and the step-up of RFC 9470.
    ClaimsChallenge,
    /// The token lacks a scope.
    MissingScope {
        /// The scopes that the call needs and the token lacks; empty if the answer names none.
        needed: Scopes,
        /// All scopes of the token; `None` if the answer does not list them, or lists some that are not passed on.
        held: Option<Scopes>,
        /// Whether one of `needed` suffices.
        any_of: bool,
        /// Whether the answer leaves no other explanation.
        is_certain: bool,
    },
    /// The caller, the application or the user has sent too many requests.
    RateLimited {
        /// How long to wait, between a second and a day; `None` if the answer does not say.
        retry_after: Option<Duration>,
    },
}

impl Verdict {
    /// The names of all verdicts, as [`Self::as_str`] has them.
    pub const NAMES: [&'static str; 4] = ["token_dead", "claims_challenge", "missing_scope", "rate_limited"];

    /// The verdict's name: the token with which [`Self::header_value`] begins.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::TokenDead { .. } => "token_dead",
            Self::ClaimsChallenge => "claims_challenge",
            Self::MissingScope { .. } => "missing_scope",
            Self::RateLimited { .. } => "rate_limited",
        }
    }

    /// A missing scope that the answer states and does not name.
    pub(super) fn unnamed_scope(is_certain: bool) -> Self {
        Self::MissingScope { needed: Scopes::default(), held: None, any_of: false, is_certain }
    }

    /// Whether the token is not to be used any more. Only then can another token cure the refusal.
    pub const fn condemns_token(&self) -> bool {
        matches!(self, Self::TokenDead { .. })
    }

    /// Whether the call may be made once more with another token. A named code says that the call was refused at
    /// authentication; after a 401 alone, only a method that changes nothing is repeated (RFC 9110 §9.2.1).
    pub fn permits_retry(&self, method: &str) -> bool {
        match self {
            Self::TokenDead { is_named } => *is_named || matches!(method, "GET" | "HEAD" | "OPTIONS"),
            _ => false,
        }
    }

    /// The value of `Cloakroom-Verdict`: an item as in RFC 8941 §3.3, printable ASCII, at most 3 KiB.
    ///
    /// ```text
    /// verdict       = "token_dead" / "claims_challenge" / missing-scope / rate-limited
    /// missing-scope = "missing_scope" [ "; needed=" scopes ] [ "; held=" scopes ] [ "; any_of" ] [ "; maybe" ]
    /// rate-limited  = "rate_limited" [ "; retry_after=" 1*DIGIT ]
    /// scopes        = DQUOTE [ scope *( SP scope ) ] DQUOTE
    /// ```
    ///
    /// `any_of` means that one of `needed` suffices, `maybe` that the refusal can have another cause, such as a
    /// resource that does not exist. Seconds are whole.
    pub fn header_value(&self) -> String {
        let mut value = self.as_str().to_owned();
        match self {
            Self::TokenDead { .. } | Self::ClaimsChallenge => {}
            Self::MissingScope { needed, held, any_of, is_certain } => {
                if !needed.is_empty() {
                    append(&mut value, format_args!("; needed=\"{needed}\""));
                }
                if let Some(held) = held {
                    append(&mut value, format_args!("; held=\"{held}\""));
                }
                if *any_of {
                    value.push_str("; any_of");
                }
                if !is_certain {
                    value.push_str("; maybe");
                }
            }
            Self::RateLimited { retry_after } => {
                if let Some(wait) = retry_after {
                    append(&mut value, format_args!("; retry_after={}", whole_seconds(*wait)));
                }
            }
        }
        value
    }
}

fn append(text: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    text.write_fmt(part).unwrap_or_default();
}

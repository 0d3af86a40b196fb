//! Signs by which a refusal is recognized, and what they mean.

use crate::domain::source::{OverReason, Processed, SourceFault};

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

impl Sign {
    /// Whether the refusal has the sign.
    pub(super) fn is_in(&self, refusal: &RefusalParts<'_>) -> bool {
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

    #[test]
    fn words_are_found_in_any_case_and_part_of_a_text() {
        assert!(contains("The Refresh Token is expired", "refresh token"));
        assert!(!contains("refresh", "refresh token") && !contains("", "refresh token"));
    }
}

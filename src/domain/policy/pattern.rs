//! Patterns of user ids: text in which `*` matches any run of characters, including the empty one.

use std::fmt;

/// A pattern such as `google-oauth2|*`. There is no escape for a literal `*`, because no id of Auth0's contains one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The texts between the stars; one more than there are stars, so never empty.
    parts: Box<[String]>,
}

impl Pattern {
    /// The pattern `text`. Every text is a valid pattern.
    pub fn new(text: &str) -> Self {
        Self { parts: text.split('*').map(str::to_owned).collect() }
    }

    /// Whether the pattern matches the whole of `text`. The time is at most proportional to the product of both
    /// lengths.
    pub fn matches(&self, text: &str) -> bool {
        let [first, rest @ ..] = &*self.parts else { return false };
        let [between @ .., last] = rest else { return text == first };
        let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
        // Matching each part as early as possible leaves the most text for the parts after it.
        for part in between {
            match text.split_once(part.as_str()) {
                Some((_, after)) => text = after,
                None => return false,
            }
        }
        text.ends_with(last.as_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.join("*"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: tries every split.
    fn slowly(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|at| slowly(rest, &text[at..])),
            [one, rest @ ..] => text.first() == Some(one) && slowly(rest, &text[1..]),
        }
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern).matches(text);
        for (pattern, text) in [
            ("*", ""),
            ("*", "a"),
            ("google-oauth2|*", "google-oauth2|1"),
            ("a*b*c", "abbc"),
            ("a", "a"),
            ("**", "a"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("a", "ab"),
            ("google-oauth2|*", "google-oauth2"),
            ("google-oauth2|*", "xgoogle-oauth2|1"),
            ("ab*ba", "aba"),
            ("*b", "bc"),
            ("A*", "a"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_it_should(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let (of, chars): (Vec<_>, Vec<_>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), slowly(&of, &chars));
            prop_assert_eq!(Pattern::new(&pattern).to_string(), pattern);
        }
    }
}

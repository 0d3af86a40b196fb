//! Challenges of `WWW-Authenticate` (RFC 9110 §11.6.1), as real APIs write them.

use super::sample::Sample;

/// The most challenges of one header that are read.
const MOST: usize = 16;

/// One challenge: a scheme with its parameters, names in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge(Vec<(String, String)>);

impl Challenge {
    /// The parameter with this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// All challenges of an answer, in one header or in several.
pub(super) fn challenges(sample: &Sample<'_>) -> Vec<Challenge> {
    sample.texts("www-authenticate").iter().take(MOST).flat_map(|text| parse(text)).collect()
}

/// Reads what can be read. Values may be quoted or not: an unquoted one reaches to the next comma. A text in quotes
/// that is no value is skipped (Facebook: `OAuth "Facebook Platform" "invalid_token"`), and so are a value
/// that does not end and a parameter without a scheme.
fn parse(text: &str) -> Vec<Challenge> {
    let (mut found, mut rest) = (Vec::<Challenge>::new(), text);
    while found.len() < MOST {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            break;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = unquote(quoted).1;
            continue;
        }
        let end = rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let Some(value) = after.trim_start().strip_prefix('=') else {
            found.push(Challenge::default());
            rest = after;
            continue;
        };
        let (value, after) = read_value(value.trim_start());
        rest = after;
        if let (Some(challenge), Some(value)) = (found.last_mut(), value) {
            challenge.0.push((word.to_ascii_lowercase(), value));
        }
    }
    found
}

/// A value and what follows it.
fn read_value(text: &str) -> (Option<String>, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        return unquote(quoted);
    }
    let (value, after) = text.split_at(text.find(',').unwrap_or(text.len()));
    (Some(value.trim_end().to_owned()), after)
}

/// The text up to the closing quote, without its escapes, and what follows; no text if no quote closes it.
fn unquote(text: &str) -> (Option<String>, &str) {
    let (mut value, mut chars) = (String::new(), text.chars());
    loop {
        match chars.next() {
            Some('"') => return (Some(value), chars.as_str()),
            Some('\\') => value.extend(chars.next()),
            Some(other) => value.push(other),
            None => return (None, ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<Vec<(String, String)>> {
        parse(text).into_iter().map(|challenge| challenge.0).collect()
    }

    fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn parameters_may_be_quoted_or_not_and_several_challenges_may_share_a_header() {
        assert_eq!(
            read(r#"Basic realm="a, b=\"c\"", Bearer Error=invalid_token, scope = "x y" ,DPoP algs="ES256""#),
            [
                owned(&[("realm", r#"a, b="c""#)]),
                owned(&[("error", "invalid_token"), ("scope", "x y")]),
                owned(&[("algs", "ES256")]),
            ]
        );
        assert_eq!(read("Bearer scope=a b, error=e"), [owned(&[("scope", "a b"), ("error", "e")])]);
        assert_eq!(read("Token"), [owned(&[])]);
        assert!(read("").is_empty());
    }

    #[test]
    fn what_has_no_place_is_skipped() {
        let facebook = r#"OAuth "Facebook Platform" "invalid_token" "The session, has error=expired.""#;
        assert_eq!(read(facebook), [owned(&[])]);
        assert!(read("= x, error=invalid_token").is_empty());
        assert_eq!(read(r#"Bearer error="e", scope="cut o"#), [owned(&[("error", "e")])]);
        assert_eq!(read(r#"Bearer error="e\"#), [owned(&[])]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[ ,=\"\\\\a-cä]{0,64}|.{0,200}") {
            prop_assert!(parse(&text).len() <= MOST);
        }
    }
}

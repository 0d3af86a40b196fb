//! Patterns of user ids, against their definition.

use cloakroom::domain::policy::pattern::Pattern;

/// The definition takes time in proportion to the product of both lengths.
const LONGEST: usize = 512;

/// The first line is a pattern, the rest the text.
pub fn matches(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let (pattern, text) = input.split_once('\n').unwrap_or((input, ""));
    if pattern.len().max(text.len()) > LONGEST {
        return;
    }
    let parsed = Pattern::new(pattern);
    assert_eq!(parsed.to_string(), pattern);
    assert_eq!(parsed.matches(text), by_definition(pattern, text), "{pattern:?} {text:?}");
    assert!(Pattern::new("*").matches(text), "{text:?}");
    if !text.contains('*') {
        assert!(Pattern::new(text).matches(text), "{text:?}");
    }
}

/// Character by character: which beginnings of `text` are of the pattern so far.
fn by_definition(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for wanted in pattern.chars() {
        let mut next = vec![false; text.len() + 1];
        for end in 0..=text.len() {
            next[end] = match wanted {
                '*' => reached[end] || (end > 0 && next[end - 1]),
                _ => end > 0 && reached[end - 1] && text[end - 1] == wanted,
            };
        }
        reached = next;
    }
    reached[text.len()]
}

//! Characters that cannot be seen, or that change how others are shown: what a text from elsewhere must not bring along.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Unicode 16.0: general categories Cf (DerivedGeneralCategory.txt), Zl and Zp, `Default_Ignorable_Code_Point`
/// (DerivedCoreProperties.txt), and the variation selectors. Bidirectional marks are among them, and tags.
const RANGES: [RangeInclusive<char>; 24] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{600}'..='\u{605}',
    '\u{61c}'..='\u{61c}',
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{110bd}'..='\u{110cd}',
    '\u{13430}'..='\u{1343f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Whether a character is a control (C0, DEL, C1) or one of those that cannot be seen.
pub fn is_unseen(c: char) -> bool {
    c.is_control() || (c > '\u{7f}' && RANGES.iter().any(|range| range.contains(&c)))
}

/// `text` with each such character written by `escape` instead, and copied only where there is one.
pub fn escaped(text: &str, mut escape: impl FnMut(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut all = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unseen(c) { escape(c, &mut all) } else { all.push(c) }
    }
    Cow::Owned(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_is_left_alone() {
        let seen: String = (' '..='~').chain("äöüßéñçλжשم中字🔑€§° \u{301}\u{fffd}".chars()).collect();
        assert_eq!(escaped(&seen, |_, _| unreachable!()), Cow::Borrowed(seen.as_str()));
    }

    #[test]
    fn every_control_and_every_mark_of_direction_is_found() {
        let controls = ('\0'..=' ').filter(|c| *c != ' ').chain('\u{7f}'..='\u{9f}');
        let marks = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\
                     \u{2028}\u{2029}\u{feff}\u{200b}\u{ad}\u{e0041}\u{fe0f}";
        for c in controls.chain(marks.chars()) {
            assert!(is_unseen(c), "{c:?}");
        }
        assert_eq!(escaped("a\u{202e}b", |c, to| to.extend(c.escape_unicode())), "a\\u{202e}b");
    }
}

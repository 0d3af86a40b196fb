//! Characters that are invisible or change how others are displayed. They are escaped in texts from peers, and rejected
//! in settings.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

/// The invisible characters of Unicode 16.0: general categories Cf (DerivedGeneralCategory.txt), Zl and Zp,
/// `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt), and the variation selectors. Bidirectional marks are
/// among them, and tags.
const INVISIBLE: [RangeInclusive<char>; 24] = [
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

/// Characters that look like a space or a missing character: the other separators Zs, the blank Braille pattern, and
/// U+FFFC and U+FFFD, of which the latter replaces bytes that are not UTF-8.
const BLANK: [RangeInclusive<char>; 8] = [
    '\u{a0}'..='\u{a0}',
    '\u{1680}'..='\u{1680}',
    '\u{2000}'..='\u{200a}',
    '\u{202f}'..='\u{202f}',
    '\u{205f}'..='\u{205f}',
    '\u{2800}'..='\u{2800}',
    '\u{3000}'..='\u{3000}',
    '\u{fffc}'..='\u{fffd}',
];

/// Whether a character is a control (C0, DEL, C1) or invisible.
pub fn is_unseen(c: char) -> bool {
    c.is_control() || is_in(&INVISIBLE, c)
}

fn is_in(ranges: &[RangeInclusive<char>], c: char) -> bool {
    c > '\u{7f}' && ranges.iter().any(|range| range.contains(&c))
}

/// `text` with each unseen character replaced by what `escape` writes. Copied only if there is one.
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

/// An invisible or blank character. Prints as its code point and, where it is a common one, its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invisible(char);

/// Finds the first invisible or blank character of `text`. Control characters and U+0020 are left to the caller.
pub fn first(text: &str) -> Option<Invisible> {
    text.chars().find(|c| is_in(&INVISIBLE, *c) || is_in(&BLANK, *c)).map(Invisible)
}

impl fmt::Display for Invisible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            '\u{a0}' => "no-break space",
            '\u{ad}' => "soft hyphen",
            '\u{2000}'..='\u{200a}' | '\u{205f}' | '\u{3000}' => "a space of another width",
            '\u{200b}' => "zero width space",
            '\u{200c}' => "zero width non-joiner",
            '\u{200d}' => "zero width joiner",
            '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                "a mark of writing direction"
            }
            '\u{2028}' => "line separator",
            '\u{2029}' => "paragraph separator",
            '\u{202f}' => "narrow no-break space",
            '\u{2060}' => "word joiner",
            '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => "variation selector",
            '\u{feff}' => "byte order mark",
            '\u{fffd}' => "in place of bytes that are not UTF-8",
            '\u{e0001}' | '\u{e0020}'..='\u{e007f}' => "tag character",
            _ => return write!(f, "U+{:04X}", u32::from(self.0)),
        };
        write!(f, "U+{:04X} ({name})", u32::from(self.0))
    }
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

    #[test]
    fn invisible_characters_are_named_and_visible_ones_are_not() {
        for (text, name) in [
            ("a\u{200b}b", "U+200B (zero width space)"),
            ("\u{feff}a", "U+FEFF (byte order mark)"),
            ("a\u{feff}", "U+FEFF (byte order mark)"),
            ("a\u{a0}", "U+00A0 (no-break space)"),
            ("a\u{ad}", "U+00AD (soft hyphen)"),
            ("a\u{2060}", "U+2060 (word joiner)"),
            ("a\u{202e}", "U+202E (a mark of writing direction)"),
            ("a\u{2069}", "U+2069 (a mark of writing direction)"),
            ("a\u{fe0f}", "U+FE0F (variation selector)"),
            ("a\u{e0041}", "U+E0041 (tag character)"),
            ("a\u{3164}", "U+3164"),
            ("a\u{3000}", "U+3000 (a space of another width)"),
            ("a\u{fffd}", "U+FFFD (in place of bytes that are not UTF-8)"),
        ] {
            assert_eq!(first(text).map(|found| found.to_string()), Some(name.to_owned()), "{text:?}");
        }
        let visible: String = (' '..='~').chain("äöüßéñçλжשم中字🔑€§°".chars()).collect();
        assert_eq!(first(&visible), None);
    }

    #[test]
    fn no_space_but_the_one_passes() {
        let passed = ('\u{0}'..='\u{10ffff}')
            .filter(|c| c.is_whitespace() && !c.is_control() && first(c.encode_utf8(&mut [0; 4])).is_none());
        assert_eq!(passed.collect::<Vec<_>>(), [' ']);
    }
}

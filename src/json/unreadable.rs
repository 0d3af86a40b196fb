//! Reads well-formed JSON in which a single text or number cannot be represented.
//!
//! JSON's grammar allows more than Rust's types hold: `"\ud800"`, half of a surrogate pair, which programs send that
//! cut texts after a number of UTF-16 units, or `1e999`. Bytes that are not UTF-8 are treated the same way. serde_json
//! rejects the whole document for one such value. Here the value is blanked and the document is read once more, so that
//! only that value is missing.

use serde::de::{DeserializeOwned, IgnoredAny};

/// The character that fills a text which cannot be read, so that it equals no other: no token (RFC 6749 appendix A),
/// connection name or id contains DEL.
pub const BLANK: char = '\u{7f}';

/// The replacement of a number that cannot be read: it is read neither as a number nor as null.
const NO_NUMBER: &[u8] = b"true";

/// The length from which a number without an exponent can be too large.
const LONG_NUMBER: usize = 300;

/// Reads a document that is one object. A text in it that cannot be read is filled with [`BLANK`].
pub fn object<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    // The first attempt nearly always succeeds. A document that is not JSON has nothing to blank.
    super::object(json).ok().or_else(|| super::object(&blanked(json)?).ok())
}

/// `json` with each value blanked that cannot be read, at an equal length; `None` if there is none. Only well-formed
/// values are replaced, and by well-formed ones, so that a document that is not JSON stays invalid.
fn blanked(json: &[u8]) -> Option<Vec<u8>> {
    let (mut rest, mut blanked, mut is_changed) = (json, Vec::with_capacity(json.len()), false);
    while let [first, ..] = rest {
        let length = match first {
            b'"' => text(rest),
            b'-' | b'0'..=b'9' => number(rest),
            _ => 1,
        };
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        rest = after;
        match first {
            b'"' if is_unreadable_text(piece) => {
                blanked.push(b'"');
                blanked.resize(blanked.len().saturating_add(piece.len()).saturating_sub(2), BLANK as u8);
                blanked.push(b'"');
                is_changed = true;
            }
            b'-' | b'0'..=b'9' if is_unreadable_number(piece) => {
                blanked.extend_from_slice(NO_NUMBER);
                let spaces = piece.len().saturating_sub(NO_NUMBER.len());
                blanked.resize(blanked.len().saturating_add(spaces), b' ');
                is_changed = true;
            }
            _ => blanked.extend_from_slice(piece),
        }
    }
    is_changed.then_some(blanked)
}

/// The length of the text that `json` begins with, its quotes included.
fn text(json: &[u8]) -> usize {
    let mut is_escaped = false;
    let closes = |byte: &u8| {
        let closes = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        closes
    };
    json.iter().skip(1).position(closes).map_or(json.len(), |at| at.saturating_add(2))
}

/// The length of the number that `json` begins with.
fn number(json: &[u8]) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    json.iter().position(|byte| !is_part(byte)).unwrap_or(json.len())
}

fn is_unreadable_text(text: &[u8]) -> bool {
    // Most texts are ASCII without escapes, and always readable.
    (!text.is_ascii() || text.contains(&b'\\'))
        && is_well_formed(text)
        && serde_json::from_slice::<String>(text).is_err()
}

fn is_unreadable_number(number: &[u8]) -> bool {
    (number.len() > LONG_NUMBER || number.contains(&b'e') || number.contains(&b'E'))
        && is_well_formed(number)
        && serde_json::from_slice::<f64>(number).is_err()
}

/// Whether `json` follows JSON's grammar.
fn is_well_formed(json: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(json).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &[u8]) -> Option<String> {
        blanked(json).map(|blanked| {
            assert_eq!(blanked.len(), json.len());
            String::from_utf8(blanked).unwrap()
        })
    }

    #[test]
    fn what_cannot_be_read_is_blanked_and_nothing_else() {
        assert_eq!(
            of(br#"{"a\ud800":"\ud83d\ude00","b":1}"#).unwrap(),
            "{\"\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\":\"\\ud83d\\ude00\",\"b\":1}"
        );
        assert_eq!(
            of(b"[\"\xff\", \"\\\"\xfe\\\\\", -1e999,2]").unwrap(),
            "[\"\u{7f}\", \"\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\", true  ,2]"
        );
        for readable in [
            &br#"{"a":"b\\","c":["\u00e9","\\ud800",1e308,-1.5E-999,0]}"#[..],
            b"",
            b"{",
            b"\"",
            b"\"\\",
            b"<html>\xff</html>",
            b"\"\xff",
            b"\"\xff\n\"",
            b"\"\\ud800\\q\"",
            b"01e999",
            b"1.e999",
            b"1e999.5",
            b"-",
        ] {
            assert_eq!(of(readable), None, "{}", String::from_utf8_lossy(readable));
        }
    }
}

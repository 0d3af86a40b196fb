//! What is read of header fields in several places: what `Connection` lists, what `Content-Length` states, and which names
//! are spellings of one.

use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName};

/// A `Content-Length` that is no number, or several that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotALength;

/// The options in all `Connection` headers of a message (RFC 9110 §7.6.1), without empty ones.
pub fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(CONNECTION).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.is_empty())
}

/// The length that a message states, `None` if it states none. Several equal values are one (RFC 9112 §6.3).
///
/// # Errors
///
/// [`NotALength`] for anything but decimal digits below 2⁶⁴, and for values that differ.
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, NotALength> {
    let values =
        headers.get_all(CONTENT_LENGTH).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut stated = None;
    for value in values {
        let length = digits(value.trim_ascii()).ok_or(NotALength)?;
        if stated.is_some_and(|stated| stated != length) {
            return Err(NotALength);
        }
        stated = Some(length);
    }
    Ok(stated)
}

/// Whether `is` holds of a field's name, or of the name with `-` in place of each `_`: to servers that hand fields on as
/// variables the two are one name (RFC 3875 §4.1.18).
pub fn is_any_spelling(name: &HeaderName, is: impl Fn(&str) -> bool) -> bool {
    let name = name.as_str();
    is(name) || (name.contains('_') && is(&name.replace('_', "-")))
}

/// A number in decimal digits alone: `u64::from_str` accepts a sign as well.
fn digits(text: &[u8]) -> Option<u64> {
    let is_number = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

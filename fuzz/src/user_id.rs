//! A segment of a path and the user id that it is.

use cloakroom::domain::user::{InvalidUserId, UserId};

/// The input is one segment, and once more an id as Auth0 writes it.
pub fn segment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let decoded = UserId::from_path_segment(text);
    assert_eq!(
        decoded.as_ref().map(UserId::as_str).map_err(|why| *why),
        by_hand(text).as_deref().map_err(|why| *why)
    );
    for user in [decoded, UserId::parse(text)].into_iter().flatten() {
        let segment = user.to_path_segment();
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
        assert!(segment.bytes().all(is_safe) && segment != "." && segment != "..", "{segment:?}");
        assert_eq!(UserId::from_path_segment(&segment).as_ref(), Ok(&user));
        assert_eq!(UserId::parse(user.as_str()).as_ref(), Ok(&user));
    }
}

/// The same as [`UserId::from_path_segment`], with nobody's help.
fn by_hand(segment: &str) -> Result<String, InvalidUserId> {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return Err(InvalidUserId::Encoding) };
        let digit = |byte: &u8| char::from(*byte).to_digit(16).ok_or(InvalidUserId::Encoding);
        bytes.push((digit(high)? * 16 + digit(low)?) as u8);
        rest = after;
    }
    let text = String::from_utf8(bytes).map_err(|_| InvalidUserId::Encoding)?;
    match text.as_str() {
        "" => Err(InvalidUserId::Empty),
        "." | ".." => Err(InvalidUserId::DotSegment),
        // C0, DEL and C1: all that Unicode calls control characters.
        _ if text.chars().any(|c| matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}')) => {
            Err(InvalidUserId::ControlCharacter)
        }
        _ if text.chars().count() > 300 => Err(InvalidUserId::TooLong),
        _ => Ok(text),
    }
}

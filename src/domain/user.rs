//! User ids and selectors of identities: parsed once, percent-encoded in one place.

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters to escape in a path segment: all but the unreserved ones of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Auth0's own limit on the length of a user id, in characters.
const MAX_CHARS: usize = 300;

/// The bytes that nearly every percent-encoded id fits into.
const SHORT: usize = 128;

/// An Auth0 user id such as `google-oauth2|103547991597142817347`.
///
/// 1 to 300 characters, no control characters, and neither `.` nor `..`, which a URL cannot carry as a segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

/// Why a text is not a valid user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUserId {
    /// Nothing was given.
    #[error("the user id is empty")]
    Empty,
    /// More than 300 characters.
    #[error("the user id is longer than 300 characters")]
    TooLong,
    /// A control character, which no Auth0 id contains.
    #[error("the user id contains a control character")]
    ControlCharacter,
    /// `.` or `..`, which servers on the way may resolve as a path.
    #[error("`.` and `..` are not user ids")]
    DotSegment,
    /// `%` not followed by two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the user id is not percent-encoded UTF-8")]
    Encoding,
}

impl UserId {
    /// Takes an id as Auth0 writes it, without any encoding.
    pub fn parse(text: &str) -> Result<Self, InvalidUserId> {
        match text {
            "" => return Err(InvalidUserId::Empty),
            "." | ".." => return Err(InvalidUserId::DotSegment),
            _ => {}
        }
        // Nearly every id is short and ASCII, which this fold checks many bytes at a time.
        let is_plain = !text.bytes().fold(false, |odd, byte| odd | !(b' '..=b'~').contains(&byte));
        if !is_plain && text.chars().any(char::is_control) {
            return Err(InvalidUserId::ControlCharacter);
        }
        if text.len() > MAX_CHARS && text.chars().nth(MAX_CHARS).is_some() {
            return Err(InvalidUserId::TooLong);
        }
        Ok(Self(text.into()))
    }

    /// Takes one segment of a request path and decodes it exactly once: `a%257C` is the id `a%7C`.
    pub fn from_path_segment(segment: &str) -> Result<Self, InvalidUserId> {
        // The decoded id is copied into its final allocation, so a short one is decoded on the stack: a hit allocates
        // eight times, and a buffer on the heap would be one more.
        let (mut short, mut long) = ([0; SHORT], Vec::new());
        let buffer = if segment.len() <= SHORT {
            short.as_mut_slice()
        } else {
            long.resize(segment.len(), 0);
            long.as_mut_slice()
        };
        let decoded = decode(segment, buffer).and_then(|bytes| str::from_utf8(bytes).ok());
        Self::parse(decoded.ok_or(InvalidUserId::Encoding)?)
    }

    /// The id as one segment of a path, encoded exactly once, as `encodeURIComponent` would.
    pub fn to_path_segment(&self) -> String {
        utf8_percent_encode(&self.0, SEGMENT).to_string()
    }

    /// The id as Auth0 writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Decodes each `%XX` once, into `buffer`; `None` if one is incomplete. Decoders commonly keep a lone `%`, which would
/// give one user two spellings.
fn decode<'a>(segment: &str, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let (mut rest, mut length) = (segment.as_bytes(), 0);
    loop {
        // Few bytes of an id are encoded, so runs of the others are copied at once.
        let (plain, encoded) =
            rest.split_at(rest.iter().position(|byte| *byte == b'%').unwrap_or(rest.len()));
        buffer.get_mut(length..)?.get_mut(..plain.len())?.copy_from_slice(plain);
        length = length.saturating_add(plain.len());
        rest = match encoded {
            [] => return buffer.get(..length),
            [_, high, low, rest @ ..] => {
                *buffer.get_mut(length)? = hex(*high)? << 4 | hex(*low)?;
                length = length.saturating_add(1);
                rest
            }
            _ => return None,
        };
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The identity of a user that a client selects. Without any of the three names, the only identity with a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The connection's name, such as `google-oauth2` or `Username-Password-Authentication`.
    pub connection: Option<String>,
    /// The provider's name, such as `google-oauth2` or `waad`: one provider may serve several connections.
    pub provider: Option<String>,
    /// The account's id at the provider, which distinguishes several identities of one connection.
    pub identity_user_id: Option<String>,
    /// The connections that the client may see, if its rules limit them; `None` is all.
    pub within: Option<Arc<[String]>>,
}

impl Selector {
    /// Whether the client may see identities of `connection`.
    pub fn shows(&self, connection: &str) -> bool {
        self.within.as_ref().is_none_or(|within| within.iter().any(|one| one == connection))
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidUserId, UserId};

    #[test]
    fn an_id_is_encoded_exactly_once() {
        let cases = [
            ("auth0|testaccuser", "auth0%7Ctestaccuser"),
            ("office365|jane@corp.example", "office365%7Cjane%40corp.example"),
            ("oidc|a/b", "oidc%7Ca%2Fb"),
            ("samlp|urn%3Ax", "samlp%7Curn%253Ax"),
            ("auth0|gr\u{fc}n", "auth0%7Cgr%C3%BCn"),
            ("a b+c", "a%20b%2Bc"),
        ];
        for (id, segment) in cases {
            let user = UserId::parse(id).unwrap();
            assert_eq!(user.to_path_segment(), segment);
            assert_eq!(UserId::from_path_segment(segment).unwrap(), user);
        }
        for length in [super::SHORT - 1, super::SHORT, super::SHORT + 1, 300] {
            let text = "x".repeat(length);
            assert_eq!(UserId::from_path_segment(&text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        use InvalidUserId::{ControlCharacter, DotSegment, Empty, Encoding, TooLong};
        let cases = [
            ("", Empty),
            (".", DotSegment),
            ("%2E%2e", DotSegment),
            ("a%0Ab", ControlCharacter),
            ("a%C2%85b", ControlCharacter),
            ("a%", Encoding),
            ("a%7", Encoding),
            ("a%zz", Encoding),
            ("a%FF", Encoding),
        ];
        for (segment, why) in cases {
            assert_eq!(UserId::from_path_segment(segment), Err(why), "{segment}");
        }
        assert!(UserId::parse(&"\u{e9}".repeat(300)).is_ok());
        assert_eq!(UserId::parse(&"\u{e9}".repeat(301)), Err(TooLong));
    }
}

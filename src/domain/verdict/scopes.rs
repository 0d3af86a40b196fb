//! Scopes that an answer names, as far as they can be passed on.

use std::fmt;

/// The most scopes of a list. Google names 17 for its contacts.
const MOST: usize = 32;
/// The most bytes of all scopes of a list, with a space after each.
const MOST_BYTES: usize = 1024;
/// The most bytes of one scope.
const LONGEST: usize = 256;

/// Scopes from an answer, each once, in its order.
///
/// They stand in headers and queries, so each has only characters that RFC 6749 §3.3 permits in a scope, and neither
/// `;` nor `,`, which separate scopes here or there. Lists are bounded; what does not fit is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<String>);

impl Scopes {
    /// Reads scopes that spaces or commas separate, and whether all of them could be kept.
    pub(super) fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> (Self, bool) {
        let (mut kept, mut is_whole, mut room) = (Vec::<String>::new(), true, MOST_BYTES);
        let scopes = texts.into_iter().flat_map(|text| text.split([' ', ',', '\t', '\r', '\n']));
        for scope in scopes.filter(|scope| !scope.is_empty()) {
            if kept.iter().any(|known| known == scope) {
                continue;
            }
            let left = room.checked_sub(scope.len().saturating_add(1));
            match left.filter(|_| kept.len() < MOST && can_be_passed_on(scope)) {
                Some(left) => {
                    kept.push(scope.to_owned());
                    room = left;
                }
                None => is_whole = false,
            }
        }
        (Self(kept), is_whole)
    }

    /// As many of the scopes as can be kept.
    pub(super) fn some_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::read(texts).0
    }

    /// The scopes if all of them can be kept. A part of what a token holds would be taken for all of it.
    pub(super) fn all_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let (scopes, is_whole) = Self::read(texts);
        is_whole.then_some(scopes)
    }

    /// The scopes, in the answer's order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this scope is among them.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|known| known == scope)
    }
}

/// Separated by spaces.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

fn can_be_passed_on(scope: &str) -> bool {
    let is_clean = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b';' | b',');
    scope.len() <= LONGEST && scope.bytes().all(is_clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_separated_by_spaces_or_commas_and_kept_once() {
        let (scopes, is_whole) = Scopes::read(["a b,c", " , b", "d"]);
        assert_eq!((scopes.to_string().as_str(), is_whole), ("a b c d", true));
        assert_eq!(Scopes::read([]), (Scopes::default(), true));
    }

    #[test]
    fn what_cannot_be_passed_on_is_left_out_and_noticed() {
        for hostile in ["x\"y", "x\\y", "x;y", "ä", "x\u{7f}", "x\0"] {
            let (scopes, is_whole) = Scopes::read(["a", hostile, "b"]);
            assert_eq!((scopes.to_string().as_str(), is_whole), ("a b", false), "{hostile:?}");
            assert_eq!(Scopes::all_of(["a", hostile]), None);
        }
    }

    #[test]
    fn lists_are_bounded() {
        let many = (0..2 * MOST).map(|n| format!("s{n}")).collect::<Vec<_>>().join(" ");
        let (scopes, is_whole) = Scopes::read([many.as_str()]);
        assert_eq!((scopes.len(), is_whole), (MOST, false));
        let long = (0..9).map(|n| format!("{n}").repeat(200)).collect::<Vec<_>>().join(" ");
        assert!(Scopes::some_of([long.as_str()]).to_string().len() <= MOST_BYTES);
        assert!(Scopes::some_of(["s".repeat(LONGEST + 1).as_str()]).is_empty());
    }
}

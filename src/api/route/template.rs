//! The path of a route, with or without a user's id in it, and with or without a rest that is another server's path.

/// What stands in a template in the place of the user's id.
pub(super) const USER: &str = "{user_id}";

/// A path, in which one segment may be a user's id, and whose rest may be another server's path.
#[derive(Debug)]
pub struct Template {
    text: &'static str,
    /// What stands before the id or the rest, or the whole path.
    before: &'static str,
    /// What follows the id; `None` where the path has none.
    after: Option<&'static str>,
    /// Whether the path goes on with any number of segments.
    has_rest: bool,
    /// Whether the path may also end before the slash of the rest.
    is_rest_optional: bool,
}

/// The parts of a path that differ between requests of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// The segment that is the user's id; empty where the template has none.
    pub user: &'a str,
    /// The rest; empty where the template has none.
    pub rest: &'a str,
}

impl Template {
    pub(super) const fn new(text: &'static str) -> Self {
        let (before, rest) = split_at_brace(text);
        let after = if rest.is_empty() { None } else { Some(rest.split_at(USER.len()).1) };
        Self { text, before, after, has_rest: false, is_rest_optional: false }
    }

    /// A path that goes on from its first brace besides the user's id.
    pub(super) const fn with_rest(text: &'static str) -> Self {
        let (before, rest) = split_at_brace(text);
        let has_user = matches!(rest.as_bytes(), [b'{', b'u', b's', b'e', b'r', ..]);
        let after = if has_user { Some(split_at_brace(rest.split_at(USER.len()).1).0) } else { None };
        Self { text, before, after, has_rest: true, is_rest_optional: false }
    }

    /// [`Template::with_rest`] of a path that may also end before the slash of the rest.
    pub(super) const fn with_optional_rest(text: &'static str) -> Self {
        Self { is_rest_optional: true, ..Self::with_rest(text) }
    }

    /// As metrics and documentation write it.
    pub fn as_str(&self) -> &'static str {
        self.text
    }

    /// Whether a segment of it is a user's id.
    pub fn has_user(&self) -> bool {
        self.after.is_some()
    }

    /// The parts of `path` that the template leaves open; `None` for a path of another route.
    pub(super) fn parts<'a>(&self, path: &'a str) -> Option<Parts<'a>> {
        let (user, rest) = match (self.after, self.has_rest) {
            (None, false) => (path == self.before).then_some(("", ""))?,
            (None, true) if self.is_rest_optional && self.before.strip_suffix('/') == Some(path) => ("", ""),
            (None, true) => ("", path.strip_prefix(self.before)?),
            (Some(after), false) => (path.strip_prefix(self.before)?.strip_suffix(after)?, ""),
            (Some(after), true) => {
                let (user, rest) = path.strip_prefix(self.before)?.split_once('/')?;
                (user, rest.strip_prefix(after.strip_prefix('/')?)?)
            }
        };
        // An id is one segment.
        (!user.contains('/')).then_some(Parts { user, rest })
    }
}

/// What stands before the first brace of `text`, and the rest.
const fn split_at_brace(text: &'static str) -> (&'static str, &'static str) {
    let (mut length, mut bytes) = (0, text.as_bytes());
    while let [first, rest @ ..] = bytes
        && *first != b'{'
    {
        (length, bytes) = (length + 1, rest);
    }
    text.split_at(length)
}

//! The path of a route, with or without a user's id in it.

/// What stands in a template in the place of the user's id.
pub(super) const USER: &str = "{user_id}";

/// A path, in which one segment may be a user's id.
#[derive(Debug)]
pub struct Template {
    text: &'static str,
    /// What stands before the id, or the whole path.
    before: &'static str,
    /// What follows the id; `None` where the path has none.
    after: Option<&'static str>,
}

impl Template {
    pub(super) const fn new(text: &'static str) -> Self {
        let (mut length, mut bytes) = (0, text.as_bytes());
        while let [first, rest @ ..] = bytes
            && *first != b'{'
        {
            (length, bytes) = (length + 1, rest);
        }
        let (before, rest) = text.split_at(length);
        let after = if rest.is_empty() { None } else { Some(rest.split_at(USER.len()).1) };
        Self { text, before, after }
    }

    /// As metrics and documentation write it.
    pub fn as_str(&self) -> &'static str {
        self.text
    }

    /// Whether a segment of it is a user's id.
    pub fn has_user(&self) -> bool {
        self.after.is_some()
    }

    /// The segment of `path` that is the user's id, empty where the template has none; `None` for any other path.
    pub(super) fn user_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        let Some(after) = self.after else { return (path == self.before).then_some("") };
        let user = path.strip_prefix(self.before)?.strip_suffix(after)?;
        // An id is one segment.
        (!user.contains('/')).then_some(user)
    }
}

//! Names an account of the vault without its user's id, so that what is noted about it need not be purged.

use crate::domain::user::UserId;
use crate::secret::TagKey;

/// The keyed hash of a user, a connection and the account that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AccountTag([u8; 16]);

impl AccountTag {
    /// The tag of the account that an exchange is about.
    pub fn new(tags: &TagKey, user: &UserId, connection: &str, login_hint: Option<&str>) -> Self {
        // No user id and no connection has a NUL, so that different accounts are different texts.
        let text = format!("{}\0{connection}\0{}", user.as_str(), login_hint.unwrap_or_default());
        let tag = tags.tag("vault account", &text);
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(tag.as_bytes()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

//! The names under which chains are stored. A name is a keyed hash, so it names no user.

use aws_lc_rs::hmac;

/// Who a chain belongs to: one identity of a user of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The Auth0 connection of the identity.
    pub connection: &'a str,
    /// The user's id at Auth0.
    pub user: &'a str,
    /// The user's id at the identity provider.
    pub account: &'a str,
}

/// The name of a chain. All chains of a user begin with the same half, by which they are found together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    user: UserPrefix,
    identity: [u8; HALF],
}

/// The half that the names of one user's chains have in common.
pub type UserPrefix = [u8; HALF];

/// 128 bits: names do not collide by chance.
const HALF: usize = 16;

/// The length of a name in bytes.
pub const SLOT_LENGTH: usize = 2 * HALF;

impl Slot {
    /// The name of the chain of `holder` under `key`.
    pub fn of(key: &hmac::Key, holder: &Holder<'_>) -> Self {
        let Holder { tenant, connection, user, account } = *holder;
        let identity = hashed(key, &["identity", tenant, connection, user, account]);
        Self { user: user_prefix(key, tenant, user), identity }
    }

    /// The name with these bytes, which [`Slot::bytes`] returned.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (user, identity) = bytes.split_first_chunk()?;
        Some(Self { user: *user, identity: identity.try_into().ok()? })
    }

    /// The bytes of the name.
    pub fn bytes(&self) -> [u8; SLOT_LENGTH] {
        let mut bytes = [0; SLOT_LENGTH];
        let both = self.user.iter().chain(&self.identity);
        bytes.iter_mut().zip(both).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// The first half.
    pub fn user(&self) -> UserPrefix {
        self.user
    }

    /// The lowest and the highest name that begin with `user`.
    pub fn all_of(user: UserPrefix) -> (Self, Self) {
        (Self { user, identity: [0; HALF] }, Self { user, identity: [u8::MAX; HALF] })
    }
}

/// The first half of the names of all chains of `user` under `key`.
pub fn user_prefix(key: &hmac::Key, tenant: &str, user: &str) -> UserPrefix {
    hashed(key, &["user", tenant, user])
}

/// A keyed hash of `parts`, each with its length, so that no two lists of parts are hashed as the same text.
fn hashed(key: &hmac::Key, parts: &[&str]) -> [u8; HALF] {
    let mut text = Vec::new();
    for part in parts {
        text.extend(part.len().to_be_bytes());
        text.extend(part.as_bytes());
    }
    let mut half = [0; HALF];
    half.iter_mut().zip(hmac::sign(key, &text).as_ref()).for_each(|(to, from)| *to = *from);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(parts: [&str; 4]) -> Slot {
        let [tenant, connection, user, account] = parts;
        Slot::of(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), &Holder { tenant, connection, user, account })
    }

    #[test]
    fn a_slot_differs_in_every_part_and_begins_with_its_user() {
        let one = slot(["t", "c", "u", "a"]);
        assert_eq!(one, slot(["t", "c", "u", "a"]));
        let others = [
            ["T", "c", "u", "a"],
            ["t", "C", "u", "a"],
            ["t", "c", "U", "a"],
            ["t", "c", "u", "A"],
            ["tc", "", "u", "a"],
        ];
        assert!(others.iter().all(|other| slot(*other) != one));
        let same_user = slot(["t", "C", "u", "A"]);
        assert_eq!(same_user.user(), one.user());
        let (first, last) = Slot::all_of(one.user());
        assert!([one, same_user].iter().all(|slot| first <= *slot && *slot <= last));
        let other_user = slot(["t", "c", "U", "a"]);
        assert!(other_user < first || last < other_user);
        assert_eq!(Slot::from_bytes(&one.bytes()), Some(one));
        assert_eq!(Slot::from_bytes(&one.bytes()[1..]), None);
        let other_key = hmac::Key::new(hmac::HMAC_SHA256, b"other");
        assert_ne!(
            Slot::of(&other_key, &Holder { tenant: "t", connection: "c", user: "u", account: "a" }),
            one
        );
    }
}

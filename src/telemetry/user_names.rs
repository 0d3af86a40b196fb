//! How log and audit lines name users: by a hash, so that a log does not reveal who has an account, or by their id.
//!
//! A hashed name stays the same as long as the key does, so that lines of different runs can be correlated.

use std::fs;
use std::path::Path;

use crate::config::{Log, UserIds};
use crate::domain::invisible_characters;
use crate::domain::user::UserId;
use crate::secret::{NoRandomness, TagKey};

/// Separates this key from those that other programs derive from the machine's id.
const PURPOSE: &str = "cloakroom: users in logs";

/// How lines name users, as `log.user_ids` and `log.user_key_file` say.
#[derive(Clone, Debug)]
pub struct UserNames {
    style: UserIds,
    key: TagKey,
}

impl UserNames {
    /// Names users by `style`; hashed names depend on `key`.
    pub fn new(style: UserIds, key: TagKey) -> Self {
        Self { style, key }
    }

    /// Uses the key of this installation: that of `log.user_key_file`, else one derived from the machine's id in the
    /// file `machine_id`, else a random one for this run, with a warning.
    ///
    /// As machine-id(5) demands, only a keyed hash of the id is used. Every local user can read the id, though, and can
    /// check whether a hashed name belongs to a user id that they guess.
    ///
    /// # Errors
    /// The kernel returns no random bytes.
    pub fn for_installation(settings: &Log, machine_id: &Path) -> Result<Self, NoRandomness> {
        let lasting = settings.user_key.clone().or_else(|| key_of_machine(machine_id));
        if lasting.is_none() && settings.user_ids == UserIds::Hashed {
            tracing::warn!(
                "Users' hashed names will change with the next start: this machine has no id, and log.user_key_file is not set"
            );
        }
        Ok(Self::new(settings.user_ids, lasting.map_or_else(TagKey::random, Ok)?))
    }

    /// Returns the name of `user` for a line.
    pub fn name(&self, user: &UserId) -> String {
        match self.style {
            UserIds::Hashed => self.key.tag("user", user.as_str()).to_string(),
            UserIds::Plain => on_one_line(user.as_str()),
        }
    }
}

/// Derives a key from a machine id, which is 32 hexadecimal digits (machine-id(5)). Container images have an empty
/// file, or `uninitialized`: no key then.
fn key_of_machine(file: &Path) -> Option<TagKey> {
    let text = fs::read_to_string(file).ok()?;
    let id = text.trim_end();
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id && id.bytes().any(|byte| byte != b'0')).then(|| TagKey::derived(id.as_bytes(), PURPOSE))
}

/// Escapes invisible characters, line breaks and changes of direction in `text`, so that a line is about one user and
/// shows the whole id.
fn on_one_line(text: &str) -> String {
    invisible_characters::escaped(text, |c, line| line.extend(c.escape_unicode())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn settings(user_ids: UserIds, user_key: Option<TagKey>) -> Log {
        let text = "[tenant]\ndomain = \"tenant.eu.auth0.com\"\n[tenant.client]\nid = \"app\"\nsecret = \"canary\"\n";
        let mut log = config::parse("test.toml", text, &config::Env::default()).unwrap().config.log;
        (log.user_ids, log.user_key) = (user_ids, user_key);
        log
    }

    fn jane() -> UserId {
        UserId::parse("auth0|jane").unwrap()
    }

    #[test]
    fn users_are_hashed_unless_the_configuration_says_otherwise() {
        let key = TagKey::random().unwrap();
        let hashed = UserNames::new(UserIds::Hashed, key.clone()).name(&jane());
        assert!(!hashed.contains("jane"));
        assert_eq!(hashed.len(), 16);
        let plain = UserNames::new(UserIds::Plain, key);
        assert_eq!(plain.name(&jane()), "auth0|jane");
        let odd = UserId::parse("auth0|a\u{2028}b\u{202e}c\u{fc}").unwrap();
        assert_eq!(plain.name(&odd), "auth0|a\\u{2028}b\\u{202e}c\u{fc}");
    }

    #[test]
    fn a_hashed_name_lasts_as_long_as_the_key_file_or_else_the_machines_id() {
        let directory = tempfile::tempdir().unwrap();
        let id = directory.path().join("machine-id");
        let name = |key: Option<&TagKey>| {
            let settings = settings(UserIds::Hashed, key.cloned());
            UserNames::for_installation(&settings, &id).unwrap().name(&jane())
        };
        fs::write(&id, "0123456789abcdef0123456789abcdef\n").unwrap();
        let of_machine = name(None);
        assert_eq!(of_machine, name(None));
        let key = TagKey::derived(b"a key file's content", "");
        assert_eq!(name(Some(&key)), name(Some(&key)));
        assert_ne!(name(Some(&key)), of_machine);
        fs::write(&id, "1123456789abcdef0123456789abcdef\n").unwrap();
        assert_ne!(name(None), of_machine, "another machine");
        let of_file = name(Some(&key));
        fs::remove_file(&id).unwrap();
        assert_eq!(name(Some(&key)), of_file, "with a key file the machine does not matter");
        for nothing in ["", "uninitialized\n", "00000000000000000000000000000000\n", "0123"] {
            fs::write(&id, nothing).unwrap();
            assert_ne!(name(None), name(None), "{nothing}: a random key");
        }
    }
}

//! `[log]`: the level and form of the log.

use super::problem::Checked;
use super::reader::Reader;
use super::reloadable::Reloadable;
use super::user_key;
use crate::secret::TagKey;

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: tracing::Level,
    /// The form of lines.
    pub format: LogFormat,
    /// How lines of the log and the audit log name users.
    pub user_ids: UserIds,
    /// The key of that hash, from `user_key_file`; `None` for one that is derived from the machine's id.
    pub user_key: Option<TagKey>,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// One JSON object per line.
    Json,
}

/// `log.user_ids`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserIds {
    /// Lines have a keyed hash of the user id.
    Hashed,
    /// Lines have the user id.
    Plain,
}

impl Reloadable for Log {
    fn restore_fixed(&mut self, running: &Self) {
        *self = Self { level: self.level, ..running.clone() };
    }

    fn different_contents(&self, new: &Self) -> Vec<&'static str> {
        // Keys are compared by a tag that they make, because a key itself cannot be read.
        let tag = |log: &Self| log.user_key.as_ref().map(|key| key.tag("user", ""));
        if tag(self) == tag(new) { Vec::new() } else { vec![user_key::KEY] }
    }
}

/// Reads `[log]`.
pub(super) fn read(reader: &mut Reader) -> Checked<Log> {
    let level = reader.choice("log.level", |word| word.parse().ok());
    let format = reader.choice("log.format", |word| match word {
        "auto" => Some(LogFormat::Auto),
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let user_ids = reader.choice("log.user_ids", |word| match word {
        "hashed" => Some(UserIds::Hashed),
        "plain" => Some(UserIds::Plain),
        _ => None,
    });
    let user_key = user_key::read(reader);
    Ok(Log { level: level?, format: format?, user_ids: user_ids?, user_key: user_key? })
}

//! The keys of `[log]`.

use super::key::{DefaultValue, Key, Reload, Table, Type};

/// `[log]`.
pub(super) const LOG: Table = Table {
    path: "log",
    list: None,
    doc: "The log on standard error.",
    keys: &[
        Key {
            path: "log.level",
            takes: Type::Choice(&["error", "warn", "info", "debug", "trace"]),
            default: DefaultValue::Value("info"),
            reload: Reload::Live,
            example: None,
            doc: "The least severe level that is logged.",
        },
        Key {
            path: "log.format",
            takes: Type::Choice(&["auto", "text", "json"]),
            default: DefaultValue::Value("auto"),
            reload: Reload::Restart,
            example: None,
            doc: "The form of lines: `text`, `json`, or `auto`, which is text on a terminal and JSON elsewhere.",
        },
        Key {
            path: "log.user_ids",
            takes: Type::Choice(&["hashed", "plain"]),
            default: DefaultValue::Value("hashed"),
            reload: Reload::Restart,
            example: None,
            doc: "How lines of the log and the audit log name users: by a keyed hash of the user id, or by the id.",
        },
        Key {
            path: "log.user_key_file",
            takes: Type::Path,
            default: DefaultValue::Absent("a key that is derived from `/etc/machine-id`"),
            reload: Reload::Restart,
            example: Some("/etc/cloakroom/user-key"),
            doc: "The file with the key of that hash: 16 random bytes or more, as `openssl rand -hex 32` makes them. \
                  Mode 0400 or 0440.\n\n\
                  The file must not be readable by every user, holds at most 64 KiB, and one line end in it makes no \
                  difference. What the key protects: [Names of users](audit-log.md#names-of-users).",
        },
    ],
};

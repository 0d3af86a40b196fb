//! The keys of `[audit]`.

use super::key::{DefaultValue, Key, Reload, Table, Type};

/// `[audit]`.
pub(super) const AUDIT: Table = Table {
    path: "audit",
    list: None,
    doc: "The audit log: one line for each event, apart from the log and independent of `log.level`.",
    keys: &[
        Key {
            path: "audit.events",
            takes: Type::Choice(&["notable", "all", "none"]),
            default: DefaultValue::Value("notable"),
            reload: Reload::Live,
            example: None,
            doc: "Which requests have a line: `notable` leaves out hits and `status`, `all` has them, `none` turns the \
                  audit log off.\n\n\
                  A change to or from `none` takes a restart.",
        },
        Key {
            path: "audit.output",
            takes: Type::ChoiceOrPath(&["stdout", "journald"]),
            default: DefaultValue::Value("stdout"),
            reload: Reload::Restart,
            example: None,
            doc: "Where lines go: `stdout`, `journald` as fields of its own, or the absolute path of a file.\n\n\
                  The file is created with mode 0600. A file that exists keeps its owner and mode. A symbolic link, \
                  anything but a regular file, and a file that every user may write to are refused. A file that was \
                  moved away is followed by a new one.",
        },
    ],
};

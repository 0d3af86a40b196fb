//! The keys of `[[listener]]`.

use super::key::{DefaultValue, Key, List, Reload, Table, Type};

/// The path of `[[listener]]`.
pub(in crate::config) const LISTENER_PATH: &str = "listener";

/// `[[listener]]`.
pub(super) const LISTENER: Table = Table {
    path: LISTENER_PATH,
    list: Some(List { most: 64, elements: "listeners", example: "listener.0.path" }),
    doc: "The Unix sockets that clients connect to, one table each. Without any there is one, with these defaults.\n\n\
          Each listener is a boundary of its own, with its socket, its mode and its rules. A listener that is added or \
          removed takes a restart.",
    keys: &[
        Key {
            path: "listener.path",
            takes: Type::Path,
            default: DefaultValue::Value("/run/cloakroom/cloakroom.sock"),
            reload: Reload::Restart,
            example: None,
            doc: "The absolute path of the socket, at most 107 bytes. Its directory is created if it is missing.",
        },
        Key {
            path: "listener.mode",
            takes: Type::Mode,
            default: DefaultValue::Value("0660"),
            reload: Reload::Restart,
            example: None,
            doc: "The socket's permissions in octal digits, in quotes. Connecting takes the permission to write.\n\n\
                  With a socket that systemd opens, its socket unit sets mode, owner and group. This key, \
                  `listener.owner` and `listener.group` then have no effect.",
        },
        Key {
            path: "listener.owner",
            takes: Type::User,
            default: DefaultValue::Absent("the daemon's user"),
            reload: Reload::Restart,
            example: Some("cloakroom"),
            doc: "The user that owns the socket, by name or by number. Changing the owner takes root.",
        },
        Key {
            path: "listener.group",
            takes: Type::Group,
            default: DefaultValue::Absent("the daemon's group"),
            reload: Reload::Restart,
            example: Some("web"),
            doc: "The group of the socket, by name or by number. Changing it takes root or membership in that group.",
        },
        Key {
            path: "listener.max_connections",
            takes: Type::Integer { min: 1, max: 65_536 },
            default: DefaultValue::Value("1024"),
            reload: Reload::Restart,
            example: None,
            doc: "How many connections may be open at a time. A quarter is kept for root and the daemon's own uid.\n\n\
                  One uid holds at most half of them; its further connections are answered 503 `overloaded` and \
                  closed. Once every slot is taken, further connections wait in the kernel's queue.",
        },
        Key {
            path: "listener.max_streams",
            takes: Type::Integer { min: 1, max: 65_536 },
            default: DefaultValue::Value("256"),
            reload: Reload::Restart,
            example: None,
            doc: "How many calls of other APIs may be in progress at a time. Further ones are answered 503 `overloaded`, \
                  so that calls never take the place of lookups. A quarter is kept for root and the daemon's own uid, \
                  which may have all of them; one other uid has at most half.\n\n\
                  Without `[[proxy]]` and `[management_api]` there are no such calls.",
        },
        Key {
            path: "listener.require_request_header",
            takes: Type::Boolean,
            default: DefaultValue::Value("true"),
            reload: Reload::Live,
            example: None,
            doc: "Whether requests without `Cloakroom-Request: true` are refused. No browser or proxy sends that \
                  header by mistake. Turn this off only for clients that cannot set a header.",
        },
    ],
};

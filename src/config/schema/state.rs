//! The keys of `[state]`.

use super::key::{DefaultValue, Key, Reload, Table, Type};

/// `[state]`.
pub(super) const STATE: Table = Table {
    path: "state",
    list: None,
    doc: "The file with refresh tokens that were redeemed. It is needed where the provider of any connection \
          invalidates a refresh token when it redeems it. Without this table the daemon keeps no refresh token on disk.",
    keys: &[
        Key {
            path: "state.path",
            takes: Type::Path,
            default: DefaultValue::Absent("none: refresh tokens are kept in memory"),
            reload: Reload::Restart,
            example: Some("/var/lib/cloakroom/state"),
            doc: "The file. It is created with mode 0600 in a directory that exists, on a file system of this machine.\n\n\
                  One daemon at a time uses it. Its content is sealed and names no user. Do not restore it from a \
                  backup: [State](../guides/state.md) says why.",
        },
        Key {
            path: "state.key_file",
            takes: Type::Path,
            default: DefaultValue::Absent("none; required with `state.path`"),
            reload: Reload::Restart,
            example: Some("/etc/cloakroom/state_key"),
            doc: "The file with the keys that seal the state: 32 random bytes a line, in base64 or hexadecimal, as \
                  `openssl rand -base64 32` writes them. Mode 0400 or 0440.\n\n\
                  The first line seals, and every line opens. At the start, records that a later line has sealed are \
                  sealed with the first one, so a key is replaced by a new line in front and a restart. The file has \
                  at most 16 lines.",
        },
    ],
};

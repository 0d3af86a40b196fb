//! The keys of `[admin]`.

use super::key::{DefaultValue, Key, Reload, Table, Type};

/// `[admin]`.
pub(super) const ADMIN: Table = Table {
    path: "admin",
    list: None,
    doc: "Probes and metrics over TCP. No token and no user is served there.",
    keys: &[
        Key {
            path: "admin.address",
            takes: Type::Address,
            default: DefaultValue::Absent("none"),
            reload: Reload::Restart,
            example: Some("127.0.0.1:9464"),
            doc: "The IP address and port that serve probes and metrics. Without it there is no TCP listener.",
        },
        Key {
            path: "admin.allow_remote",
            takes: Type::Boolean,
            default: DefaultValue::Value("false"),
            reload: Reload::Restart,
            example: None,
            doc: "Whether `admin.address` may be one that other machines reach. Without it only loopback addresses are \
                  accepted.",
        },
    ],
};

//! Keys about the daemon itself: its logs, probes, end and resources.

use std::time::Duration;

use super::key::{DefaultValue, Key, Reload, Table, Type};

const HOUR: Duration = Duration::from_secs(3600);

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

/// `[shutdown]`. Supervisors kill after a while of their own: 90 s under systemd, 30 s under Kubernetes.
pub(super) const SHUTDOWN: Table = Table {
    path: "shutdown",
    list: None,
    doc: "The end of the daemon after SIGTERM or SIGINT. Both times and 3 s more have to fit into what the service \
          manager allows.",
    keys: &[
        Key {
            path: "shutdown.min_delay",
            takes: Type::Duration { min: Duration::ZERO, max: HOUR },
            default: DefaultValue::Value("0s"),
            reload: Reload::Live,
            example: None,
            doc: "How long the daemon goes on accepting connections after the signal. It is not ready during that \
                  time.",
        },
        Key {
            path: "shutdown.deadline",
            takes: Type::Duration { min: Duration::from_millis(1), max: HOUR },
            default: DefaultValue::Value("10s"),
            reload: Reload::Live,
            example: None,
            doc: "The time limit for requests that were begun by then. Clients that still wait at its end are answered \
                  503 `draining`.",
        },
    ],
};

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

/// `[runtime]`.
pub(super) const RUNTIME: Table = Table {
    path: "runtime",
    list: None,
    doc: "Threads and memory of the process.",
    keys: &[
        Key {
            path: "runtime.threads",
            // One thread answers a hit in microseconds; 64 is more than any machine has use for.
            takes: Type::Integer { min: 1, max: 64 },
            default: DefaultValue::Value("1"),
            reload: Reload::Restart,
            example: None,
            doc: "The number of worker threads. One is enough until `process_cpu_seconds_total` grows by nearly 1 a \
                  second.",
        },
        Key {
            path: "runtime.lock_memory",
            takes: Type::Boolean,
            default: DefaultValue::Value("false"),
            reload: Reload::Restart,
            example: None,
            doc: "Whether memory is kept from being written to swap. Needs an unlimited `RLIMIT_MEMLOCK` \
                  (`LimitMEMLOCK=infinity`), since that limit counts what is reserved, not what is used.",
        },
    ],
};

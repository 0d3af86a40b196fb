//! The keys of `[runtime]`.

use super::key::{DefaultValue, Key, Reload, Table, Type};

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

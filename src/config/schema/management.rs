//! The keys of `[management]`.

use std::time::Duration;

use super::key::{DefaultValue, Key, Reload, Table, Type};

/// `[management]`.
pub(super) const MANAGEMENT: Table = Table {
    path: "management",
    list: None,
    doc: "The renewal of the Management token. Changes count from the next token on.",
    keys: &[
        Key {
            path: "management.refresh_at",
            // Below a tenth, a renewal would follow the last one at once; above 95 %, its jitter of ±5 % would reach
            // the end. Tokens live for a day by default, so 0.8 leaves hours to try again.
            takes: Type::Number { min: 0.1, max: 0.95, zero_is_off: false },
            default: DefaultValue::Value("0.8"),
            reload: Reload::Live,
            example: None,
            doc: "The fraction of the Management token's lifetime after which it is renewed, give or take 5 % of the \
                  lifetime.",
        },
        Key {
            path: "management.min_ttl",
            takes: Type::Duration { min: Duration::ZERO, max: Duration::from_secs(3600) },
            default: DefaultValue::Value("30s"),
            reload: Reload::Live,
            example: None,
            doc: "The Management token is not used with less than this left, or less than a tenth of its lifetime if \
                  that is shorter.",
        },
    ],
};

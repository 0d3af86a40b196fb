//! The keys of `[cache]` and `[cache.negative]`.

use std::time::Duration;

use bytesize::ByteSize;

use super::key::{DefaultValue, Key, Reload, Table, Type};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

// With no time at all, each lookup of a user who does not exist would cost the tenant a request. With too long a time,
// a user who has logged in again would have to wait.
const NEGATIVE_TTL: Type = Type::Duration { min: SECOND, max: HOUR };

/// `[cache]`.
pub(super) const CACHE: Table = Table {
    path: "cache",
    list: None,
    doc: "How much is cached of users, and for how long.",
    keys: &[
        Key {
            path: "cache.max_bytes",
            // A user's entry takes a few KiB, so that less than the lower bound holds nothing worth keeping.
            takes: Type::Size { min: ByteSize::mib(1), max: ByteSize::tib(1) },
            default: DefaultValue::Value("64MiB"),
            reload: Reload::Live,
            example: None,
            doc: "The limit on cached users' entries, keys and values together. The least used entries are evicted.\n\n\
                  An entry takes about 1 KiB, more where users have several identities or tokens are long. Give the \
                  process a quarter more than this, and 32 MiB.",
        },
        Key {
            path: "cache.max_ttl",
            takes: Type::Duration { min: SECOND, max: DAY },
            default: DefaultValue::Value("10m"),
            reload: Reload::Live,
            example: None,
            doc: "The age at which an answer of Auth0 becomes stale and Auth0 is asked for the user again. A user who is \
                  blocked in Auth0 keeps access no longer than this while Auth0 can be asked, and during an outage up \
                  to `cache.max_stale` longer. Longer than `tenant.request_timeout`.\n\n\
                  Ages count from when the request was sent.",
        },
        Key {
            path: "cache.max_stale",
            takes: Type::Duration { min: Duration::ZERO, max: DAY },
            default: DefaultValue::Value("1h"),
            reload: Reload::Live,
            example: None,
            doc: "How much longer than `cache.max_ttl` a token that has not expired is served while Auth0 cannot be \
                  asked.",
        },
        Key {
            path: "cache.min_ttl",
            // Providers' tokens commonly live for an hour. Asking for more than half of that to be left would turn
            // users away who have just logged in. There is no relation to `max_ttl`: that is the age of what Auth0
            // answered, this is what is left of the token.
            takes: Type::Duration { min: Duration::ZERO, max: Duration::from_secs(30 * 60) },
            default: DefaultValue::Value("30s"),
            reload: Reload::Live,
            example: None,
            doc: "No token is handed out with less than this left.",
        },
        Key {
            path: "cache.refresh_ahead",
            takes: Type::Number { min: 0.1, max: 0.95, zero_is_off: true },
            default: DefaultValue::Value("0.8"),
            reload: Reload::Live,
            example: None,
            doc: "The fraction of `cache.max_ttl` after which an entry in use is refreshed in the background. 0 turns \
                  that off.",
        },
    ],
};

/// `[cache.negative]`.
pub(super) const NEGATIVE: Table = Table {
    path: "cache.negative",
    list: None,
    doc: "How long answers without a token are cached.",
    keys: &[
        Key {
            path: "cache.negative.user_not_found",
            takes: NEGATIVE_TTL,
            default: DefaultValue::Value("30s"),
            reload: Reload::Live,
            example: None,
            doc: "How long it is cached that a user does not exist.",
        },
        Key {
            path: "cache.negative.no_token",
            takes: NEGATIVE_TTL,
            default: DefaultValue::Value("60s"),
            reload: Reload::Live,
            example: None,
            doc: "How long it is cached that a user has no token to hand out, or is blocked.",
        },
        Key {
            path: "cache.negative.login_required",
            takes: NEGATIVE_TTL,
            default: DefaultValue::Value("30s"),
            reload: Reload::Live,
            example: None,
            doc: "How long it is cached that a token has expired and the user has not logged in since.",
        },
    ],
};

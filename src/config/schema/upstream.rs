//! The keys of `[upstream]`.

use super::key::{DefaultValue, Key, Reload, Table, Type};

/// `[upstream]`.
pub(super) const UPSTREAM: Table = Table {
    path: "upstream",
    list: None,
    doc: "The budget for requests to Auth0. Every request counts, those for Management tokens and keys included.\n\n\
          The tenant's own limit, as the Auth0 dashboard and the `x-ratelimit-limit` header state it, is shared with \
          all else that the tenant runs. Stay below what is left of it: `upstream.requests_per_second` below its rate, \
          and `upstream.burst` and `upstream.max_concurrency` together below its burst, since requests that were held \
          up on the way arrive together. Several daemons of one tenant add up. `cloakroom check --online` compares.",
    keys: &[
        Key {
            path: "upstream.requests_per_second",
            // Auth0's largest tenants may ask the Management API some thousands of times a second, its free ones twice.
            // Ten leaves most of what a paying one has to all else that the tenant runs.
            takes: Type::Number { min: 0.1, max: 5_000.0, zero_is_off: false },
            default: DefaultValue::Value("10"),
            reload: Reload::Live,
            example: None,
            doc: "The rate of requests to Auth0, per second.",
        },
        Key {
            path: "upstream.burst",
            // With a burst of one, the first user's request would have to wait after the Management token's.
            takes: Type::Integer { min: 2, max: 10_000 },
            default: DefaultValue::Value("20"),
            reload: Reload::Live,
            example: None,
            doc: "How many requests may be sent at once after a pause.",
        },
        Key {
            path: "upstream.max_concurrency",
            takes: Type::Integer { min: 1, max: 1_000 },
            default: DefaultValue::Value("16"),
            reload: Reload::Live,
            example: None,
            doc: "How many requests may be under way at a time.",
        },
        Key {
            path: "upstream.max_retries",
            // Every attempt counts towards the budget; beyond ten they are a flood, not a remedy.
            takes: Type::Integer { min: 0, max: 10 },
            default: DefaultValue::Value("2"),
            reload: Reload::Live,
            example: None,
            doc: "How many further attempts follow a transient failure, within `tenant.request_timeout`.",
        },
    ],
};

//! The keys of `[providers]`.

use std::time::Duration;

use super::key::{DefaultValue, Key, Reload, Table, Type};

/// Clients wait that long at worst, and most have given up before.
const REQUEST: Type = Type::Duration { min: Duration::from_millis(1), max: Duration::from_secs(60) };

/// `[providers]`.
pub(super) const PROVIDERS: Table = Table {
    path: "providers",
    list: None,
    doc: "How identity providers are reached: to redeem refresh tokens, and for the calls of `[[proxy]]`. Without a \
          `[connection.refresh]` and a `[[proxy]]` none is.\n\n\
          The limits hold for each provider's host apart, and apart from those of `[upstream]`: a provider that is slow, \
          or that asks for a pause, delays no request to Auth0 or to another provider.",
    keys: &[
        Key {
            path: "providers.ca_file",
            takes: Type::Path,
            default: DefaultValue::Absent("none"),
            reload: Reload::Live,
            example: Some("/etc/ssl/corp-ca.pem"),
            doc: "A PEM file of certificate authorities that are trusted besides the platform's, for providers alone. At \
                  most 1 MiB. A reload reads the file again.",
        },
        Key {
            path: "providers.proxy",
            takes: Type::Secret("^[hH][tT][tT][pP]://"),
            default: DefaultValue::Absent(
                "the variable `HTTPS_PROXY`, or else `ALL_PROXY`, minus the hosts in `NO_PROXY`",
            ),
            reload: Reload::Live,
            example: Some("http://proxy.corp:3128"),
            doc: "The HTTP proxy through which providers are reached, `http://[user:password@]host[:port]`. The rules are \
                  those of `tenant.proxy`, which does not apply to providers.",
        },
        Key {
            path: "providers.connect_timeout",
            takes: REQUEST,
            default: DefaultValue::Value("2s"),
            reload: Reload::Live,
            example: None,
            doc: "The time limit for a connection to a provider: name resolution, TCP, proxy and TLS together. Shorter \
                  than `providers.request_timeout`.",
        },
        Key {
            path: "providers.request_timeout",
            takes: REQUEST,
            default: DefaultValue::Value("5s"),
            reload: Reload::Live,
            example: None,
            doc: "The time limit for one refresh: the wait for a permit, the request, and retries. Longer than \
                  `providers.connect_timeout`.",
        },
        Key {
            path: "providers.requests_per_second",
            takes: Type::Number { min: 0.1, max: 5_000.0, zero_is_off: false },
            default: DefaultValue::Value("20"),
            reload: Reload::Live,
            example: None,
            doc: "The rate of requests to each provider's host, per second.",
        },
        Key {
            path: "providers.burst",
            takes: Type::Integer { min: 1, max: 10_000 },
            default: DefaultValue::Value("40"),
            reload: Reload::Live,
            example: None,
            doc: "How many requests may be sent to a provider's host at once after a pause.",
        },
    ],
};

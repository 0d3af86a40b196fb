//! The keys of `[shutdown]`.

use std::time::Duration;

use super::key::{DefaultValue, Key, Reload, Table, Type};

const HOUR: Duration = Duration::from_secs(3600);

/// `[shutdown]`. Supervisors kill after a while of their own: 90 s under systemd, 30 s under Kubernetes.
pub(super) const SHUTDOWN: Table = Table {
    path: "shutdown",
    list: None,
    doc: "The end of the daemon after SIGTERM or SIGINT. Both times, three times `providers.request_timeout` \
          where tokens are renewed, and 3 s more have to fit into what the service manager allows.",
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

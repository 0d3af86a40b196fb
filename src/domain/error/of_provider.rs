//! What a failed request says of an identity provider.

use std::sync::Arc;

use crate::domain::source::SourceFailure;

use super::Failure;

impl SourceFailure {
    /// What a failed request to `host` says of it. The texts name the keys of `[providers]`.
    pub fn of(host: &Arc<str>, failure: &Failure) -> Self {
        let cause = match failure {
            Failure::TimedOut { .. } => return Self::TimedOut { host: Arc::clone(host) },
            Failure::Malformed { what } => return Self::Malformed { host: Arc::clone(host), what },
            Failure::UnknownHost { .. } | Failure::LinkLocalResolver { .. } => "its name cannot be resolved",
            Failure::Refused { .. } => "it refuses connections",
            Failure::ConnectTimeout { .. } => "no connection within providers.connect_timeout",
            Failure::Unreachable { .. } => "there is no way to it",
            Failure::Untrusted { .. } => {
                "its certificate is not trusted; providers.ca_file can name an authority"
            }
            Failure::Proxy { .. } => "the proxy makes no connection; check providers.proxy",
            Failure::NoDescriptors { .. } => "this process has no file descriptor left",
            Failure::PrivateAddress { .. } => {
                "it has no public address; set allow_private = true in its [[proxy]], if that is meant"
            }
            _ => "the connection broke before the answer was complete",
        };
        Self::Unreachable { host: Arc::clone(host), cause }
    }
}

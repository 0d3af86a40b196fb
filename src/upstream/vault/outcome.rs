//! The outcome of an exchange, in the terms that all sources share.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::error::Failure;
use crate::domain::source::{IssuedToken, SourceFailure, SourceFault};

/// The outcome of an exchange.
#[derive(Clone, Debug)]
pub enum Exchanged {
    /// The vault has issued a token, which is valid.
    Issued(IssuedToken),
    /// The vault has no account of the user at the connection, or none that it can refresh: the user has to connect
    /// one.
    NotConnected,
    /// Auth0 refuses the exchange until an operator changes something.
    Misconfigured(SourceFault),
    /// No answer, or one that is likely to be another later.
    Failed {
        /// Why.
        failure: SourceFailure,
        /// After how long a retry can help.
        retry_after: Duration,
    },
}

/// The failure of an exchange with the tenant at `host`.
pub(super) fn source_failure(failure: &Failure, host: &Arc<str>) -> SourceFailure {
    let host = Arc::clone(host);
    let cause = match failure {
        Failure::TimedOut { .. } => return SourceFailure::TimedOut { host },
        Failure::Throttled { .. } | Failure::OverBudget { .. } => return SourceFailure::Throttled { host },
        Failure::Status { status }
        | Failure::NotFromAuth0 { status }
        | Failure::AskedToWait { status, .. } => {
            return SourceFailure::Status { host, status: *status };
        }
        Failure::Malformed { what } => return SourceFailure::Malformed { host, what },
        // A refusal is a fault and not a failure.
        Failure::Denied(_) | Failure::CertificateRefused { .. } => {
            return SourceFailure::Malformed { host, what: "an unexpected refusal" };
        }
        Failure::Fault | Failure::NotSigned => return SourceFailure::Fault,
        Failure::UnknownHost { .. } | Failure::LinkLocalResolver { .. } => "its name cannot be resolved",
        Failure::Refused { .. } => "nothing listens there",
        Failure::ConnectTimeout { .. } => "no connection within tenant.connect_timeout",
        Failure::Unreachable { .. } => "there is no way to it",
        Failure::Untrusted { .. } => "its certificate is not trusted",
        Failure::Proxy { .. } => "the proxy makes no connection to it",
        Failure::NoDescriptors { .. } => "no file descriptor is left",
        Failure::PrivateAddress { .. } => "it has no public address",
        Failure::Broken { .. } => "it closed the connection before its answer was complete",
    };
    SourceFailure::Unreachable { host, cause }
}

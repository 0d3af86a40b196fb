//! The interface through which clients' own calls of the Management API go out: [`ManagementCalls`], which `upstream`
//! implements.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Request, Response};

use crate::domain::error::{Failure, Refusal, Unavailable};
use crate::domain::freshness::{Moment, Timestamp};
use crate::domain::priority::Flow;
use crate::transport::streaming::StreamBody;

use super::{ManagementSnapshot, ManagementToken};

/// Sends calls of the Management API as the application of `[management_api]`.
pub trait ManagementCalls: Send + Sync + 'static {
    /// Sends `request` once, for a client of `flow`, and returns Auth0's answer as soon as its head was read.
    ///
    /// The request's URI is what follows `/api/v2`, with its query: `/users/auth0%7C1?fields=name`. It goes out byte for
    /// byte. The headers are those that go from end to end, without `Host`; `Authorization` is set.
    ///
    /// The call waits behind all lookups for a permit of the tenant's budget, and for a token, together for at most
    /// `tenant.request_timeout`. A closed gate is not waited for. There is no time limit for the request's body and for
    /// the answer: callers set one, and dropping the future ends the call. The permit is held until the head of the
    /// answer was read, and not while its body is: `upstream.max_concurrency` is small, and a download may last for
    /// hours. How many streams there are is the listener's limit.
    ///
    /// Nothing is sent twice: this has no copy of the body. See [`Called::token_was_refused`].
    fn call(&self, flow: Flow, request: Request<StreamBody>) -> Calling<'_>;

    /// Whether there is a `[management_api]`.
    fn is_configured(&self) -> bool;

    /// The state of the keeper of its tokens; `None` without `[management_api]`.
    fn snapshot(&self, now: Moment) -> Option<ManagementSnapshot>;
}

/// A call under way.
pub type Calling<'a> = Pin<Box<dyn Future<Output = Result<Called, ManagementCallFailure>> + Send + 'a>>;

/// Auth0's answer to a call.
#[derive(Debug)]
pub struct Called {
    /// The answer, with all of its headers. Its status may be any.
    pub answer: Response<StreamBody>,
    /// The token that the call carried.
    pub token: Arc<ManagementToken>,
    /// Whether Auth0 refused the token (401), and the token was dropped for it. Then the next call waits for another
    /// token, so a caller that still has the whole body may call once more. `false` where a token was dropped so recently
    /// that another would probably be refused too: the answer is then to be passed on.
    pub token_was_refused: bool,
}

/// Why a call was not sent, or had no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManagementCallFailure {
    /// There is no `[management_api]`.
    #[error(
        "calls of the Management API are off: an operator has to add [management_api] to the configuration"
    )]
    NotConfigured,
    /// A 429 of Auth0 has closed the gate for all requests.
    #[error("the tenant's rate limit is reached: wait until it resets")]
    GateClosed(ClosedGate),
    /// There was no permit of the tenant's budget in time.
    #[error(
        "the daemon's own budget for the tenant is exhausted, which lookups use first: if that persists and the tenant \
         allows more, raise the limits in [upstream]"
    )]
    Busy {
        /// After how long a permit may be free.
        retry_after: Duration,
    },
    /// There is no token that may be used.
    #[error("there is no Management token for this call: {}", .0.failure)]
    NoToken(Unavailable),
    /// Auth0 issues tokens with scopes that must not be used.
    #[error("calls of the Management API are closed: {0}")]
    Closed(Refusal),
    /// The call was sent or was about to be, and has no answer. Whether Auth0 has acted on it is unknown.
    #[error("{0}")]
    Failed(Failure),
}

/// A closed gate, as Auth0's own headers describe one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedGate {
    /// For how long it stays closed: `Retry-After`.
    pub retry_after: Duration,
    /// The limit, if Auth0 has stated it: `X-RateLimit-Limit`. Nothing remains of it.
    pub limit: Option<u64>,
    /// When it opens, in whole seconds: `X-RateLimit-Reset`. By this machine's clock, which the clients have as well.
    pub resets_at: Timestamp,
}

impl ManagementCallFailure {
    /// After how long a retry can help; `None` if that depends on an operator.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::GateClosed(gate) => Some(gate.retry_after),
            Self::Busy { retry_after } => Some(*retry_after),
            Self::NoToken(why) => Some(why.retry_after),
            Self::Failed(failure) => failure.asks_to_wait(),
            Self::NotConfigured | Self::Closed(_) => None,
        }
    }
}

//! The interface through which the keeper requests Management tokens: [`GrantSource`], which `upstream` implements.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::domain::error::Failure;
use crate::domain::freshness::{Deadline, Moment};
use crate::secret::Secret;

/// The source of Management tokens.
pub trait GrantSource: Send + Sync + 'static {
    /// Requests a grant, and may retry once if that is refused. Each request ends within `tenant.request_timeout`,
    /// which counts from when it may be sent.
    fn grant(&self) -> Granting<'_>;
}

/// A grant under way.
pub type Granting<'a> = Pin<Box<dyn Future<Output = Result<Grant, Failure>> + Send + 'a>>;

/// A Management token as it was granted.
#[derive(Debug)]
pub struct Grant {
    /// The token.
    pub token: Secret,
    /// When its request was sent.
    pub sent: Moment,
    /// When it expires: by `expires_in` or by its own `exp`, whichever is earlier.
    pub expires: Deadline,
    /// Its scopes; `None` if Auth0 does not state them.
    pub scopes: Option<Vec<String>>,
    /// Whether it has [`IDP_TOKENS_SCOPE`](super::IDP_TOKENS_SCOPE), by the answer or by its own claims; `None` if neither
    /// states a scope.
    pub shows_idp_tokens: Option<bool>,
    /// For how long the application's quota for tokens is nearly used up; zero if Auth0 does not report that.
    pub scarce_for: Duration,
}

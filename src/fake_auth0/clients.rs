//! The applications of a tenant.

use crate::secret::Secret;

/// An application that has authenticated, and the scopes of its client grant.
pub(super) struct Client {
    pub id: String,
    pub scopes: Vec<String>,
}

/// A further application of the tenant.
pub(super) struct Application {
    pub secret: Secret,
    pub scopes: Vec<String>,
}

//! The interface through which the keyring requests the tenant's keys: [`KeySource`], which `upstream` implements.

use std::future::Future;
use std::pin::Pin;

use crate::domain::error::Unavailable;
use crate::domain::freshness::Moment;

use super::keys::KeySet;

/// The source of the tenant's keys.
pub trait KeySource: Send + Sync + 'static {
    /// Requests the key set, within the budget. Ends within `tenant.request_timeout`.
    fn fetch(&self) -> FetchingKeys;
}

/// A request for the key set.
pub type FetchingKeys = Pin<Box<dyn Future<Output = Result<FetchedKeys, Unavailable>> + Send>>;

/// A key set, and when it was requested.
#[derive(Debug)]
pub struct FetchedKeys {
    /// The keys; at least one.
    pub keys: KeySet,
    /// When the request was sent, from which the keys' age counts.
    pub sent: Moment,
}

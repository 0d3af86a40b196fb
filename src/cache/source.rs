//! Where the cache asks.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::domain::error::Unavailable;
use crate::domain::freshness::Moment;
use crate::domain::identity::Profile;
use crate::domain::priority::{Flow, Priority};
use crate::domain::user::UserId;
use crate::flight::Owners;

/// Where profiles come from when the cache has none to serve.
pub trait ProfileSource: Send + Sync + 'static {
    /// Asks for `user`, when it is the turn of one of those `for_whom` it is. Ends within `tenant.request_timeout`,
    /// retries included.
    fn fetch(&self, user: UserId, for_whom: ForWhom) -> Fetching;

    /// The same if that can be done at once and there is room to spare for something of this priority. Does not wait,
    /// and tries once.
    fn fetch_if_spare(&self, user: UserId, priority: Priority) -> Result<Fetching, NotNow>;

    /// Spends as much without asking: for what makes others ask.
    fn spare(&self, priority: Priority) -> Result<(), Duration>;
}

/// The flows that wait for a fetch: that of the lookup that began it, and of those that have joined.
pub type ForWhom = Owners<Flow>;

/// Why a source does not ask at once.
#[derive(Debug)]
pub enum NotNow {
    /// There is no room to spare; when there may be.
    NoRoom(Duration),
    /// It cannot ask at all.
    Unavailable(Unavailable),
}

/// A fetch under way; it owns what it needs, since it outlives the caller that wanted it.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Fetched, Unavailable>> + Send>>;

/// What a source knows of a user.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// `None`: there is no such user.
    pub profile: Option<Profile>,
    /// When the request was sent; everything ages from then.
    pub sent: Moment,
    /// The source was not allowed to see tokens, so their absence says nothing about the user.
    pub tokens_withheld: bool,
    /// The earliest moment on our elapsed clock at which the user can have logged in last, if that is known.
    pub logged_in: Option<Duration>,
}

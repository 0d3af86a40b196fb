//! Where the cache gets profiles from: an interface that `upstream` implements.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::domain::error::Unavailable;
use crate::domain::freshness::Moment;
use crate::domain::identity::Profile;
use crate::domain::priority::{Flow, Priority};
use crate::domain::user::UserId;
use crate::flight::Owners;

/// A source of profiles.
pub trait ProfileSource: Send + Sync + 'static {
    /// Asks for `user` at the turn of one of the flows in `for_whom`. Ends within `tenant.request_timeout`, retries
    /// included.
    fn fetch(&self, user: UserId, for_whom: ForWhom) -> Fetching;

    /// Asks for `user` if the budget has room at once for a request of this priority. Does not wait, and does not
    /// retry.
    fn fetch_if_spare(&self, user: UserId, priority: Priority) -> Result<Fetching, NotNow>;

    /// Takes a request's share of the budget without a request, for an action that makes later lookups ask.
    ///
    /// # Errors
    /// The time after which the budget may have room.
    fn spare(&self, priority: Priority) -> Result<(), Duration>;
}

/// The flows that wait for a fetch: of the lookup that started it, and of those that have joined.
pub type ForWhom = Owners<Flow>;

/// Why a source does not ask now.
#[derive(Debug)]
pub enum NotNow {
    /// The budget has no room; the time after which it may have.
    NoRoom(Duration),
    /// Auth0 cannot be asked at all.
    Unavailable(Unavailable),
}

/// A fetch under way. It owns what it needs, since it outlives the lookup that started it.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Fetched, Unavailable>> + Send>>;

/// What a source has answered about a user.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// `None`: Auth0 has no such user.
    pub profile: Option<Profile>,
    /// When the request was sent. Ages count from here.
    pub sent: Moment,
    /// The Management token lacks the scope for tokens, so their absence shows nothing about the user.
    pub tokens_withheld: bool,
    /// The earliest moment on the elapsed clock at which the last login can have been, if that is known.
    pub logged_in: Option<Duration>,
}

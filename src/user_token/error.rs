//! Why a user token is not verified.

use crate::domain::claims::InvalidUserToken;
use crate::domain::error::Unavailable;

/// Why no user results from a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotVerified {
    /// The token is invalid.
    Invalid(InvalidUserToken),
    /// The keys to verify the token with cannot be obtained.
    Unavailable(Unavailable),
}

impl From<InvalidUserToken> for NotVerified {
    fn from(why: InvalidUserToken) -> Self {
        Self::Invalid(why)
    }
}

impl From<Unavailable> for NotVerified {
    fn from(why: Unavailable) -> Self {
        Self::Unavailable(why)
    }
}

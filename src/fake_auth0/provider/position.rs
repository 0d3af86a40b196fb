//! The name of a refresh token that is no secret: its family, and its number there.

/// Which refresh token: its family, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The family's number, from 0 in the order of consents.
    pub family: usize,
    /// The number of the refresh token in its family; the one of the consent is 0.
    pub generation: usize,
}

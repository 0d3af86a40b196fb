//! How a provider's tokens live and rotate.

use std::time::Duration;

use crate::domain::source::Rotation;

/// How long access tokens live, and what the redemption of a refresh token does to it and to older tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// Whether a redemption replaces the refresh token, and whether the old one stays valid.
    pub rotation: Rotation,
    /// How long after its first redemption a single-use refresh token can be redeemed again. It then has a further
    /// successor, and the first successor stays valid.
    pub grace: Duration,
    /// Whether a later redemption ends the family: all its refresh tokens and all its access tokens.
    pub reuse_ends_family: bool,
    /// Whether answers state the refresh token although it is the one that was redeemed.
    pub repeats_unchanged: bool,
    /// The age from which on a refresh token is replaced by a redemption; zero replaces it each time.
    pub replaced_after: Duration,
    /// What a rotation does to access tokens that were issued before.
    pub old_access_token: OldAccessToken,
    /// The lifetime of access tokens; `None` is stated nowhere, and lasts until they are revoked.
    pub lifetime: Option<Duration>,
}

/// What a rotation does to access tokens of the same family that were issued before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldAccessToken {
    /// They are valid until they expire.
    Lives,
    /// They are invalid at once.
    EndsAtRotation,
    /// They are invalid when the grace of the redeemed refresh token is over.
    EndsAfterGrace,
}

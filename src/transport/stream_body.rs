//! The type of bodies that come piece by piece, and why they end early.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

/// The body of a request or of an answer, which comes piece by piece.
pub type StreamBody = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The peer broke off, or its framing is malformed.
    #[error("the body broke off")]
    Broken,
    /// The body has more bytes than are allowed.
    #[error("the body is too large")]
    TooLarge,
}

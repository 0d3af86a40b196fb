//! What is known of an error whatever the request was.

use hyper::StatusCode as S;

use crate::api::route::RouteGroup;

/// What is known of an error whatever the request was.
#[derive(Debug)]
pub struct ErrorSpec {
    /// `code` in the answer. Clients decide by it, so it never changes.
    pub name: &'static str,
    /// The HTTP status.
    pub status: S,
    /// `title` in the answer: one per code (RFC 9457 §3.1.4).
    pub title: &'static str,
    /// When the error is answered.
    pub meaning: &'static str,
    /// What the client, its user or an operator does about it.
    pub remedy: &'static str,
    /// The routes that may answer it on a Unix socket.
    pub answered_by: &'static [RouteGroup],
    /// What `Retry-After` states; `None` where the answer has no such header.
    pub retry_after: Option<&'static str>,
    /// Another header that only this error has.
    pub header: Option<&'static str>,
    /// Members of the answer besides those that every problem has.
    pub members: &'static [&'static str],
    /// The exit code of client commands.
    pub exit: u8,
    /// Whether `cloakroom_denied_total` counts it: the cause is who asks, or how.
    pub is_denial: bool,
}

impl ErrorSpec {
    /// What most errors have in common, for rows to name only what differs.
    pub(super) const USUAL: Self = Self {
        name: "",
        status: S::INTERNAL_SERVER_ERROR,
        title: "",
        meaning: "",
        remedy: "",
        answered_by: &[],
        retry_after: None,
        header: None,
        members: &[],
        exit: 1,
        is_denial: false,
    };

    /// Whether the row names everything that [`Self::USUAL`] leaves empty.
    pub(super) const fn is_complete(&self) -> bool {
        let is_any_empty = self.name.is_empty()
            || self.title.is_empty()
            || self.meaning.is_empty()
            || self.remedy.is_empty()
            || self.answered_by.is_empty();
        !is_any_empty
    }
}

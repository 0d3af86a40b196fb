//! An event of the audit log: what happened to one request, or to several that share a line.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::freshness::Moment;
use crate::domain::policy::{Caller, Operation};
use crate::domain::user::UserId;
use crate::secret::Tag;

/// The outcome of one request, or of several that share a line.
#[derive(Clone, Debug)]
pub struct Event {
    /// When the response was decided.
    pub at: Moment,
    /// Path of the socket.
    pub listener: Arc<str>,
    /// The client; `None` if the event counts requests of several clients.
    pub caller: Option<Caller>,
    /// The process that connected, if the kernel can name it here. The kernel may have reused the number since.
    pub pid: Option<u32>,
    /// The requested operation; `None` if the path matches no route that has one.
    pub operation: Option<Operation>,
    /// The user that the request is about; `None` if it names no user, all users, or an invalid id.
    pub user: Option<UserId>,
    /// The connection of the returned token, or else the requested one.
    pub connection: Option<Name>,
    /// The outcome in one word.
    pub outcome: &'static str,
    /// The response's status; `None` if the client left before there was one.
    pub status: Option<u16>,
    /// The response's code, if it is a problem.
    pub code: Option<&'static str>,
    /// Where a lookup's response came from.
    pub cache: Option<&'static str>,
    /// Where the token that was served comes from.
    pub source: Option<&'static str>,
    /// Fingerprint of the token that was returned or reported.
    pub fingerprint: Option<Tag>,
    /// The request id, as in the response.
    pub request_id: String,
    /// The client's own trace, if the request names one.
    pub trace: Option<TraceId>,
    /// What is known of a call for another server; `None` for any other request.
    pub call: Option<Box<CallEvent>>,
    /// From the request's head to the decision, or to the end of an answer that was sent on.
    pub took: Duration,
    /// How many requests the event counts. All other fields are those of the first.
    pub count: u64,
    /// When the last of several requests was decided; `None` for a single request.
    pub until: Option<Moment>,
}

/// A request for another server. The path and the query are left out, because they may name users.
#[derive(Clone, Debug, Default)]
pub struct CallEvent {
    /// The connection of a `[[proxy]]`; empty for the Management API.
    pub connection: Arc<str>,
    /// The name of the `[[proxy]]`, or `management_api`.
    pub api: Arc<str>,
    /// The method.
    pub method: String,
    /// The element of `calls` that permitted the call; `None` if none did.
    pub pattern: Option<Arc<str>>,
    /// What a refusal of the other server means.
    pub verdict: Option<&'static str>,
    /// Whether the call was made once more, with another token.
    pub is_repeated: bool,
    /// From the request's head to the answer's; `None` without an answer.
    pub head: Option<Duration>,
    /// The bytes of the request's body that were sent on.
    pub sent: u64,
    /// The bytes of the answer's body that were handed on.
    pub received: u64,
    /// How the answer's body ended; without an answer `left`, or the code of the error.
    pub end: &'static str,
}

/// A connection's name, safe for a log line: at most as long as Auth0's names, in printable ASCII, which is all that
/// Auth0's names contain. Clients may send anything as a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    const LONGEST: usize = 128;

    /// Cuts `text` to the longest name, and replaces every other character by U+FFFD.
    pub fn new(text: &str) -> Self {
        let printable = |c: char| if (' '..='~').contains(&c) { c } else { char::REPLACEMENT_CHARACTER };
        Self(text.chars().take(Self::LONGEST).map(printable).collect())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The trace id of a client's request, as in W3C Trace Context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_connections_are_short_and_printable() {
        assert_eq!(Name::new("google-oauth2"), Name("google-oauth2".into()));
        assert_eq!(Name::new("a\nb\u{9b}c\u{202e}\u{0}"), Name("a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}".into()));
        assert_eq!(Name::new(&"x".repeat(1 << 14)).0.len(), 128);
    }
}

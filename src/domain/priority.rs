//! The order of requests to Auth0 when they have to wait: priority, and flows of equal priority.

use super::policy::Caller;

/// The priority of a request to Auth0, highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// The Management token, which every other request takes.
    Management,
    /// A lookup waits for it, and nothing is cached.
    Caller,
    /// A lookup whose cached token is stale, and is served if the tenant cannot be asked.
    Stale,
    /// A client asked for a fresh answer although one is cached, or reported the cached token.
    Fresh,
    /// An entry in use is renewed ahead of time.
    Ahead,
    /// A client's own call of the Management API. The last, because a client may send any number of them: if they went
    /// before renewals ahead of time, entries in use would become stale, and lookups would wait for Auth0.
    Proxied,
}

/// A flow in the sense of fair queuing: all requests of one uid, through any number of connections and about any number
/// of users. Flows of equal priority take turns, so a busy client delays only itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// Requests of the daemon itself.
    Daemon,
    /// Requests for clients of this uid.
    Uid(u32),
}

impl From<Caller> for Flow {
    fn from(caller: Caller) -> Self {
        Self::Uid(caller.uid)
    }
}

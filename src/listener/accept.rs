//! The accept loop: accepts connections, identifies their clients, and admits, refuses or closes each of them.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::domain::policy::Caller;

use super::connection_limits::{ConnectionLimits, ConnectionSlot, Permit};
use super::fairness::{Group, yield_to_ready};
use crate::api::peer::ListenerTerms;
use crate::api::request_counters::{RefusalReason, RequestCounters};

/// The pause after an accept that failed for lack of descriptors or memory. Other connections may end meanwhile.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The number of connections after which the accept loop yields to all other ready tasks. They are accepted in batches
/// because the backlog is first in, first out, and the kernel names a client only once its connection is accepted: a
/// connection that should be served next may stand behind many others.
const ACCEPT_BATCH: usize = 8;

/// The number of connections closed without a response after which the runtime polls for new events. With 64, and
/// without that poll, 5000 clients that reconnected at once took the 95th percentile of another uid's hits from 0.2 to
/// 1.2 ms; with 16 it stays below 0.3 ms (debug builds).
const CLOSE_BATCH: usize = 16;

/// The most refusals of a listener at a time; see [`max_refusals`].
const MAX_REFUSALS: usize = 128;

/// The most refusals of one group in a second. Each costs as much as a request; only a flood needs more.
const REFUSALS_PER_SECOND: usize = 64;

/// The most groups that [`RefusalQuota`] counts in one second.
const MAX_GROUPS: usize = 64;

/// The shortest time between two log lines of one [`LogThrottle`]. Log lines are limited because clients can cause one
/// with every connection.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// During a shutdown, after the socket's file is removed: how long the backlog has to stay empty until it counts as
/// drained. A client takes microseconds from finding the file to joining the backlog.
const BACKLOG_QUIET_TIME: Duration = Duration::from_millis(10);

/// The most connections, besides `max_connections`, that are open at a time only to be refused with a response. Beyond
/// that limit, or where one uid has half of these, connections are closed without a response.
pub fn max_refusals(max_connections: usize) -> usize {
    (max_connections / 4).clamp(1, MAX_REFUSALS)
}

/// Registers `listener` with the runtime. Unlike with tokio's own listener, accepted streams are registered separately.
///
/// # Errors
/// Those of `epoll_ctl(2)`.
///
/// # Panics
/// Outside a tokio runtime.
pub fn async_listener(listener: UnixListener) -> io::Result<AsyncFd<UnixListener>> {
    listener.set_nonblocking(true)?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe, and requires what `UnixListener` guarantees: it owns one descriptor, \
                  always the same, until it is dropped"
    )]
    AsyncFd::with_interest(listener, Interest::READABLE)
}

/// The accept loop of one listener.
pub(super) struct Acceptor {
    listener: AsyncFd<UnixListener>,
    limits: Arc<ConnectionLimits>,
    refusals: Arc<ConnectionLimits>,
    refusal_quota: RefusalQuota,
    /// Connections accepted since the loop last yielded.
    accepted: usize,
    /// Connections closed without a response since the runtime last polled for events.
    closed: usize,
    terms: watch::Receiver<Arc<ListenerTerms>>,
    request_counters: Arc<RequestCounters>,
    /// Throttles the warning that a client has reached a connection limit.
    limit_log: LogThrottle,
    /// Throttles the warning that descriptors or memory are short. A shortage lasts longer than one wait for a
    /// connection: each client that disconnects frees a descriptor for the next one, and then none is free again.
    shortage_log: LogThrottle,
}

/// An accepted connection that gets a response.
pub(super) enum Arrival {
    /// A connection to serve.
    Admitted(Accepted),
    /// A connection to refuse with a response. It keeps its slot until the response is sent.
    Refused(tokio::net::UnixStream, ConnectionSlot),
}

/// A connection that was admitted, with its client and its slot.
pub(super) struct Accepted {
    pub stream: tokio::net::UnixStream,
    pub caller: Caller,
    pub group: Group,
    pub slot: ConnectionSlot,
}

impl Acceptor {
    /// An accept loop with a limit of `max_connections`, and [`max_refusals`] besides.
    pub fn new(
        listener: AsyncFd<UnixListener>,
        max_connections: usize,
        terms: watch::Receiver<Arc<ListenerTerms>>,
        request_counters: Arc<RequestCounters>,
    ) -> Self {
        let (limits, refusals) =
            (ConnectionLimits::new(max_connections), ConnectionLimits::new(max_refusals(max_connections)));
        Self {
            listener,
            limits,
            refusals,
            refusal_quota: RefusalQuota::default(),
            accepted: 0,
            closed: 0,
            terms,
            request_counters,
            limit_log: LogThrottle::default(),
            shortage_log: LogThrottle::default(),
        }
    }

    /// Waits for a permit, then for the next connection. While all permits are taken, new connections wait in the
    /// kernel's backlog. Cancel safe.
    pub async fn next(&mut self) -> Arrival {
        loop {
            let permit = self.limits.permit().await;
            // The backlog may be of any length, and admitted clients wait meanwhile. Only the permit is lost if this
            // future is dropped at a yield: no connection has been accepted yet.
            if self.closed >= CLOSE_BATCH {
                yield_now().await;
                (self.accepted, self.closed) = (0, 0);
            } else if self.accepted >= ACCEPT_BATCH {
                yield_to_ready().await;
                self.accepted = 0;
            }
            let (stream, caller) = self.accept().await;
            if let Some(arrival) = self.admit(permit, stream, caller) {
                self.accepted = self.accepted.saturating_add(1);
                return arrival;
            }
            self.closed = self.closed.saturating_add(1);
        }
    }

    /// The next connection of the backlog during a shutdown; `None` once the backlog has stayed empty for
    /// [`BACKLOG_QUIET_TIME`].
    pub async fn next_from_backlog(&mut self) -> Option<Arrival> {
        loop {
            let permit = self.limits.permit().await;
            let accept = tokio::time::timeout(BACKLOG_QUIET_TIME, self.accept());
            let (stream, caller) = accept.await.ok()?;
            if let Some(arrival) = self.admit(permit, stream, caller) {
                return Some(arrival);
            }
        }
    }

    /// Admits or refuses a connection; `None` if it is closed without a response. Its descriptor counts against
    /// `permit` until the connection has a slot, so open descriptors never exceed both limits together.
    fn admit(&mut self, permit: Permit, stream: UnixStream, caller: Caller) -> Option<Arrival> {
        let terms = self.terms.borrow();
        let (standing, group) = (terms.policy.standing(caller), Group::of(caller, &terms.policy));
        drop(terms);
        if let Some(slot) = self.limits.slot(permit, caller, standing) {
            let stream = self.register(stream)?;
            return Some(Arrival::Admitted(Accepted { stream, caller, group, slot }));
        }
        self.request_counters.connection_refused(RefusalReason::Limit);
        if self.limit_log.is_due() {
            tracing::warn!(
                uid = caller.uid,
                "A connection is refused: its uid has too many, or all uids together have"
            );
        }
        if !self.refusal_quota.try_take(group) {
            return None;
        }
        let slot = self.refusals.free_slot(caller, standing)?;
        Some(Arrival::Refused(self.register(stream)?, slot))
    }

    /// Registers `stream` with the runtime. Most connections that are closed at once skip this: it takes more system
    /// calls than accepting and closing them.
    fn register(&mut self, stream: UnixStream) -> Option<tokio::net::UnixStream> {
        let registered = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
        registered.inspect_err(|error| self.note_shortage(error)).ok()
    }

    fn note_shortage(&mut self, error: &io::Error) {
        self.request_counters.connection_refused(RefusalReason::Resources);
        if self.shortage_log.is_due() {
            tracing::warn!(%error, "No connection can be accepted; trying again");
        }
    }

    /// The next connection and the client at its other end. Errors do not end the loop: an error of one connection
    /// concerns that one alone, and a lack of descriptors pauses the loop.
    async fn accept(&mut self) -> (UnixStream, Caller) {
        loop {
            let stream = match self.listener.async_io(Interest::READABLE, UnixListener::accept).await {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    self.note_shortage(&error);
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                    continue;
                }
            };
            match getsockopt(&stream, sockopt::PeerCredentials) {
                Ok(peer) => return (stream, Caller { uid: peer.uid(), gid: peer.gid() }),
                Err(error) => {
                    self.request_counters.connection_refused(RefusalReason::Unnamed);
                    tracing::warn!(%error, "A connection is closed: the kernel does not state the uid of its client");
                }
            }
        }
    }
}

/// The refusals of each group within the current second, limited to [`REFUSALS_PER_SECOND`] each.
#[derive(Default)]
struct RefusalQuota {
    since: Option<Instant>,
    by_group: HashMap<Group, usize>,
}

impl RefusalQuota {
    /// Counts one more refusal of `group`; false if the group has used up its quota.
    fn try_take(&mut self, group: Group) -> bool {
        let now = Instant::now();
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            self.since = Some(now);
            self.by_group.clear();
        }
        if self.by_group.len() >= MAX_GROUPS && !self.by_group.contains_key(&group) {
            return false;
        }
        let taken = self.by_group.entry(group).or_default();
        let is_within = *taken < REFUSALS_PER_SECOND;
        *taken += usize::from(is_within);
        is_within
    }
}

/// Limits a log message to one line per [`LOG_INTERVAL`].
#[derive(Default)]
struct LogThrottle(Option<Instant>);

impl LogThrottle {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_group_has_its_own_quota_of_refusals_per_second() {
        let mut quota = RefusalQuota::default();
        let mut taken = |group| (0..1000).filter(|_| quota.try_take(group)).count();
        assert_eq!(taken(Group::Uid(7)), REFUSALS_PER_SECOND);
        assert_eq!(taken(Group::Strangers), REFUSALS_PER_SECOND, "quotas are per group");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(taken(Group::Uid(7)), REFUSALS_PER_SECOND);
        for uid in 0..1000 {
            quota.try_take(Group::Uid(uid));
        }
        assert_eq!(quota.by_group.len(), MAX_GROUPS);
    }

    #[test]
    fn max_refusals_is_a_quarter_of_the_connections_within_bounds() {
        assert_eq!([1, 8, 512, 1024, 65_536].map(max_refusals), [1, 2, 128, 128, 128]);
    }
}

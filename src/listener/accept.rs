//! Where connections come in: nobody is dropped for want of room before it is known who that is.

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

/// After an accept that failed for want of descriptors or memory: give the other connections time to end.
const AFTER_A_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// After so many connections whatever else is ready goes first. They are accepted in one go because every connection
/// that came before is in the way of whose turn it would be, and who made which is known only then.
const IN_ONE_GO: usize = 8;

/// After so many connections that were closed without a word the runtime looks for requests that have come. With 64, and
/// without that look, 5000 callers that came back and back took the 95th percentile of another uid's hits from 0.2 to
/// 1.2 ms; so it stays below 0.3 ms (debug builds).
const CLOSED_IN_ONE_GO: usize = 16;

/// The most refusals of a listener at a time; see [`max_refusals`].
const MAX_REFUSALS: usize = 128;

/// How many connections of one group are told in a second that there is no room for them. Each costs as much as a request;
/// more of them would only be a flood's.
const REFUSALS_PER_SECOND: usize = 64;

/// Groups that are told apart within a second.
const MAX_GROUPS: usize = 64;

/// What happens with every other connection is worth one line a minute.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// At the end, when nobody can find the socket any more: for how long the kernel's queue has to be empty before
/// there is nobody left in it. Whoever is between finding the file and joining the queue takes microseconds.
const AFTER_THE_LAST_COMER: Duration = Duration::from_millis(10);

/// How many connections are open at a time, besides `max_connections`, only for being told that there is no room for
/// them. Beyond that, or where one uid has half of these, they are closed without a word.
pub fn max_refusals(max_connections: usize) -> usize {
    (max_connections / 4).clamp(1, MAX_REFUSALS)
}

/// `listener` as one that the runtime waits for. What it accepts is registered apart, unlike by tokio's own.
///
/// # Errors
/// Those of `epoll_ctl(2)`.
///
/// # Panics
/// Outside a tokio runtime.
pub fn accepting(listener: UnixListener) -> io::Result<AsyncFd<UnixListener>> {
    listener.set_nonblocking(true)?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe, and asks of us what `UnixListener` holds to: it owns its descriptor for as long \
                  as it lives, and always names the same"
    )]
    AsyncFd::with_interest(listener, Interest::READABLE)
}

/// Where connections come in.
pub(super) struct Acceptor {
    listener: AsyncFd<UnixListener>,
    limits: Arc<ConnectionLimits>,
    refusals: Arc<ConnectionLimits>,
    told: Told,
    /// Accepted since everything else that was ready went first, and of those, closed at once.
    accepted: usize,
    closed: usize,
    terms: watch::Receiver<Arc<ListenerTerms>>,
    request_counters: Arc<RequestCounters>,
    /// Says that there is no room for somebody.
    full: LogThrottle,
    /// Says that descriptors or memory are short. That lasts longer than any one wait for a connection does: each
    /// caller that leaves makes room for the next, and then it is short again.
    short: LogThrottle,
}

/// A connection that was accepted.
pub(super) enum Arrival {
    /// It is served.
    Admitted(Accepted),
    /// It is told that there is no room for it, and keeps a slot for that long.
    Refused(tokio::net::UnixStream, ConnectionSlot),
}

/// Somebody who is in.
pub(super) struct Accepted {
    pub stream: tokio::net::UnixStream,
    pub caller: Caller,
    pub group: Group,
    pub slot: ConnectionSlot,
}

impl Acceptor {
    /// A acceptor to this much limits.
    pub fn new(
        listener: AsyncFd<UnixListener>,
        max_connections: usize,
        terms: watch::Receiver<Arc<ListenerTerms>>,
        request_counters: Arc<RequestCounters>,
    ) -> Self {
        let (limits, refusals) =
            (ConnectionLimits::new(max_connections), ConnectionLimits::new(max_refusals(max_connections)));
        let (full, short, told) = (LogThrottle::default(), LogThrottle::default(), Told::default());
        Self {
            listener,
            limits,
            refusals,
            told,
            accepted: 0,
            closed: 0,
            terms,
            request_counters,
            full,
            short,
        }
    }

    /// The next connection. ConnectionLimits first, and only then a connection: where everything is taken, those that have to wait do
    /// so in the kernel's queue. May be dropped at any time.
    pub async fn next(&mut self) -> Arrival {
        loop {
            let permit = self.limits.permit().await;
            // There may be any number of them, and those who are in are waiting. Nobody is dropped here: nobody has been
            // accepted.
            if self.closed >= CLOSED_IN_ONE_GO {
                yield_now().await;
                (self.accepted, self.closed) = (0, 0);
            } else if self.accepted >= IN_ONE_GO {
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

    /// The same until nobody has come for a moment.
    pub async fn next_of_the_last(&mut self) -> Option<Arrival> {
        loop {
            let permit = self.limits.permit().await;
            let last = tokio::time::timeout(AFTER_THE_LAST_COMER, self.accept());
            let (stream, caller) = last.await.ok()?;
            if let Some(arrival) = self.admit(permit, stream, caller) {
                return Some(arrival);
            }
        }
    }

    /// What becomes of a connection; nothing if it is closed without a word. Its descriptor is that of `place` until it has
    /// a slot, so there are never more than places and refusals.
    fn admit(&mut self, permit: Permit, stream: UnixStream, caller: Caller) -> Option<Arrival> {
        let terms = self.terms.borrow();
        let (standing, group) = (terms.policy.standing(caller), Group::of(caller, &terms.policy));
        drop(terms);
        if let Some(slot) = self.limits.slot(permit, caller, standing) {
            let stream = self.registered(stream)?;
            return Some(Arrival::Admitted(Accepted { stream, caller, group, slot }));
        }
        self.request_counters.connection_refused(RefusalReason::Limit);
        if self.full.is_due() {
            tracing::warn!(
                uid = caller.uid,
                "A connection is refused: its uid has too many, or those of other uids together"
            );
        }
        if !self.told.has_room(group) {
            return None;
        }
        let permit = self.refusals.free_permit()?;
        let slot = self.refusals.slot(permit, caller, standing)?;
        Some(Arrival::Refused(self.registered(stream)?, slot))
    }

    /// `stream` as one that the runtime waits for. Most of those that are closed at once never become one, which would
    /// take more system calls than to accept and to close them.
    fn registered(&mut self, stream: UnixStream) -> Option<tokio::net::UnixStream> {
        let registered = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
        registered.inspect_err(|error| self.note_shortage(error)).ok()
    }

    fn note_shortage(&mut self, error: &io::Error) {
        self.request_counters.connection_refused(RefusalReason::Resources);
        if self.short.is_due() {
            tracing::warn!(%error, "No connection can be accepted; trying again");
        }
    }

    /// The next connection and who is at its other end. Cannot fail: one caller's trouble is its own, and running
    /// out of descriptors pauses the loop but never ends it.
    async fn accept(&mut self) -> (UnixStream, Caller) {
        loop {
            let stream = match self.listener.async_io(Interest::READABLE, UnixListener::accept).await {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    self.note_shortage(&error);
                    tokio::time::sleep(AFTER_A_FAILED_ACCEPT).await;
                    continue;
                }
            };
            match getsockopt(&stream, sockopt::PeerCredentials) {
                Ok(peer) => return (stream, Caller { uid: peer.uid(), gid: peer.gid() }),
                Err(error) => {
                    self.request_counters.connection_refused(RefusalReason::Unnamed);
                    tracing::warn!(%error, "A connection whose caller the kernel does not name is closed");
                }
            }
        }
    }
}

/// How many of each group were told within a second that there is no room for them.
#[derive(Default)]
struct Told {
    since: Option<Instant>,
    by_group: HashMap<Group, usize>,
}

impl Told {
    /// Counts one more of `group`, unless there were enough.
    fn has_room(&mut self, group: Group) -> bool {
        let now = Instant::now();
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            self.since = Some(now);
            self.by_group.clear();
        }
        if self.by_group.len() >= MAX_GROUPS && !self.by_group.contains_key(&group) {
            return false;
        }
        let told = self.by_group.entry(group).or_default();
        let has_room = *told < REFUSALS_PER_SECOND;
        *told += usize::from(has_room);
        has_room
    }
}

/// Says something at most once a minute.
#[derive(Default)]
struct LogThrottle(Option<Instant>);

impl LogThrottle {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0.is_none_or(|last| now.duration_since(last) >= BETWEEN_LINES);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_of_a_group_are_told_in_a_second() {
        let mut told = Told::default();
        let mut all = |group| (0..1000).filter(|_| told.has_room(group)).count();
        assert_eq!(all(Group::Uid(7)), REFUSALS_PER_SECOND);
        assert_eq!(all(Group::Strangers), REFUSALS_PER_SECOND, "no group takes another's");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(all(Group::Uid(7)), REFUSALS_PER_SECOND);
        for uid in 0..1000 {
            told.has_room(Group::Uid(uid));
        }
        assert_eq!(told.by_group.len(), MAX_GROUPS);
    }

    #[test]
    fn refusals_are_a_quarter_within_bounds() {
        assert_eq!([1, 8, 512, 1024, 65_536].map(max_refusals), [1, 2, 128, 128, 128]);
    }
}

//! The client at the other end of a connection, and the rules for it, which may change while the connection is open.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::domain::policy::{Caller, OVERFLOW_ID, Policy, Rights};
use crate::domain::priority::Flow;

use super::rate_limit::Rates;
use super::streams::{NoStreamSlot, StreamPermit, StreamSlots};

/// The rules for a listener's clients. Replaced as a whole when the configuration changes; open connections follow with
/// their next request.
#[derive(Debug)]
pub struct ListenerTerms {
    pub(crate) policy: Policy,
    rates: Arc<Rates>,
    require_request_header: bool,
}

impl ListenerTerms {
    /// Terms with this policy. Rates continue from the counters of the terms `before`.
    pub fn new(policy: Policy, require_request_header: bool, before: Option<&Self>) -> Arc<Self> {
        let rates = before.map(|before| Arc::clone(&before.rates)).unwrap_or_default();
        Arc::new(Self { policy, rates, require_request_header })
    }
}

/// A client, and the rules for it at the moment of one request.
pub(crate) struct Peer {
    pub rights: Rights,
    pub rates: Arc<Rates>,
    pub require_request_header: bool,
    /// `None` over TCP, where the kernel identifies no client.
    pub origin: Option<Origin>,
    /// `None` over TCP, where no call is proxied.
    streams: Option<Arc<dyn StreamSlots>>,
}

/// The origin of a connection, for the audit log alone: no right depends on a pid.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The listener's path.
    pub listener: Arc<str>,
    /// The process that connected; `None` where the kernel does not state it.
    pub pid: Option<u32>,
}

impl Origin {
    /// Asks the kernel for the process at the other end of `stream`, which `listener` has accepted.
    pub fn new(listener: Arc<str>, stream: &UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        // 0 stands for a process of another pid namespace.
        Self { listener, pid: pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0) }
    }
}

/// The client at the other end of a connection, for as long as that is open.
pub(crate) struct ConnectionPeer {
    caller: Caller,
    origin: Origin,
    streams: Arc<dyn StreamSlots>,
    current: Mutex<Current>,
}

struct Current {
    terms: watch::Receiver<Arc<ListenerTerms>>,
    /// The peer under the terms that were read last.
    peer: Arc<Peer>,
}

impl ConnectionPeer {
    /// The client `caller` of a connection with these slots.
    pub fn new(
        caller: Caller,
        origin: Origin,
        streams: Arc<dyn StreamSlots>,
        mut terms: watch::Receiver<Arc<ListenerTerms>>,
    ) -> Self {
        let peer = Peer::new(caller, &origin, &streams, &terms.borrow_and_update());
        Self { caller, origin, streams, current: Mutex::new(Current { terms, peer }) }
    }

    /// The client of a request that begins now.
    pub fn peer(&self) -> Arc<Peer> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // If the sender was dropped, its last value still applies.
        if current.terms.has_changed().unwrap_or(true) {
            let terms = Arc::clone(&current.terms.borrow_and_update());
            current.peer = Peer::new(self.caller, &self.origin, &self.streams, &terms);
        }
        Arc::clone(&current.peer)
    }
}

impl Peer {
    fn new(
        caller: Caller,
        origin: &Origin,
        streams: &Arc<dyn StreamSlots>,
        terms: &ListenerTerms,
    ) -> Arc<Self> {
        Arc::new(Self {
            rights: terms.policy.rights(caller),
            rates: Arc::clone(&terms.rates),
            require_request_header: terms.require_request_header,
            origin: Some(origin.clone()),
            streams: Some(Arc::clone(streams)),
        })
    }

    /// A client over TCP, which has no rights: only routes that need none answer it.
    pub fn over_tcp() -> Arc<Self> {
        let unknown = Caller { uid: OVERFLOW_ID, gid: OVERFLOW_ID };
        Arc::new(Self {
            rights: Policy::new(OVERFLOW_ID, []).rights(unknown),
            rates: Arc::default(),
            require_request_header: false,
            origin: None,
            streams: None,
        })
    }

    /// Whether the kernel identifies the client, as it does on Unix sockets.
    pub fn is_identified(&self) -> bool {
        self.origin.is_some()
    }

    /// Takes a stream slot for the request under way, which is a proxied call. Until the permit is dropped, the
    /// connection counts against `listener.max_streams` and not against `max_connections`, and shares the turns of its
    /// uid's other streams.
    ///
    /// # Errors
    /// The client has as many streams as are allowed, or is one over TCP.
    pub fn begin_stream(&self) -> Result<StreamPermit, NoStreamSlot> {
        self.streams.as_ref().ok_or(NoStreamSlot).and_then(StreamPermit::take)
    }

    /// The flow that requests to Auth0 for this client are scheduled in.
    pub fn flow(&self) -> Flow {
        self.rights.caller().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Operation;

    #[test]
    fn a_client_over_tcp_has_no_rights() {
        let peer = Peer::over_tcp();
        assert!(!peer.is_identified());
        assert!(Operation::ALL.into_iter().all(|operation| peer.rights.may(operation).is_err()));
    }
}

//! The client at the other end of a connection, and the rules for it, which may change while the connection is open.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::domain::policy::{Caller, OVERFLOW_ID, Policy, Rights};
use crate::domain::priority::Flow;

use super::rate_limit::Rates;

/// The rules for a listener's clients. Replaced as a whole when the configuration changes; open connections follow with
/// their next request.
#[derive(Debug)]
pub struct ListenerTerms {
    pub(crate) policy: Policy,
    rates: Arc<Rates>,
    require_request_header: bool,
}

impl ListenerTerms {
    /// These rules. What was counted under the rules `before` goes on counting.
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
}

/// Where a connection comes from, for the audit log alone: no right depends on a pid.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The listener's path.
    pub listener: Arc<str>,
    /// The process that connected, where the kernel knows it.
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

/// The other end of a connection over time: the rules for it may change from one request to the next.
pub(crate) struct Visitor {
    pub caller: Caller,
    origin: Origin,
    /// Never marked as seen, so that it tells whether anything has changed since the connection was made.
    terms: watch::Receiver<Arc<ListenerTerms>>,
    first: Arc<Peer>,
    /// What goes for it once something has.
    later: Mutex<(watch::Receiver<Arc<ListenerTerms>>, Arc<Peer>)>,
}

impl Visitor {
    pub fn new(caller: Caller, origin: Origin, mut terms: watch::Receiver<Arc<ListenerTerms>>) -> Self {
        let first = Peer::new(caller, &origin, &terms.borrow_and_update());
        let later = Mutex::new((terms.clone(), Arc::clone(&first)));
        Self { caller, origin, terms, first, later }
    }

    /// As it is for a request that begins now. Hardly a connection lives to see its terms change, and until then there is
    /// nothing to lock and nothing to count.
    pub fn peer(&self) -> Cow<'_, Arc<Peer>> {
        if self.terms.has_changed().is_ok_and(|changed| !changed) {
            return Cow::Borrowed(&self.first);
        }
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        let (terms, peer) = &mut *later;
        // What was said before whoever says it was gone still goes.
        if terms.has_changed().unwrap_or(true) {
            *peer = Peer::new(self.caller, &self.origin, &terms.borrow_and_update());
        }
        Cow::Owned(Arc::clone(peer))
    }
}

impl Peer {
    fn new(caller: Caller, origin: &Origin, terms: &ListenerTerms) -> Arc<Self> {
        Arc::new(Self {
            rights: terms.policy.rights(caller),
            rates: Arc::clone(&terms.rates),
            require_request_header: terms.require_request_header,
            origin: Some(origin.clone()),
        })
    }

    /// Any client over TCP. It has no rights, so only routes that need none are open to it.
    pub fn over_tcp() -> Arc<Self> {
        let nobody = Caller { uid: OVERFLOW_ID, gid: OVERFLOW_ID };
        Arc::new(Self {
            rights: Policy::new(OVERFLOW_ID, []).rights(nobody),
            rates: Arc::default(),
            require_request_header: false,
            origin: None,
        })
    }

    /// Whether the kernel identifies the client, as it does on Unix sockets.
    pub fn is_identified(&self) -> bool {
        self.origin.is_some()
    }

    /// The flow in whose turns Auth0 is asked for this client.
    pub fn flow(&self) -> Flow {
        self.rights.caller().into()
    }
}

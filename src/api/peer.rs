//! Who is at the other end of a connection, and what goes for it: by rules that may change while it is open.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::domain::policy::{Caller, Policy, Rights};
use crate::domain::priority::Flow;

use super::audit::Origin;
use super::rate_limit::Rates;

/// What goes for a listener's callers. Replaced as a whole where the configuration changes, and for connections that are
/// open with their next request.
#[derive(Debug)]
pub struct ListenerTerms {
    pub(crate) policy: Policy,
    rates: Arc<Rates>,
    require_request_header: bool,
}

impl ListenerTerms {
    /// These rules, under which nobody has asked for anything yet, or what was asked for under those `before`.
    pub fn new(policy: Policy, require_request_header: bool, before: Option<&Self>) -> Arc<Self> {
        let rates = before.map(|before| Arc::clone(&before.rates)).unwrap_or_default();
        Arc::new(Self { policy, rates, require_request_header })
    }
}

/// Who is at the other end of a connection, and what goes for it on its listener.
pub(crate) struct Peer {
    pub rights: Rights,
    pub rates: Arc<Rates>,
    pub require_request_header: bool,
    pub origin: Origin,
}

/// The other end of a connection over time: what goes for it may change from one request to the next.
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
            origin: origin.clone(),
        })
    }

    /// In whose turns Auth0 is asked for it.
    pub fn flow(&self) -> Flow {
        self.rights.caller().into()
    }
}

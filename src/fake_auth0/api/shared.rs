//! The state of a simulated API, which its clones, its requests and its answers share.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::domain::freshness::Moment;
use crate::fake_auth0::Tenant;
use crate::fake_auth0::listen::Handshake;
use crate::fake_auth0::provider::FakeProvider;

use super::log::{ApiCall, Log};
use super::options::{ApiOptions, Canned};

/// The state and the clock. Clones share the state.
#[derive(Clone)]
pub(super) struct Shared(Arc<Inner>);

struct Inner {
    clock: Clock,
    /// The tenant that stores the tokens which this API accepts.
    tenant: Option<Tenant>,
    state: Mutex<State>,
    /// Notified after each change of the log.
    changes: watch::Sender<()>,
}

#[derive(Default)]
pub(super) struct State {
    pub options: ApiOptions,
    pub accepted: HashSet<String>,
    pub revoked: HashSet<String>,
    pub trusted: Vec<FakeProvider>,
    pub log: Log,
    /// One for each open event stream.
    pub events: Vec<mpsc::UnboundedSender<Bytes>>,
    pub canned: VecDeque<Canned>,
    pub latency: Duration,
    pub connections: u64,
    pub refusing: bool,
    pub handshake: Handshake,
}

impl Shared {
    pub fn new(clock: Clock, tenant: Option<Tenant>, options: ApiOptions) -> Self {
        let state = Mutex::new(State { options, ..State::default() });
        Self(Arc::new(Inner { clock, tenant, state, changes: watch::Sender::new(()) }))
    }

    pub fn now(&self) -> Moment {
        self.0.clock.now()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        // After a panic of another thread the state is consistent enough for the test to report that panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notifies those that wait for a change of the log.
    pub fn changed(&self) {
        self.0.changes.send_replace(());
    }

    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// Changes the record of a request.
    pub fn note(&self, number: u64, change: impl FnOnce(&mut ApiCall)) {
        self.state().log.note(number, change);
        self.changed();
    }

    /// Whether a request with this bearer token is answered.
    pub fn is_valid(&self, token: &str) -> bool {
        let state = self.state();
        if token.is_empty() || state.revoked.contains(token) {
            return false;
        }
        state.options.accepts_any
            || state.accepted.contains(token)
            || state.trusted.iter().any(|provider| provider.is_alive(token))
            || self.0.tenant.as_ref().is_some_and(|tenant| tenant.stores_access_token(token))
    }
}

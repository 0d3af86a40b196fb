//! The slot that a connection holds: one among the connections, or one among the streams while it proxies a call.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection_limits::{ConnectionLimits, ConnectionSlot};
use super::io::ConnectionState;
use crate::api::ListenerInfo;
use crate::api::streams::StreamSlots;

/// The slot of one connection. A stream may last for hours, so it leaves the connections to short requests, and has a
/// limit of its own.
pub(super) struct HeldSlot {
    connections: Arc<ConnectionLimits>,
    streams: Arc<ConnectionLimits>,
    state: Arc<ConnectionState>,
    info: Arc<ListenerInfo>,
    held: Mutex<Held>,
}

struct Held {
    /// `None` once the connection has ended, and from the end of a stream on where no connection slot was free.
    slot: Option<ConnectionSlot>,
    /// Proxied calls under way: at most one, except while one of them ends.
    calls: usize,
}

impl HeldSlot {
    /// `slot`, which is one among the connections, of the connection with this `state`.
    pub fn new(
        slot: ConnectionSlot,
        streams: &Arc<ConnectionLimits>,
        state: &Arc<ConnectionState>,
        info: &Arc<ListenerInfo>,
    ) -> Arc<Self> {
        Arc::new(Self {
            connections: Arc::clone(slot.limits()),
            streams: Arc::clone(streams),
            state: Arc::clone(state),
            info: Arc::clone(info),
            held: Mutex::new(Held { slot: Some(slot), calls: 0 }),
        })
    }

    /// Returns the slot when the connection has ended.
    pub fn release(&self) {
        self.held().slot = None;
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchanges the slot for one under `limits`; whether there was one.
    fn exchange(held: &mut Held, limits: &Arc<ConnectionLimits>) -> bool {
        let Some(other) = held.slot.as_ref().and_then(|slot| slot.another(limits)) else { return false };
        held.slot = Some(other);
        true
    }
}

impl StreamSlots for HeldSlot {
    fn begin(&self) -> bool {
        let mut held = self.held();
        if held.calls == 0 {
            if !Self::exchange(&mut held, &self.streams) {
                return false;
            }
            self.state.set_streaming(true);
        }
        held.calls = held.calls.saturating_add(1);
        self.info.streams.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn end(&self) {
        let mut held = self.held();
        held.calls = held.calls.saturating_sub(1);
        self.info.streams.fetch_sub(1, Ordering::Relaxed);
        if held.calls > 0 {
            return;
        }
        self.state.set_streaming(false);
        if !Self::exchange(&mut held, &self.connections) {
            held.slot = None;
            self.state.set_over();
        }
    }
}

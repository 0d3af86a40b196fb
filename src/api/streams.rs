//! How a proxied call asks its listener for a stream slot, in place of the slot that its connection holds otherwise.

use std::sync::Arc;

/// The slots of one connection. `listener` implements them.
pub(crate) trait StreamSlots: Send + Sync {
    /// Exchanges the connection's slot for a stream slot; false if the listener has none for this client.
    fn begin(&self) -> bool;

    /// Exchanges the stream slot for a slot among the connections. Without a free one the connection ends after the
    /// answer.
    fn end(&self);
}

/// The stream slot of one proxied call, returned on drop. The call's body or future holds it, so that it is dropped on
/// the connection's own task.
pub(crate) struct StreamPermit(Arc<dyn StreamSlots>);

/// The client's uid, or all uids together, have as many proxied calls under way as `listener.max_streams` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoStreamSlot;

impl StreamPermit {
    /// Takes a stream slot for the connection that `slots` belongs to.
    ///
    /// # Errors
    /// There is none for its client.
    pub fn take(slots: &Arc<dyn StreamSlots>) -> Result<Self, NoStreamSlot> {
        if slots.begin() { Ok(Self(Arc::clone(slots))) } else { Err(NoStreamSlot) }
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.end();
    }
}

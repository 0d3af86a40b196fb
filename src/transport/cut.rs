//! Ends a connection at once, from outside of the task that drives it.
//!
//! hyper ends a connection in order: what is buffered is sent first, then TLS says goodbye. A peer that has stopped
//! reading would hold that up, and with it the connection's memory and descriptor, for as long as it likes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// Ends one connection. Clones are of the same connection.
#[derive(Clone, Debug, Default)]
pub struct Cut(Arc<Mutex<CutState>>);

#[derive(Debug, Default)]
struct CutState {
    is_cut: bool,
    /// Wakes the task that drives the connection.
    driver: Option<Waker>,
}

impl Cut {
    /// Lets every further use of the connection's stream fail, and wakes the task that drives it.
    pub(super) fn now(&self) {
        let mut state = self.state();
        state.is_cut = true;
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Notes the task that drives the connection.
    ///
    /// # Errors
    /// The connection has been cut.
    pub(super) fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        let mut state = self.state();
        if state.is_cut {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match &mut state.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, CutState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

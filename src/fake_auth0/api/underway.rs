//! A request that is being answered, and how that ends.

use hyper::StatusCode;

use crate::domain::freshness::Moment;

use super::log::ApiCall;
use super::shared::Shared;

/// A request that is being answered. If it is dropped before its end, the client has hung up.
pub(super) struct Underway {
    shared: Shared,
    number: u64,
}

impl Underway {
    pub fn new(shared: Shared, number: u64) -> Self {
        Self { shared, number }
    }

    /// The number of its record in the log.
    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn answers(&self, status: StatusCode) {
        self.note(|call, _| call.status = Some(status));
    }

    pub fn sends(&self, bytes: usize) {
        self.note(|call, _| call.answer_bytes += bytes as u64);
    }

    /// Notes that the answer has been passed on to its end.
    pub fn ends(&self) {
        self.note(|call, now| {
            call.ended_at.get_or_insert(now);
        });
    }

    /// Notes that the API breaks the answer off.
    pub fn gives_up(&self) {
        self.ends();
    }

    fn note(&self, change: impl FnOnce(&mut ApiCall, Moment)) {
        let now = self.shared.now();
        self.shared.note(self.number, |call| change(call, now));
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.note(|call, now| {
            if call.ended_at.is_none() {
                call.closed_by_client_at.get_or_insert(now);
            }
        });
    }
}

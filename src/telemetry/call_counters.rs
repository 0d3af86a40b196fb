//! Counts calls that were sent on to providers and to the Management API.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::audit::CallEvent;
use super::histogram::Histogram;

/// Counters of calls. Connections and names come from the configuration, so their number is bounded.
#[derive(Debug, Default)]
pub struct CallCounters {
    ended: Mutex<BTreeMap<CallKey, u64>>,
    /// Time to the heads of answers.
    pub head_durations: Histogram,
    sent: AtomicU64,
    received: AtomicU64,
    repeated: AtomicU64,
    reflected: AtomicU64,
}

/// What calls are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey {
    /// The connection; empty for the Management API.
    pub connection: Arc<str>,
    /// The name of the `[[proxy]]`, or `management_api`.
    pub api: Arc<str>,
    /// The class of the answer's status, such as `2xx`.
    pub status: &'static str,
    /// What a refusal means, or `none`.
    pub verdict: &'static str,
    /// How the answer's body ended.
    pub end: &'static str,
}

impl CallCounters {
    /// Counts a call whose answer had this status and has ended.
    pub fn ended(&self, call: &CallEvent, status: u16) {
        const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let class = usize::from(status / 100).checked_sub(1).and_then(|class| CLASSES.get(class));
        let key = CallKey {
            connection: Arc::clone(&call.connection),
            api: Arc::clone(&call.api),
            status: class.copied().unwrap_or("5xx"),
            verdict: call.verdict.unwrap_or("none"),
            end: call.end,
        };
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
        self.head_durations.observe(call.head);
        self.sent.fetch_add(call.sent, Ordering::Relaxed);
        self.received.fetch_add(call.received, Ordering::Relaxed);
        self.repeated.fetch_add(u64::from(call.is_repeated), Ordering::Relaxed);
    }

    /// Counts header values of an answer that held the token.
    pub fn reflected(&self, values: usize) {
        self.reflected.fetch_add(values as u64, Ordering::Relaxed);
    }

    /// The calls that have ended.
    pub fn counts(&self) -> Vec<(CallKey, u64)> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().map(|(key, count)| (key.clone(), *count)).collect()
    }

    /// The bytes of bodies that were sent on, and of those that were handed on.
    pub fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// The calls that were made once more with another token.
    pub fn repetitions(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// The header values that held the token.
    pub fn reflections(&self) -> u64 {
        self.reflected.load(Ordering::Relaxed)
    }
}

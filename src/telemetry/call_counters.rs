//! Counts calls that were sent on to providers and to the Management API.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::audit::CallEvent;
use super::histogram::Histogram;

/// Counters of calls. Connections and names come from the configuration, so their number is bounded.
#[derive(Debug, Default)]
pub struct CallCounters {
    apis: Mutex<BTreeMap<ApiKey, ApiCounts>>,
    reflected: AtomicU64,
}

/// Names the API of a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiKey {
    /// The connection; empty for the Management API.
    pub connection: Arc<str>,
    /// The name of the `[[proxy]]`, or `management_api`.
    pub api: Arc<str>,
}

/// The calls of one API.
#[derive(Clone, Debug, Default)]
pub struct ApiCounts {
    /// The calls that have ended.
    pub ended: BTreeMap<CallKey, u64>,
    /// Time to the heads of answers.
    pub head_durations: Histogram,
    /// The bytes of requests' bodies that were sent on.
    pub sent: u64,
    /// The bytes of answers' bodies that were handed on.
    pub received: u64,
    /// The calls that were made once more with another token.
    pub repeated: u64,
}

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey {
    /// The class of the answer's status, such as `2xx`; `none` if there was no answer.
    pub status: &'static str,
    /// What a refusal means, or `none`.
    pub verdict: &'static str,
    /// How the answer's body ended, or why there was no answer.
    pub end: &'static str,
}

impl CallCounters {
    /// Counts a call that has ended, whose answer had this status; `None` if there was no answer.
    pub fn ended(&self, call: &CallEvent, status: Option<u16>) {
        let key = ApiKey { connection: Arc::clone(&call.connection), api: Arc::clone(&call.api) };
        let how = CallKey {
            status: status.map_or("none", class),
            verdict: call.verdict.unwrap_or("none"),
            end: call.end,
        };
        let mut apis = self.apis();
        let counts = apis.entry(key).or_default();
        let ended = counts.ended.entry(how).or_default();
        *ended = ended.saturating_add(1);
        counts.sent = counts.sent.saturating_add(call.sent);
        counts.received = counts.received.saturating_add(call.received);
        counts.repeated = counts.repeated.saturating_add(u64::from(call.is_repeated));
        if let Some(head) = call.head {
            counts.head_durations.observe(head);
        }
    }

    /// Counts header values of an answer that held the token.
    pub fn reflected(&self, values: usize) {
        self.reflected.fetch_add(values as u64, Ordering::Relaxed);
    }

    /// The calls of each API that had one.
    pub fn counts(&self) -> Vec<(ApiKey, ApiCounts)> {
        self.apis().iter().map(|(key, counts)| (key.clone(), counts.clone())).collect()
    }

    /// The header values that held the token.
    pub fn reflections(&self) -> u64 {
        self.reflected.load(Ordering::Relaxed)
    }

    fn apis(&self) -> MutexGuard<'_, BTreeMap<ApiKey, ApiCounts>> {
        self.apis.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The class of a status.
fn class(status: u16) -> &'static str {
    match status {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn calls_are_counted_by_api_and_by_how_they_ended() {
        let counters = CallCounters::default();
        let call = |api: &str, end| CallEvent {
            connection: "google-oauth2".into(),
            api: api.into(),
            head: Some(Duration::from_millis(20)),
            sent: 2,
            received: 3,
            end,
            ..CallEvent::default()
        };
        counters.ended(&call("gmail", "whole"), Some(200));
        counters.ended(&call("gmail", "whole"), Some(299));
        counters.ended(&CallEvent { verdict: Some("token_dead"), ..call("gmail", "whole") }, Some(401));
        counters.ended(&CallEvent { is_repeated: true, ..call("drive", "cut_short") }, Some(999));
        counters.ended(&call("drive", "provider_timeout"), None);
        let counts = counters.counts();
        let [(drive, of_drive), (gmail, of_gmail)] = counts.as_slice() else { panic!("{counts:?}") };
        assert_eq!((&*drive.api, &*gmail.api), ("drive", "gmail"));
        let ended = |counts: &ApiCounts| -> Vec<_> {
            counts.ended.iter().map(|(key, count)| (key.status, key.verdict, key.end, *count)).collect()
        };
        assert_eq!(
            ended(of_drive),
            [("5xx", "none", "cut_short", 1), ("none", "none", "provider_timeout", 1)]
        );
        assert_eq!(ended(of_gmail), [("2xx", "none", "whole", 2), ("4xx", "token_dead", "whole", 1)]);
        assert_eq!((of_gmail.sent, of_gmail.received, of_gmail.repeated), (6, 9, 0));
        assert_eq!(of_drive.repeated, 1);
    }
}

//! Compares the date of each answer with this machine's clocks: reports clock skew, and time that the clocks missed.

use crate::clock::Sent;
use crate::transport::response::{Answer, Timing};

use super::client::ClientInner;

impl ClientInner {
    /// When the request of `answer` was sent and when the answer was complete.
    pub(super) fn timing(&self, sent: Sent, answer: &Answer) -> Timing {
        // A page of an edge or a proxy is dated by a clock that is not Auth0's.
        let date = answer.date().filter(|_| answer.is_json());
        let (sent, received, lost) = self.clock.receives(sent, date);
        if let Some(lost) = lost {
            let seconds = lost.as_secs();
            tracing::warn!(
                seconds,
                "This machine's clocks stood still, by the date of Auth0's answer; what is cached is judged by that"
            );
        }
        let timing = Timing { sent, received };
        if let Some(skew) = answer.clock_skew(timing) {
            self.counters.clock_skew(skew);
        }
        timing
    }
}

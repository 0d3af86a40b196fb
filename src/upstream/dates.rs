//! What the date of an answer says of this machine's clocks is passed on: how far apart they are, and lost time.

use crate::clock::Sent;

use super::Inner;
use super::response::{Answer, Timing};

impl Inner {
    /// The exchange that `answer` completes.
    pub(super) fn exchange(&self, sent: Sent, answer: &Answer) -> Timing {
        // A page of an edge or a proxy is dated by a clock that nothing else here goes by.
        let date = answer.date().filter(|_| answer.is_json());
        let (sent, received, lost) = self.clock.receives(sent, date);
        if let Some(lost) = lost {
            let seconds = lost.as_secs();
            tracing::warn!(
                seconds,
                "This machine's clocks stood still, by the date of Auth0's answer; what is cached is judged by that"
            );
        }
        let exchange = Timing { sent, received };
        if let Some(skew) = answer.clock_skew(exchange) {
            self.counters.clock_skew(skew);
        }
        exchange
    }
}

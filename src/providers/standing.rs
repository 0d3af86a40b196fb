//! How a connection's client stands with its provider: which of its secrets works, and whether it is refused. No I/O and
//! no clock.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Refresh;
use crate::domain::freshness::Moment;
use crate::domain::retry::Backoff;
use crate::domain::source::{Redemption, SourceFault};

/// The waits between requests of a client that is refused. An operator who fixes the cause at the provider and does not
/// reload waits for a minute at most.
const BETWEEN_TRIES: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));

/// The state of one connection's client.
#[derive(Debug)]
pub(super) struct Standing {
    refresh: Arc<Refresh>,
    /// The number of the secret that the provider accepted last; zero is the current one.
    accepted: usize,
    refusal: Option<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    fault: SourceFault,
    /// How many times in a row, requests that were under way together counted once.
    count: usize,
    /// When the next request may be sent.
    until: Moment,
    /// Whether a request is under way that finds out whether the cause is fixed.
    is_tried: bool,
}

/// Whether a request of the client may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Like all others.
    Free,
    /// As the only one, to find out whether the client is still refused.
    Trial,
    /// Not now, because the client is refused.
    Held(SourceFault),
}

impl Standing {
    /// A client of which nothing is known.
    pub fn new(refresh: &Arc<Refresh>) -> Self {
        Self { refresh: Arc::clone(refresh), accepted: 0, refusal: None }
    }

    /// Whether this is the state of that client.
    pub fn is_of(&self, refresh: &Arc<Refresh>) -> bool {
        Arc::ptr_eq(&self.refresh, refresh) || self.refresh == *refresh
    }

    /// Why the client is refused, if it is.
    pub fn fault(&self) -> Option<SourceFault> {
        self.refusal.as_ref().map(|refusal| refusal.fault.clone())
    }

    /// Whether a request may be sent at `now`. While the client is refused, a single one finds out whether the cause is
    /// fixed, and the next one is sent after a further wait.
    pub fn turn(&mut self, seed: u64, now: Moment) -> Turn {
        let Some(refusal) = &mut self.refusal else { return Turn::Free };
        if !now.age(refusal.until).is_zero() {
            return Turn::Held(refusal.fault.clone());
        }
        refusal.until = now.after(wait(refusal.count, seed));
        refusal.is_tried = true;
        Turn::Trial
    }

    /// Lets the next request through, with the current secret first.
    pub fn release(&mut self) {
        self.accepted = 0;
        if let Some(refusal) = &mut self.refusal {
            refusal.until = Moment { elapsed: Duration::ZERO, ..refusal.until };
        }
    }

    /// The numbers of the secrets of `refresh` in the order in which they are tried.
    pub fn secrets(&self, refresh: &Refresh) -> std::vec::IntoIter<usize> {
        let accepted = self.accepted;
        // An equal one would be refused as well.
        let is_same = refresh.previous_secret.as_ref() == Some(&refresh.secret);
        let mut numbers: Vec<usize> =
            (0..refresh.secrets().count()).take(if is_same { 1 } else { 2 }).collect();
        numbers.sort_by_key(|number| *number != accepted);
        numbers.into_iter()
    }

    /// Notes what came of a request with secret `number`, and logs what changes.
    pub fn note(&mut self, connection: &str, number: usize, redemption: &Redemption, seed: u64, now: Moment) {
        let fault = match redemption {
            Redemption::Misconfigured(fault) if fault.is_about_the_client() => fault,
            // Neither shows whether the client is accepted.
            Redemption::Failed { .. } | Redemption::Misconfigured(_) => return,
            Redemption::Issued { .. } | Redemption::Over(_) => return self.works(connection, number),
        };
        let known = self.refusal.take().filter(|refusal| refusal.fault == *fault);
        // The answer to a request that was sent before the client was known to be refused.
        if known.as_ref().is_some_and(|known| !known.is_tried && !now.age(known.until).is_zero()) {
            self.refusal = known;
            return;
        }
        let count = known.map_or(0, |refusal| refusal.count).saturating_add(1);
        if count == 1 {
            tracing::error!(connection, why = %fault, "The provider refuses to renew tokens until this is fixed");
        }
        let until = now.after(wait(count, seed));
        self.refusal = Some(Refusal { fault: fault.clone(), count, until, is_tried: false });
    }

    fn works(&mut self, connection: &str, number: usize) {
        if self.refusal.take().is_some() {
            tracing::info!(connection, "The provider renews tokens again");
        }
        if std::mem::replace(&mut self.accepted, number) != number {
            match number {
                0 => tracing::info!(connection, "The provider accepts the connection's current secret"),
                _ => tracing::warn!(
                    connection,
                    "The provider refuses the connection's secret, and still accepts the previous one: check secret_file"
                ),
            }
        }
    }
}

fn wait(count: usize, seed: u64) -> Duration {
    BETWEEN_TRIES.waits(seed).nth(count.min(16).saturating_sub(1)).unwrap_or_default()
}

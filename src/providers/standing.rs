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
    /// How many times in a row.
    count: usize,
    /// When the next request may be sent.
    until: Moment,
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

    /// Why no request is sent at `now`, because the client was refused. Otherwise the next one is sent after a further
    /// wait, so that a single request finds out whether the cause is fixed.
    pub fn holds(&mut self, seed: u64, now: Moment) -> Option<SourceFault> {
        let refusal = self.refusal.as_mut()?;
        if !now.age(refusal.until).is_zero() {
            return Some(refusal.fault.clone());
        }
        refusal.until = now.after(wait(refusal.count, seed));
        None
    }

    /// Lets the next request through.
    pub fn release(&mut self) {
        if let Some(refusal) = &mut self.refusal {
            refusal.until = Moment { elapsed: Duration::ZERO, ..refusal.until };
        }
    }

    /// The numbers of the secrets of `refresh` in the order in which they are tried.
    pub fn secrets(&self, refresh: &Refresh) -> std::vec::IntoIter<usize> {
        let mut numbers: Vec<usize> = (0..refresh.secrets().count()).collect();
        let accepted = self.accepted;
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
        let count = known.map_or(0, |refusal| refusal.count).saturating_add(1);
        if count == 1 {
            tracing::error!(connection, why = %fault, "The provider refuses to renew tokens until this is fixed");
        }
        let until = now.after(wait(count, seed));
        self.refusal = Some(Refusal { fault: fault.clone(), count, until });
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

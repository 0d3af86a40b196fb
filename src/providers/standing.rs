//! How a connection's client stands with its provider: which of its secrets works, and whether it is refused. No I/O and
//! no clock.
//!
//! A refused client is every user's. Any other refusal may be about one user alone, and holds back others only once
//! different refresh tokens were refused in a row and none was redeemed for a while.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Refresh;
use crate::domain::freshness::Moment;
use crate::domain::retry::Backoff;
use crate::domain::source::{Redemption, SourceFault};
use crate::secret::SecretHash;

/// The waits between requests of a client that is refused. An operator who fixes the cause at the provider and does not
/// reload waits for a minute at most.
const BETWEEN_TRIES: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));

/// Refusals in a row that are logged although all may be about one user, who may be the only one.
const LASTING: usize = 3;

/// For how long after a token was issued a refusal is one of single users, as of those whose refresh tokens an earlier
/// client was issued.
const RECENT: Duration = Duration::from_secs(600);

/// The state of one connection's client.
#[derive(Debug)]
pub(super) struct Standing {
    refresh: Arc<Refresh>,
    /// The number of the secret that the provider accepted last; zero is the current one.
    accepted: usize,
    /// When a token was issued last.
    issued: Option<Moment>,
    refusal: Option<Refusal>,
}

/// Refusals in a row.
#[derive(Debug)]
struct Refusal {
    fault: SourceFault,
    /// The refresh token of the first one.
    first: SecretHash,
    /// Whether another refresh token was refused as well.
    is_about_several: bool,
    /// Whether every user is refused, as far as is known.
    is_general: bool,
    /// How many. Once every user is refused, those that were under way together count once.
    count: usize,
    /// The fault that was logged.
    logged: Option<SourceFault>,
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
        Self { refresh: Arc::clone(refresh), accepted: 0, issued: None, refusal: None }
    }

    /// Whether this is the state of that client.
    pub fn is_of(&self, refresh: &Arc<Refresh>) -> bool {
        Arc::ptr_eq(&self.refresh, refresh) || self.refresh == *refresh
    }

    /// Why the client is refused, if it is known to last.
    pub fn fault(&self) -> Option<SourceFault> {
        self.refusal.as_ref().filter(|refusal| refusal.logged.is_some()).map(|refusal| refusal.fault.clone())
    }

    /// Why every user is refused, if that is so.
    pub fn general_fault(&self) -> Option<SourceFault> {
        self.refusal.as_ref().filter(|refusal| refusal.is_general).map(|refusal| refusal.fault.clone())
    }

    /// The fault, if no request may be sent at `now`.
    pub fn held(&self, now: Moment) -> Option<SourceFault> {
        self.refusal.as_ref().filter(|refusal| refusal.holds(now)).map(|refusal| refusal.fault.clone())
    }

    /// Whether a request may be sent at `now`. While the client is refused, a single one finds out whether the cause is
    /// fixed, and the next one is sent after a further wait.
    pub fn turn(&mut self, seed: u64, now: Moment) -> Turn {
        let refusal = self.refusal.as_mut().filter(|refusal| refusal.is_general);
        let Some(refusal) = refusal else { return Turn::Free };
        if refusal.holds(now) {
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

    /// Notes what came of a request with secret `number` for `token`, and logs what changes.
    pub fn note(
        &mut self,
        connection: &str,
        (number, token): (usize, SecretHash),
        redemption: &Redemption,
        seed: u64,
        now: Moment,
    ) {
        match redemption {
            Redemption::Issued { .. } => {
                self.issued = Some(now);
                self.works(connection, number);
            }
            // The client is accepted. Whether it is for others what one is refused for, a refusal of a token does not show,
            // unless all were refused before.
            Redemption::Over(_) => match &self.refusal {
                Some(refusal) if !refusal.is_general => self.accepts(connection, number),
                _ => self.works(connection, number),
            },
            Redemption::Failed { .. } => {}
            Redemption::Misconfigured(fault) => self.refused(connection, fault, token, seed, now),
        }
    }

    fn refused(&mut self, connection: &str, fault: &SourceFault, token: SecretHash, seed: u64, now: Moment) {
        let known = self.refusal.take();
        // The answer to a request that was sent before the client was known to be refused.
        if known.as_ref().is_some_and(|known| known.holds(now) && !known.is_tried) {
            self.refusal = known;
            return;
        }
        // A refusal of anything else shows that the client is accepted.
        let known = known
            .filter(|known| known.fault == *fault || !known.fault.is_about_the_client())
            .unwrap_or(Refusal {
                fault: fault.clone(),
                first: token,
                is_about_several: false,
                is_general: false,
                count: 0,
                logged: None,
                until: now,
                is_tried: false,
            });
        let count = known.count.saturating_add(1);
        let is_about_several = known.is_about_several || known.first != token;
        let is_recent = self.issued.is_some_and(|issued| issued.age(now) < RECENT);
        let is_general = fault.is_about_the_client() || (is_about_several && !is_recent);
        let mut refusal = Refusal {
            fault: fault.clone(),
            is_about_several,
            is_general,
            count,
            until: now.after(wait(count, seed)),
            is_tried: false,
            ..known
        };
        let lasts = is_general || (count >= LASTING && !is_recent);
        if lasts && refusal.logged.as_ref() != Some(fault) {
            tracing::error!(connection, why = %fault, "The provider refuses to renew tokens until this is fixed");
            refusal.logged = Some(fault.clone());
        }
        self.refusal = Some(refusal);
    }

    fn works(&mut self, connection: &str, number: usize) {
        if self.refusal.take().is_some_and(|refusal| refusal.logged.is_some()) {
            tracing::info!(connection, "The provider renews tokens again");
        }
        self.accepts(connection, number);
    }

    fn accepts(&mut self, connection: &str, number: usize) {
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

impl Refusal {
    /// Whether no request may be sent at `now`.
    fn holds(&self, now: Moment) -> bool {
        self.is_general && !now.age(self.until).is_zero()
    }
}

fn wait(count: usize, seed: u64) -> Duration {
    BETWEEN_TRIES.waits(seed).nth(count.min(16).saturating_sub(1)).unwrap_or_default()
}

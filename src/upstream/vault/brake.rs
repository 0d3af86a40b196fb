//! Limits the requests that a misconfiguration costs: one for each wait, and not one for each user. No I/O and no
//! clock.

use std::time::Duration;

use crate::domain::freshness::Moment;
use crate::domain::retry::Backoff;
use crate::domain::source::SourceFault;

use super::account::AccountTag;

/// The waits between requests of a connection that is refused. An operator who fixes the cause at Auth0 and does not
/// reload waits for a minute at most.
const BETWEEN_TRIES: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));

/// The waits grow no more after this many refusals.
const MOST_STEPS: usize = 16;

/// Refusals in a row that are logged although all are about one account, which may be the only one.
const LASTING: usize = 3;

/// The refusals of one connection in a row.
#[derive(Debug)]
pub(super) struct Brake {
    fault: SourceFault,
    /// The account of the first refusal.
    first: AccountTag,
    /// Whether the refusals are known to be about more than one account. A user who is blocked at this moment must not
    /// stop the exchanges of others.
    is_general: bool,
    refusals: usize,
    /// The fault that was logged.
    logged: Option<SourceFault>,
    /// When the next request may be sent.
    until: Moment,
    seed: u64,
}

impl Brake {
    /// The brake after a first refusal, of an exchange for `account`. `seed` determines the jitter.
    pub fn new(fault: SourceFault, account: AccountTag, seed: u64, now: Moment) -> Self {
        let is_general = fault.is_about_the_client();
        let mut brake =
            Self { fault, first: account, is_general, refusals: 0, logged: None, until: now, seed };
        brake.wait(now);
        brake
    }

    /// Notes one more refusal.
    pub fn refused(&mut self, fault: SourceFault, account: AccountTag, now: Moment) {
        self.is_general |= account != self.first || fault.is_about_the_client();
        self.fault = fault;
        self.wait(now);
    }

    /// Returns the fault if no request may be sent now. Otherwise the next one may be sent after a further wait, so
    /// that a single request finds out whether the cause is fixed.
    pub fn holds(&mut self, now: Moment) -> Option<SourceFault> {
        let holds = self.would_hold(now);
        if holds.is_none() {
            self.until = now.after(self.until_next());
        }
        holds
    }

    /// What [`Brake::holds`] would return, without a request being sent.
    pub fn would_hold(&self, now: Moment) -> Option<SourceFault> {
        (self.is_general && !now.age(self.until).is_zero()).then(|| self.fault.clone())
    }

    /// Whether to log the latest refusal: it is another one than the last that was logged, and known to last.
    pub fn is_news(&mut self) -> bool {
        let lasts = self.is_general || self.refusals >= LASTING;
        let is_news = lasts && self.logged.as_ref() != Some(&self.fault);
        if is_news {
            self.logged = Some(self.fault.clone());
        }
        is_news
    }

    /// The fault, if it is known to last.
    pub fn fault(&self) -> Option<SourceFault> {
        (self.is_general || self.refusals >= LASTING).then(|| self.fault.clone())
    }

    /// Whether a refusal was logged.
    pub fn was_logged(&self) -> bool {
        self.logged.is_some()
    }

    fn wait(&mut self, now: Moment) {
        self.refusals = self.refusals.saturating_add(1);
        self.until = now.after(self.until_next());
    }

    fn until_next(&self) -> Duration {
        let step = self.refusals.min(MOST_STEPS).saturating_sub(1);
        BETWEEN_TRIES.waits(self.seed).nth(step).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::Timestamp;
    use crate::domain::user::UserId;
    use crate::secret::TagKey;

    fn at(secs: u64) -> Moment {
        Moment { wall: Timestamp::from_secs(secs as i64), elapsed: Duration::from_secs(secs) }
    }

    fn account(user: &str) -> AccountTag {
        let tags = TagKey::derived(b"key", "test");
        AccountTag::new(&tags, &UserId::parse(user).unwrap(), "google-oauth2", None)
    }

    #[test]
    fn a_fault_of_the_client_holds_every_account_and_lets_one_request_through_for_each_wait() {
        let mut brake = Brake::new(SourceFault::VaultClient, account("one"), 7, at(0));
        let mut sent = Vec::new();
        for second in 0..3_600 {
            if brake.holds(at(second)).is_none() {
                sent.push(second);
                brake.refused(SourceFault::VaultClient, account("other"), at(second));
            }
        }
        assert!(sent[0] >= 5, "{sent:?}");
        let gaps: Vec<_> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (5..=60).contains(gap)), "{gaps:?}");
        assert!((60..=150).contains(&sent.len()), "{} requests in an hour", sent.len());
    }

    #[test]
    fn a_request_without_an_answer_does_not_let_another_through_at_once() {
        let mut brake = Brake::new(SourceFault::VaultGrant, account("one"), 7, at(0));
        let first = (0..60).find(|second| brake.holds(at(*second)).is_none()).unwrap();
        assert_eq!(brake.holds(at(first + 1)), Some(SourceFault::VaultGrant));
    }

    #[test]
    fn a_single_account_that_is_refused_does_not_hold_others() {
        let mut brake = Brake::new(SourceFault::VaultAccess, account("one"), 7, at(0));
        (0..20).for_each(|second| brake.refused(SourceFault::VaultRequest, account("one"), at(second)));
        assert_eq!(brake.holds(at(20)), None);
        brake.refused(SourceFault::VaultAccess, account("other"), at(21));
        assert_eq!(brake.holds(at(22)), Some(SourceFault::VaultAccess));
    }
}

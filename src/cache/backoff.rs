//! Backoff per user: after a failed request to Auth0, lookups of that user fail at once for a while.
//!
//! A failure is never kept as a fact about the user, only as a reason not to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::domain::error::{FailureClass, Stage, Unavailable};
use crate::domain::freshness::Moment;
use crate::domain::retry::Backoff;
use crate::domain::user::UserId;

/// The waits of one user. Without a cached token, a first failure has no wait; only repeated failures have.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// The longest wait where the cause is not Auth0's answer about this user. The cause is most likely an outage, and
/// lookups should fail only briefly beyond its end.
const LONGEST_IN_AN_OUTAGE: Duration = Duration::from_secs(10);

/// The most users whose failures are kept. Lookups of other users ask Auth0 without a wait.
const MOST: u64 = 10_000;

/// How long failures are kept. Every wait is shorter, so this only frees memory.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);

/// The failures by user, and whether an outage is likely. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct UserBackoff {
    users: moka::sync::Cache<UserId, Arc<UserFailures>>,
    /// Whether the last request for any user had no answer or takes long, so that the next one is expected to fail.
    outage: Arc<AtomicBool>,
    seed: u64,
}

#[derive(Debug)]
struct UserFailures {
    attempts: usize,
    until: Moment,
    why: Unavailable,
}

impl UserBackoff {
    /// No failures. `seed` determines the jitter.
    pub fn new(seed: u64) -> Self {
        let users = moka::sync::Cache::builder().max_capacity(MOST).time_to_live(FORGOTTEN_AFTER).build();
        Self { users, outage: Arc::default(), seed }
    }

    /// Records that a request for `user` failed.
    pub fn note(&self, user: &UserId, why: &Unavailable, now: Moment) {
        let class = why.failure.class();
        // An answer of any kind shows that Auth0 can be reached, and concerns its user alone; no answer at all concerns
        // all users. A request that was not sent, for lack of a Management token or a permit, shows neither.
        match (why.failure.is_an_answer(), why.stage) {
            (false, _) => self.outage.store(true, Ordering::Relaxed),
            (true, Stage::User) if class != FailureClass::Throttled => {
                self.outage.store(false, Ordering::Relaxed);
            }
            (true, _) => {}
        }
        // The keeper and the gate fail at once without this backoff, and know when to ask again.
        if why.stage == Stage::ManagementToken || class == FailureClass::Throttled {
            return;
        }
        let attempts = self.users.get(user).map_or(0, |before| before.attempts).saturating_add(1);
        let seed = self.seed ^ now.elapsed.as_nanos() as u64;
        let wait = BACKOFF.waits(seed).nth(attempts.min(16).saturating_sub(1)).unwrap_or_default();
        let wait = if class == FailureClass::Malformed { wait } else { wait.min(LONGEST_IN_AN_OUTAGE) };
        let until = now.after(wait.max(why.retry_after));
        self.users.insert(user.clone(), Arc::new(UserFailures { attempts, until, why: why.clone() }));
    }

    /// Records that an answer takes long, so that other lookups do not wait as long.
    pub fn expect(&self) {
        self.outage.store(true, Ordering::Relaxed);
    }

    /// Records that Auth0 answered about `user`.
    pub fn worked(&self, user: &UserId) {
        self.outage.store(false, Ordering::Relaxed);
        self.forget(user);
    }

    /// Whether a request for `user` is expected to fail, because its last one or that of any other user did.
    pub fn is_expected(&self, user: &UserId) -> bool {
        self.outage.load(Ordering::Relaxed) || self.users.contains_key(user)
    }

    /// Drops the failures of a user who was purged.
    pub fn forget(&self, user: &UserId) {
        // Most users never fail, and a read is cheaper than a write.
        if self.users.contains_key(user) {
            self.users.invalidate(user);
        }
    }

    /// Drops all failures.
    pub fn forget_all(&self) {
        self.users.invalidate_all();
    }

    /// Why Auth0 is not asked about `user` now, if it has just failed. With `again`, one failure is not enough, unless
    /// Auth0 asked to wait.
    pub fn is_quiet(&self, user: &UserId, again: bool, now: Moment) -> Option<Unavailable> {
        let failures = self.users.get(user)?;
        let left = now.age(failures.until);
        // Auth0 stated until when it is not to be asked.
        let waits = failures.attempts > 1 || failures.why.failure.asks_to_wait().is_some();
        let quiet = !left.is_zero() && (!again || waits);
        quiet.then(|| Unavailable { retry_after: left, ..failures.why.clone() })
    }
}

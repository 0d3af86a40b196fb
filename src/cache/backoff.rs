//! Users whom Auth0 could not be asked for: each backs off on its own, and is answered at once meanwhile.
//!
//! A failure is never remembered as a fact about the user, only as a reason not to ask for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::domain::error::{FailureClass, Stage, Unavailable};
use crate::domain::freshness::Moment;
use crate::domain::retry::Backoff;
use crate::domain::user::UserId;

/// For one user. The first failure costs a caller without anything in hand nothing but the failure; it is those
/// that fail again who wait.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Where it is not the user's own answer that is wrong, most likely nobody can be asked for; when that is over,
/// nobody should have to wait for long to find out.
const LONGEST_IN_AN_OUTAGE: Duration = Duration::from_secs(10);

/// Users who fail at a time. Those beyond are simply asked for again.
const MOST: u64 = 10_000;

/// By then every backoff is over, so this only gives memory back.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);

/// Failures by user.
#[derive(Clone, Debug)]
pub struct UserBackoff {
    users: moka::sync::Cache<UserId, Arc<Trouble>>,
    /// The last attempt for anybody had no answer at all, or is long in coming, so the next is expected to.
    everybody: Arc<AtomicBool>,
    seed: u64,
}

#[derive(Debug)]
struct Trouble {
    attempts: usize,
    until: Moment,
    why: Unavailable,
}

impl UserBackoff {
    /// Nobody fails yet. `seed` determines the jitter.
    pub fn new(seed: u64) -> Self {
        let users = moka::sync::Cache::builder().max_capacity(MOST).time_to_live(FORGOTTEN_AFTER).build();
        Self { users, everybody: Arc::default(), seed }
    }

    /// Another attempt failed.
    pub fn note(&self, user: &UserId, why: &Unavailable, now: Moment) {
        let class = why.failure.class();
        // An answer of any kind shows that the tenant can be reached, and concerns its user alone; no answer at all
        // concerns everybody. What was not asked, for want of a Management token or of a permit, says no more than that.
        match (why.failure.is_an_answer(), why.stage) {
            (false, _) => self.everybody.store(true, Ordering::Relaxed),
            (true, Stage::User) if class != FailureClass::Throttled => {
                self.everybody.store(false, Ordering::Relaxed)
            }
            (true, _) => {}
        }
        // The keeper and the gate answer at once by themselves, and know better when to ask again.
        if why.stage == Stage::ManagementToken || class == FailureClass::Throttled {
            return;
        }
        let attempts = self.users.get(user).map_or(0, |before| before.attempts).saturating_add(1);
        let seed = self.seed ^ now.elapsed.as_nanos() as u64;
        let wait = BACKOFF.waits(seed).nth(attempts.min(16).saturating_sub(1)).unwrap_or_default();
        let wait = if class == FailureClass::Malformed { wait } else { wait.min(LONGEST_IN_AN_OUTAGE) };
        let until = now.after(wait.max(why.retry_after));
        self.users.insert(user.clone(), Arc::new(Trouble { attempts, until, why: why.clone() }));
    }

    /// An answer is long in coming: others need not wait as long to find out.
    pub fn expect(&self) {
        self.everybody.store(true, Ordering::Relaxed);
    }

    /// Auth0 answered for `user`.
    pub fn worked(&self, user: &UserId) {
        self.everybody.store(false, Ordering::Relaxed);
        self.forget(user);
    }

    /// Whether asking for `user` is expected to fail, because that or the last attempt for anybody did.
    pub fn is_expected(&self, user: &UserId) -> bool {
        self.everybody.load(Ordering::Relaxed) || self.users.contains_key(user)
    }

    /// It is purged.
    pub fn forget(&self, user: &UserId) {
        // Most users never fail: looking is cheaper than writing.
        if self.users.contains_key(user) {
            self.users.invalidate(user);
        }
    }

    /// Everybody was purged.
    pub fn forget_all(&self) {
        self.users.invalidate_all();
    }

    /// Why `user` is not asked for now, if it has just failed. `again`: only if it has failed more than once, or Auth0 asked
    /// to wait.
    pub fn is_quiet(&self, user: &UserId, again: bool, now: Moment) -> Option<Unavailable> {
        let trouble = self.users.get(user)?;
        let left = now.age(trouble.until);
        // Who was asked to come back later is not asked before.
        let waits = trouble.attempts > 1 || trouble.why.failure.asks_to_wait().is_some();
        let quiet = !left.is_zero() && (!again || waits);
        quiet.then(|| Unavailable { retry_after: left, ..trouble.why.clone() })
    }
}

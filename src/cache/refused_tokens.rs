//! Reports of refused tokens. They are kept beside the entries, so that they outlast an entry that is evicted or
//! expires.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::freshness::{Deadline, Moment};
use crate::domain::priority::Flow;
use crate::domain::user::UserId;

use super::entry::{Entry, RefusedToken};

/// The most reports that are kept; each takes some 200 bytes. Beyond that, the oldest report of the uid with the most
/// reports is dropped, so that no uid displaces the reports of one that has made fewer.
const MOST: usize = 2_048;

/// The reports. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(Arc<Mutex<Reports>>);

#[derive(Debug, Default)]
struct Reports {
    by_user: HashMap<UserId, Vec<RefusalReport>>,
    /// The number of reports of all users.
    count: usize,
}

/// A report of a refused token.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefusalReport {
    /// The token.
    pub refused: RefusedToken,
    /// The flow of the uid that reported it.
    pub flow: Flow,
    /// The [`Identity::account`](crate::domain::identity::Identity::account) that the token was of.
    pub account: u64,
    /// When the token expires, if that is known.
    pub expires: Option<Deadline>,
    /// Whether another source than Auth0's store issued it. Then Auth0 cannot replace it.
    pub is_issued: bool,
}

impl Refusals {
    /// Keeps a report that was made at `now` about a token of `user`.
    pub fn add(&self, user: &UserId, new: RefusalReport, now: Moment) {
        let mut reports = self.lock();
        reports.retain(user, |report| report.refused.fingerprint != new.refused.fingerprint);
        if reports.count >= MOST {
            reports.make_room(now);
        }
        reports.by_user.entry(user.clone()).or_default().push(new);
        reports.count += 1;
    }

    /// The reported tokens of `user` that still count after `answer`, with the last login at `logged_in` at the
    /// earliest. Reports that the answer makes obsolete are dropped.
    pub fn of(&self, user: &UserId, answer: &Entry, logged_in: Option<Duration>) -> Vec<RefusedToken> {
        let mut reports = self.lock();
        reports.retain(user, |RefusalReport { refused, account, is_issued, .. }| {
            let is_replaced = !is_issued && answer.replaces(refused.fingerprint, *account);
            !refused.is_lifted(logged_in) && !is_replaced
        });
        drop(reports);
        self.of_user(user)
    }

    /// The reported tokens of `user`.
    pub fn of_user(&self, user: &UserId) -> Vec<RefusedToken> {
        let reports = self.lock();
        let of_user = reports.by_user.get(user).into_iter().flatten();
        of_user.map(|report| report.refused).collect()
    }

    /// Drops the reports of a user who was purged.
    pub fn forget(&self, user: &UserId) {
        self.lock().retain(user, |_| false);
    }

    /// Drops all reports.
    pub fn forget_all(&self) {
        *self.lock() = Reports::default();
    }

    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reports {
    fn retain(&mut self, user: &UserId, keeps: impl FnMut(&RefusalReport) -> bool) {
        let Some(of_user) = self.by_user.get_mut(user) else { return };
        let before = of_user.len();
        of_user.retain(keeps);
        self.count -= before - of_user.len();
        if of_user.is_empty() {
            self.by_user.remove(user);
        }
    }

    /// Drops the reports of expired tokens; if there is none, the oldest report of the flow that has the most.
    fn make_room(&mut self, now: Moment) {
        let is_over =
            |report: &RefusalReport| report.expires.is_some_and(|expires| expires.remaining(now).is_zero());
        self.by_user.retain(|_, of_user| {
            of_user.retain(|report| !is_over(report));
            !of_user.is_empty()
        });
        self.count = self.by_user.values().map(Vec::len).sum();
        if self.count < MOST {
            return;
        }
        let mut flows: HashMap<Flow, usize> = HashMap::new();
        self.by_user.values().flatten().for_each(|report| *flows.entry(report.flow).or_default() += 1);
        let Some((&most, _)) = flows.iter().max_by_key(|(flow, count)| (**count, **flow)) else { return };
        let all = self.by_user.iter().flat_map(|(user, of_user)| of_user.iter().map(move |one| (user, one)));
        let oldest =
            all.filter(|(_, report)| report.flow == most).min_by_key(|(_, report)| report.refused.at);
        let Some((user, refused)) = oldest.map(|(user, report)| (user.clone(), report.refused)) else {
            return;
        };
        self.retain(&user, |report| report.refused.fingerprint != refused.fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::Timestamp;
    use crate::secret::TagKey;

    const S: Duration = Duration::from_secs(1);
    const MANY: Flow = Flow::Uid(1);
    const FEW: Flow = Flow::Uid(2);

    fn at(second: usize) -> Moment {
        let elapsed = Duration::from_secs(second as u64);
        Moment { wall: Timestamp::from_secs(second as i64), elapsed }
    }

    struct Desk {
        refusals: Refusals,
        tags: TagKey,
    }

    impl Desk {
        fn new() -> Self {
            Self { refusals: Refusals::default(), tags: TagKey::random().unwrap() }
        }

        fn report(&self, name: &str, flow: Flow, second: usize, lives: Option<Duration>) {
            let user = UserId::parse(name).unwrap();
            let refused = RefusedToken { fingerprint: self.tags.tag("token", name), at: at(second).elapsed };
            let expires = lives.map(|lives| Deadline::after(at(second), lives));
            self.refusals.add(
                &user,
                RefusalReport { refused, flow, account: 0, expires, is_issued: false },
                at(second),
            );
        }

        fn keeps(&self, name: &str) -> bool {
            let reports = self.refusals.lock();
            assert_eq!(reports.count, reports.by_user.values().map(Vec::len).sum::<usize>());
            assert!(reports.count <= MOST);
            reports.by_user.contains_key(&UserId::parse(name).unwrap())
        }
    }

    #[test]
    fn a_uid_that_reports_without_end_pushes_out_its_own() {
        let desk = Desk::new();
        (0..10).for_each(|n| desk.report(&format!("few|{n}"), FEW, n, None));
        (0..2 * MOST).for_each(|n| desk.report(&format!("many|{n}"), MANY, 100 + n, None));
        assert!((0..10).all(|n| desk.keeps(&format!("few|{n}"))));
        assert!(!desk.keeps("many|0") && desk.keeps(&format!("many|{}", 2 * MOST - 1)));
        assert_eq!(desk.refusals.lock().count, MOST);
        // One more of the other is at the expense of who has the most.
        desk.report("few|10", FEW, 9_000, None);
        assert!((0..11).all(|n| desk.keeps(&format!("few|{n}"))));
    }

    #[test]
    fn the_same_token_takes_one_place_and_what_is_over_makes_room_first() {
        let desk = Desk::new();
        (0..3).for_each(|second| desk.report("again", MANY, second, None));
        assert_eq!(desk.refusals.lock().count, 1);
        desk.report("short", FEW, 5, Some(10 * S));
        (2..MOST).for_each(|n| desk.report(&format!("many|{n}"), MANY, 6, None));
        assert!(desk.keeps("short"), "there is room");
        desk.report("last", MANY, 20, None);
        assert!(!desk.keeps("short") && desk.keeps("again") && desk.keeps("last"));
        desk.refusals.forget(&UserId::parse("again").unwrap());
        assert!(!desk.keeps("again"));
        desk.refusals.forget_all();
        assert!(!desk.keeps("last"));
    }
}

//! Reports of refused tokens, beside the entries: they outlast an entry that is evicted or whose time is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::freshness::{Deadline, Moment};
use crate::domain::priority::Flow;
use crate::domain::user::UserId;

use super::entry::{Entry, RefusedToken};

/// Reports that are remembered at a time; each takes some 200 bytes. Where there are more, the uid that has made the most
/// loses its own oldest, so that no uid pushes out those of one that has made fewer.
const MOST: usize = 2_048;

/// What has been reported. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, Vec<Kept>>,
    /// How many there are of all users.
    count: usize,
}

/// A report as it is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// What was reported.
    pub refusal: RefusedToken,
    /// Whose report it was.
    pub flow: Flow,
    /// The user's account that the token was of.
    pub account: u64,
    /// When the token is over anyhow, if that is known.
    pub expires: Option<Deadline>,
}

impl Refusals {
    /// Remembers what was reported at `now` about a token of `user`.
    pub fn add(&self, user: &UserId, new: Kept, now: Moment) {
        let mut state = self.lock();
        state.retain(user, |kept| kept.refusal.fingerprint != new.refusal.fingerprint);
        if state.count >= MOST {
            state.make_room(now);
        }
        state.users.entry(user.clone()).or_default().push(new);
        state.count += 1;
    }

    /// Those of `user` that count for `answer`, before which the user can have `logged_in` no earlier than that. Those
    /// that the answer shows to be over are forgotten.
    pub fn of(&self, user: &UserId, answer: &Entry, logged_in: Option<Duration>) -> Vec<RefusedToken> {
        let mut state = self.lock();
        state.retain(user, |kept| {
            let refusal = kept.refusal;
            !refusal.is_lifted(logged_in) && !answer.replaces(refusal.fingerprint, kept.account)
        });
        let kept = state.users.get(user).into_iter().flatten();
        kept.map(|kept| kept.refusal).collect()
    }

    /// `user` was purged.
    pub fn forget(&self, user: &UserId) {
        self.lock().retain(user, |_| false);
    }

    /// All users were purged.
    pub fn forget_all(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn retain(&mut self, user: &UserId, keeps: impl FnMut(&Kept) -> bool) {
        let Some(kept) = self.users.get_mut(user) else { return };
        let before = kept.len();
        kept.retain(keeps);
        self.count -= before - kept.len();
        if kept.is_empty() {
            self.users.remove(user);
        }
    }

    /// Forgets the reports of tokens that are over by now; if there is none, the oldest of the flow with the most.
    fn make_room(&mut self, now: Moment) {
        let over = |kept: &Kept| kept.expires.is_some_and(|expires| expires.remaining(now).is_zero());
        self.users.retain(|_, kept| {
            kept.retain(|kept| !over(kept));
            !kept.is_empty()
        });
        self.count = self.users.values().map(Vec::len).sum();
        if self.count < MOST {
            return;
        }
        let mut flows: HashMap<Flow, usize> = HashMap::new();
        self.users.values().flatten().for_each(|kept| *flows.entry(kept.flow).or_default() += 1);
        let Some((&most, _)) = flows.iter().max_by_key(|(flow, count)| (**count, **flow)) else { return };
        let of_most = self.users.iter().flat_map(|(user, kept)| kept.iter().map(move |kept| (user, kept)));
        let oldest = of_most.filter(|(_, kept)| kept.flow == most).min_by_key(|(_, kept)| kept.refusal.at);
        let Some((user, refusal)) = oldest.map(|(user, kept)| (user.clone(), kept.refusal)) else { return };
        self.retain(&user, |kept| kept.refusal.fingerprint != refusal.fingerprint);
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
            let refusal = RefusedToken { fingerprint: self.tags.tag("token", name), at: at(second).elapsed };
            let expires = lives.map(|lives| Deadline::after(at(second), lives));
            self.refusals.add(&user, Kept { refusal, flow, account: 0, expires }, at(second));
        }

        fn keeps(&self, name: &str) -> bool {
            let state = self.refusals.lock();
            assert_eq!(state.count, state.users.values().map(Vec::len).sum::<usize>());
            assert!(state.count <= MOST);
            state.users.contains_key(&UserId::parse(name).unwrap())
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

    #[test]
    fn only_a_login_that_certainly_came_later_lifts_a_report() {
        let refusal = RefusedToken { fingerprint: TagKey::random().unwrap().tag("token", "t"), at: 100 * S };
        assert!(refusal.is_lifted(Some(101 * S)));
        assert!(![None, Some(99 * S), Some(100 * S)].into_iter().any(|login| refusal.is_lifted(login)));
    }
}

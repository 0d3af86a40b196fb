//! The end of a renewal flight: what the sources have answered is stored, whether or not a lookup waits for it.

use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;

use crate::clock::Clock;
use crate::domain::freshness::{Moment, Terms};
use crate::domain::identity::LackReason;
use crate::domain::source::{SourceError, SourceFailure, SourceProblem};
use crate::domain::user::UserId;
use crate::flight::Obsolete;

use super::entry::Entry;
use super::issuer::SourceAnswer;
use super::refused_tokens::Refusals;
use super::slot::Slot;
use super::store::Store;

/// Identifies a renewal flight: one account of one user.
pub(super) type RenewalKey = (UserId, u64);

/// The result of a renewal flight: the user's entry with what the sources have answered.
pub(super) type Renewed = Result<Arc<Entry>, SourceError>;

/// What a renewal flight needs to store its result. Owned, since a flight outlives the lookup that started it.
pub(super) struct RenewalLanding {
    pub user: UserId,
    pub account: u64,
    pub connection: Arc<str>,
    /// The entry that the sources were asked for.
    pub base: Arc<Entry>,
    /// Whether `base` is new enough that the user has to log in if the sources have no token.
    pub is_final: bool,
    pub obsolete: Obsolete,
    pub store: Store,
    pub refusals: Refusals,
    pub clock: Clock,
}

impl RenewalLanding {
    /// Stores the answer in the user's entry, which may be a newer one by now, unless the flight began before a purge.
    pub fn land(self, answer: Result<SourceAnswer, SourceError>) -> Renewed {
        let answer = match answer {
            Ok(answer) => answer,
            // The source itself limits how often it is asked then, for all users at once.
            Err(error) if error.is_about_the_client() => return Err(error),
            Err(error) => SourceAnswer::Lack(LackReason::Failed(error)),
        };
        let (user, now) = (&self.user, self.clock.now());
        let store = self.store.now();
        let answer = self.checked(answer, &store.rules.terms, now);
        let reported = self.refusals.of_user(user);
        let seed = now.elapsed.as_nanos() as u64 ^ self.account;
        let changed = |entry: &Entry| {
            entry.with_answer(self.account, &answer, &reported, (&store.rules, now), seed).map(Arc::new)
        };
        if self.obsolete.is_void() {
            return Ok(changed(&self.base).unwrap_or(self.base));
        }
        let mut landed = Arc::clone(&self.base);
        store.entries.entry_by_ref(user).and_compute_with(|slot| {
            let cached = slot.and_then(|slot| slot.value().entry());
            let cached = cached.unwrap_or_else(|| Arc::clone(&self.base));
            match changed(&cached) {
                Some(entry) => {
                    landed = Arc::clone(&entry);
                    Op::Put(Slot::of(entry))
                }
                None => {
                    landed = cached;
                    Op::Nop
                }
            }
        });
        if self.obsolete.is_void() {
            store.entries.invalidate(user);
        }
        Ok(landed)
    }

    /// `answer`; or a failure in its place if its token expires too soon to be served, or that Auth0 has to be asked
    /// first if it was asked too long ago.
    fn checked(&self, answer: SourceAnswer, terms: &Terms, now: Moment) -> SourceAnswer {
        match answer {
            SourceAnswer::Token(token) if !token.as_idp_token().is_alive(terms, now) => {
                let left = token.expires.map(|expires| expires.remaining(now)).unwrap_or_default();
                let (failure, retry_after) = (SourceFailure::TooShort, left + A_MOMENT);
                let problem = SourceProblem::Unavailable { failure, retry_after };
                let connection = Arc::clone(&self.connection);
                SourceAnswer::Lack(LackReason::Failed(SourceError { connection, problem }))
            }
            // Auth0 may have had a newer token since, or a newer refresh token.
            SourceAnswer::Lack(why) if why.ends_with_a_login() && !self.is_final => {
                SourceAnswer::Lack(LackReason::AskAuth0)
            }
            answer => answer,
        }
    }
}

/// How long after a token's expiry its source is asked for another.
const A_MOMENT: Duration = Duration::from_secs(1);

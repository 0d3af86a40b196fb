//! Limits how often refusals of a provider drop the tokens of one user: a client that provokes refusals must not be able
//! to make the daemon ask Auth0 or a provider for another token each time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::freshness::Moment;
use crate::domain::user::UserId;
use crate::secret::Tag;

/// The shortest time between two dropped tokens of one account. Within it, one token that replaces a dropped one may be
/// dropped as well.
const BETWEEN_DROPS: Duration = Duration::from_secs(60);

/// The most accounts that are remembered, at some 150 bytes each. Beyond that the oldest is forgotten: a client that may
/// call for so many users must not keep the dead tokens of others in use. What each drop costs Auth0 is limited by the
/// budget even then.
const MOST: usize = 4096;

/// The tokens that were dropped lately because a provider refused them.
#[derive(Debug, Default)]
pub struct DropBrakes(Mutex<HashMap<(UserId, u64), Dropped>>);

#[derive(Debug)]
struct Dropped {
    at: Moment,
    fingerprint: Tag,
    /// The token that replaced it and was refused as well, in the call that found that out.
    replacement: Option<Tag>,
}

impl DropBrakes {
    /// Whether the token with this fingerprint may be dropped at `now`. Notes it if so. A token that was dropped already
    /// may be dropped again, which changes nothing.
    ///
    /// `account` is the [`Identity::account`](crate::domain::identity::Identity::account) of the user that the token is of.
    pub fn may_drop(&self, user: &UserId, account: u64, fingerprint: Tag, now: Moment) -> bool {
        let mut dropped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |drop: &Dropped| drop.at.age(now) < BETWEEN_DROPS;
        let key = (user.clone(), account);
        if let Some(last) = dropped.get(&key).filter(|last| is_recent(last)) {
            return last.fingerprint == fingerprint;
        }
        if dropped.len() >= MOST {
            dropped.retain(|_, drop| is_recent(drop));
        }
        if dropped.len() >= MOST {
            let oldest = dropped.iter().max_by_key(|(_, drop)| drop.at.age(now)).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| dropped.remove(&oldest));
        }
        dropped.insert(key, Dropped { at: now, fingerprint, replacement: None });
        true
    }

    /// Whether the token `replacement`, which replaced the one with this fingerprint, may be dropped as well. Many calls may
    /// have been refused with the first token, and one after the other find out that its replacements are refused.
    pub fn may_drop_replacement(
        &self,
        user: &UserId,
        account: u64,
        fingerprint: Tag,
        replacement: Tag,
    ) -> bool {
        let mut dropped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = dropped.get_mut(&(user.clone(), account)) else { return false };
        last.fingerprint == fingerprint && *last.replacement.get_or_insert(replacement) == replacement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::Timestamp;
    use crate::secret::TagKey;

    fn moment(seconds: u64) -> Moment {
        let elapsed = Duration::from_secs(seconds);
        Moment { wall: Timestamp::from_secs(0).after(elapsed), elapsed }
    }

    const GOOGLE: u64 = 1;
    const GITHUB: u64 = 2;

    #[test]
    fn an_account_loses_one_token_a_minute() {
        let (brakes, tags) = (DropBrakes::default(), TagKey::random().unwrap());
        let [one, other] = ["one", "other"].map(|text| tags.tag("token", text));
        let [ann, bob] = ["auth0|ann", "auth0|bob"].map(|id| UserId::parse(id).unwrap());
        assert!(brakes.may_drop(&ann, GOOGLE, one, moment(100)));
        assert!(brakes.may_drop(&ann, GOOGLE, one, moment(101)), "calls at the same time had the same token");
        assert!(!brakes.may_drop(&ann, GOOGLE, other, moment(159)));
        assert!(brakes.may_drop(&ann, GITHUB, other, moment(101)));
        assert!(brakes.may_drop(&bob, GOOGLE, other, moment(101)));
        assert!(brakes.may_drop(&ann, GOOGLE, other, moment(160)));
        assert!(!brakes.may_drop(&ann, GOOGLE, one, moment(161)));
    }

    #[test]
    fn one_replacement_is_dropped_as_well_whatever_number_of_calls_had_the_first_token() {
        let (brakes, tags) = (DropBrakes::default(), TagKey::random().unwrap());
        let [first, second, third] = ["1", "2", "3"].map(|text| tags.tag("token", text));
        let ann = UserId::parse("auth0|ann").unwrap();
        assert!(!brakes.may_drop_replacement(&ann, GOOGLE, first, second), "the first was not dropped");
        assert!(brakes.may_drop(&ann, GOOGLE, first, moment(100)));
        assert!(brakes.may_drop_replacement(&ann, GOOGLE, first, second));
        assert!(brakes.may_drop_replacement(&ann, GOOGLE, first, second), "calls at the same time");
        assert!(brakes.may_drop(&ann, GOOGLE, first, moment(101)));
        assert!(!brakes.may_drop_replacement(&ann, GOOGLE, first, third));
        assert!(!brakes.may_drop_replacement(&ann, GITHUB, first, second));
        assert!(!brakes.may_drop(&ann, GOOGLE, third, moment(159)));
        assert!(brakes.may_drop(&ann, GOOGLE, third, moment(160)));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_keeps_nobody_from_dropping() {
        let (brakes, tags) = (DropBrakes::default(), TagKey::random().unwrap());
        let [tag, other] = ["one", "other"].map(|text| tags.tag("token", text));
        let user = |number: usize| UserId::parse(&format!("auth0|{number}")).unwrap();
        let length = || brakes.0.lock().unwrap().len();
        assert!(brakes.may_drop(&user(0), GOOGLE, tag, moment(100)));
        for number in 1..MOST {
            assert!(brakes.may_drop(&user(number), GOOGLE, tag, moment(101)));
        }
        assert!(brakes.may_drop(&user(MOST), GOOGLE, tag, moment(159)));
        assert_eq!(length(), MOST);
        assert!(!brakes.may_drop(&user(1), GOOGLE, other, moment(159)), "only the oldest was forgotten");
        assert!(brakes.may_drop(&user(0), GOOGLE, other, moment(159)));
        assert!(brakes.may_drop(&user(MOST + 1), GOOGLE, tag, moment(240)));
        assert_eq!(length(), 1, "what is over is forgotten");
    }
}

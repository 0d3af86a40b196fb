//! Limits how often refusals of a provider drop the tokens of one user: a client that provokes refusals must not be able
//! to make the daemon ask Auth0 or a provider for another token each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::freshness::Moment;
use crate::domain::user::UserId;
use crate::secret::Tag;

/// The shortest time between two dropped tokens of one user and connection.
const BETWEEN_DROPS: Duration = Duration::from_secs(60);

/// The most users and connections that are remembered. Beyond that no token is dropped until the oldest is forgotten, a
/// minute after its drop at the latest; some 200 bytes each.
const MOST: usize = 4096;

/// The tokens that were dropped lately because a provider refused them.
#[derive(Debug, Default)]
pub struct DropBrakes(Mutex<HashMap<(UserId, Arc<str>), Dropped>>);

#[derive(Debug)]
struct Dropped {
    at: Moment,
    fingerprint: Tag,
}

impl DropBrakes {
    /// Whether the token with this fingerprint may be dropped at `now`. Notes it if so. A token that was dropped already
    /// may be dropped again, which changes nothing.
    pub fn may_drop(&self, user: &UserId, connection: &Arc<str>, fingerprint: Tag, now: Moment) -> bool {
        let mut dropped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |drop: &Dropped| drop.at.age(now) < BETWEEN_DROPS;
        let key = (user.clone(), Arc::clone(connection));
        if let Some(last) = dropped.get(&key).filter(|last| is_recent(last)) {
            return last.fingerprint == fingerprint;
        }
        if dropped.len() >= MOST {
            dropped.retain(|_, drop| is_recent(drop));
        }
        if dropped.len() >= MOST {
            return false;
        }
        dropped.insert(key, Dropped { at: now, fingerprint });
        true
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

    #[test]
    fn a_user_loses_one_token_of_a_connection_a_minute() {
        let (brakes, tags) = (DropBrakes::default(), TagKey::random().unwrap());
        let [one, other] = ["one", "other"].map(|text| tags.tag("token", text));
        let [ann, bob] = ["auth0|ann", "auth0|bob"].map(|id| UserId::parse(id).unwrap());
        let [google, github]: [Arc<str>; 2] = ["google-oauth2", "github"].map(Into::into);
        assert!(brakes.may_drop(&ann, &google, one, moment(100)));
        assert!(
            brakes.may_drop(&ann, &google, one, moment(101)),
            "calls at the same time had the same token"
        );
        assert!(!brakes.may_drop(&ann, &google, other, moment(159)));
        assert!(brakes.may_drop(&ann, &github, other, moment(101)));
        assert!(brakes.may_drop(&bob, &google, other, moment(101)));
        assert!(brakes.may_drop(&ann, &google, other, moment(160)));
        assert!(!brakes.may_drop(&ann, &google, one, moment(161)));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let (brakes, tags) = (DropBrakes::default(), TagKey::random().unwrap());
        let (tag, google): (_, Arc<str>) = (tags.tag("token", "one"), "google-oauth2".into());
        let user = |number: usize| UserId::parse(&format!("auth0|{number}")).unwrap();
        for number in 0..MOST {
            assert!(brakes.may_drop(&user(number), &google, tag, moment(100)));
        }
        assert!(!brakes.may_drop(&user(MOST), &google, tag, moment(159)));
        assert!(brakes.may_drop(&user(MOST), &google, tag, moment(160)));
        assert_eq!(brakes.0.lock().unwrap().len(), 1);
    }
}

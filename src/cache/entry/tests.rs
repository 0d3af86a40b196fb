//! Tests of entries by themselves.

use super::*;
use crate::domain::freshness::{Deadline, Timestamp};
use crate::domain::identity::ExpiryBasis;
use crate::domain::source::{Source, SourceOrder};
use crate::secret::{SecretStr, TagKey};

fn now() -> Moment {
    Moment { wall: Timestamp::from_secs(1_000), elapsed: Duration::from_secs(50) }
}

fn rules() -> Rules {
    let terms = Terms {
        refresh_after: None,
        fresh_for: Duration::from_secs(600),
        servable_for: Duration::from_secs(600),
        min_ttl: Duration::ZERO,
    };
    let moment = Duration::from_secs(10);
    let negative = Negative { user_not_found: moment, no_token: moment, login_required: moment };
    Rules { terms, negative }
}

fn entry(identities: impl IntoIterator<Item = Identity>) -> Entry {
    Entry::new(Fetched {
        profile: Some(Profile { blocked: false, identities: identities.into_iter().collect() }),
        sent: now(),
        tokens_withheld: false,
        logged_in: None,
    })
}

/// Only what Auth0 stores can be sent again.
#[test]
fn the_expiry_of_an_issued_token_is_not_kept_beside_it() {
    let (now, rules) = (now(), rules());
    let fetched = || Identity::unlisted("c", SourceOrder::new(&[Source::Vault]).unwrap());
    let token = IdpToken {
        access_token: SecretStr::new("issued"),
        access_token_secret: None,
        expires: Some(Deadline::after(now, Duration::from_secs(3_600))),
        basis: ExpiryBasis::Issued,
        fingerprint: TagKey::random().unwrap().tag("token", "issued"),
        source: Source::Vault,
        scopes: None,
    };
    let mut latest = entry([fetched().with_issued(token, now, false)]);
    for _ in 0..3 {
        let mut next = entry([fetched()]);
        next.inherit(Some(&latest), &[], None, true, (&rules, now));
        latest = next;
    }
    assert!(latest.holds(token.fingerprint, &Selector::default()));
    assert_eq!(latest.missing().len(), 0);
}

#[test]
fn a_token_that_is_sent_again_keeps_the_earliest_expiry_known_of_it() {
    let (now, rules) = (now(), rules());
    let tags = TagKey::random().unwrap();
    let with = |text: &str, expires: Option<i64>, basis| {
        let at = |stated| Deadline::at(Timestamp::from_secs(stated), now, Duration::ZERO);
        let token = IdpToken {
            access_token: SecretStr::new(text),
            access_token_secret: None,
            expires: expires.map(at),
            basis,
            fingerprint: tags.tag("token", text),
            source: Source::Identities,
            scopes: None,
        };
        entry([
            Identity::new("db", "auth0", "1", false, None),
            Identity::new("c", "p", "1", true, Some(token)),
        ])
    };
    let then_now = |before: &Entry, mut after: Entry| {
        after.inherit(Some(before), &[], None, true, (&rules, now));
        let token = after.tokens(&Selector::default()).next().unwrap();
        (token.expires.map(|expires| expires.wall().as_secs()), token.basis)
    };
    let (jwt, login, none) = (ExpiryBasis::Jwt, ExpiryBasis::Login, ExpiryBasis::None);
    let first = with("t", Some(1_100), login);
    assert_eq!(then_now(&first, with("t", Some(4_700), jwt)), (Some(1_100), login));
    assert_eq!(then_now(&first, with("t", Some(1_050), jwt)), (Some(1_050), jwt));
    assert_eq!(then_now(&first, with("t", None, none)), (Some(1_100), login));
    assert_eq!(then_now(&first, with("u", Some(4_700), login)), (Some(4_700), login), "another token");
    assert_eq!(then_now(&with("t", None, none), with("t", Some(4_700), login)), (Some(4_700), login));
}

#[test]
fn only_a_login_that_certainly_came_later_lifts_a_report() {
    let refused = RefusedToken {
        fingerprint: TagKey::random().unwrap().tag("token", "t"),
        at: Duration::from_secs(100),
    };
    assert!(refused.is_lifted(Some(Duration::from_secs(101))));
    assert!(
        ![None, Some(Duration::from_secs(99)), Some(Duration::from_secs(100))]
            .into_iter()
            .any(|login| refused.is_lifted(login))
    );
}

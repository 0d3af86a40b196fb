//! Tests of profiles: which identity a selector means, and how tokens and expiries are stored.

use std::time::Duration;

use super::*;
use crate::domain::freshness::{Moment, Timestamp};
use crate::secret::TagKey;

fn identity(connection: &str, provider: &str, token: Option<&str>) -> Identity {
    let token = token.map(|text| IdpToken {
        access_token: SecretStr::new(text),
        access_token_secret: None,
        expires: None,
        basis: ExpiryBasis::None,
        fingerprint: TagKey::random().unwrap().tag("token", text),
        source: Source::Identities,
        scopes: None,
    });
    Identity::new(connection, provider, "1", true, token)
}

#[test]
fn an_identitys_texts_are_told_apart() {
    let fingerprint = TagKey::random().unwrap().tag("token", "t");
    for second in [None, Some(""), Some("second")] {
        let token = IdpToken {
            access_token: SecretStr::new("canary-\u{f6}"),
            access_token_secret: second.map(SecretStr::new),
            expires: None,
            basis: ExpiryBasis::None,
            fingerprint,
            source: Source::Identities,
            scopes: None,
        };
        for identity in [("c", "p\u{fc}", "583231"), ("", "", "")].map(|(connection, provider, user_id)| {
            let identity = Identity::new(connection, provider, user_id, false, Some(token));
            assert_eq!(
                (identity.connection(), identity.provider(), identity.user_id()),
                (connection, provider, user_id)
            );
            identity
        }) {
            let kept = identity.token().unwrap();
            assert_eq!(kept.access_token.expose(), "canary-\u{f6}");
            assert_eq!(kept.access_token_secret.map(SecretStr::expose), second);
            assert_eq!(kept.fingerprint, fingerprint);
            assert!(!format!("{identity:?}").contains("canary"), "{identity:?}");
        }
    }
    assert!(Identity::new("c", "p", "1", false, None).token().is_none());
}

fn profile(identities: Vec<Identity>) -> Profile {
    Profile { blocked: false, identities: identities.into() }
}

fn pick(profile: &Profile, connection: Option<&str>, provider: Option<&str>) -> Result<String, NoSelection> {
    let selector = Selector {
        connection: connection.map(Into::into),
        provider: provider.map(Into::into),
        ..Selector::default()
    };
    profile.select(&selector).map(|(_, token)| token.access_token.expose().to_owned())
}

#[test]
fn without_a_selector_the_only_token_is_meant_wherever_it_stands() {
    let linked = profile(vec![identity("db", "auth0", None), identity("gh", "github", Some("t"))]);
    assert_eq!(pick(&linked, None, None), Ok("t".into()));
    assert_eq!(pick(&profile(vec![identity("db", "auth0", None)]), None, None), Err(NoSelection::NoToken));
    assert_eq!(pick(&profile(vec![]), None, None), Err(NoSelection::NoToken));
}

#[test]
fn several_tokens_need_a_selector_and_either_half_may_do() {
    let two = profile(vec![
        identity("corp-a", "waad", Some("a")),
        identity("corp-b", "waad", Some("b")),
        identity("google-oauth2", "google-oauth2", Some("g")),
    ]);
    let candidate = |(connection, provider): (&str, &str)| Candidate {
        connection: connection.into(),
        provider: provider.into(),
        user_id: "1".into(),
    };
    let carrying = [("corp-a", "waad"), ("corp-b", "waad"), ("google-oauth2", "google-oauth2")];
    let carrying = carrying.map(candidate).to_vec();
    let all = vec!["corp-a".into(), "corp-b".into(), "google-oauth2".into()];
    assert_eq!(pick(&two, None, None), Err(NoSelection::Ambiguous(carrying.clone())));
    assert_eq!(pick(&two, None, Some("waad")), Err(NoSelection::Ambiguous(carrying[..2].to_vec())));
    assert_eq!(pick(&two, Some("corp-b"), None), Ok("b".into()));
    assert_eq!(pick(&two, None, Some("google-oauth2")), Ok("g".into()));
    assert_eq!(pick(&two, Some("corp-a"), Some("github")), Err(NoSelection::IdentityNotFound(all)));
}

#[test]
fn an_identity_without_a_token_is_no_token_and_not_a_missing_identity() {
    let linked = profile(vec![identity("db", "auth0", None), identity("gh", "github", Some("t"))]);
    assert_eq!(pick(&linked, Some("db"), None), Err(NoSelection::NoToken));
    assert_eq!(
        pick(&linked, Some("google-oauth2"), None),
        Err(NoSelection::IdentityNotFound(vec!["db".into(), "gh".into()]))
    );
}

#[test]
fn hidden_identities_do_not_exist_for_a_caller() {
    let two = profile(vec![identity("a", "p", Some("t")), identity("b", "p", Some("u"))]);
    let pick = |connection: Option<&str>, within: &[&str]| {
        let within = Some(within.iter().map(|&name| name.to_owned()).collect());
        let selector = Selector { connection: connection.map(Into::into), within, ..Selector::default() };
        two.select(&selector).map(|(_, token)| token.access_token.expose().to_owned())
    };
    assert_eq!(pick(None, &["b"]), Ok("u".into()), "so nothing is ambiguous");
    assert_eq!(pick(Some("a"), &["b"]), Err(NoSelection::IdentityNotFound(vec!["b".into()])));
    assert_eq!(pick(None, &["c"]), Err(NoSelection::IdentityNotFound(vec![])));
}

#[test]
fn an_unreadable_token_is_not_served_and_still_makes_a_selection_ambiguous() {
    let odd = || identity("a", "p", None).with_unreadable_token();
    assert_eq!(pick(&profile(vec![odd()]), None, None), Err(NoSelection::NoToken));
    let two = profile(vec![odd(), identity("b", "p", Some("t"))]);
    let b = Candidate { connection: "b".into(), provider: "p".into(), user_id: "1".into() };
    assert_eq!(pick(&two, None, Some("p")), Err(NoSelection::Ambiguous(vec![b])));
    assert_eq!(pick(&two, Some("a"), None), Err(NoSelection::NoToken));
    assert_eq!(pick(&two, Some("b"), None), Ok("t".into()));
}

#[test]
fn a_long_list_is_cut_off() {
    let of = |names: Vec<String>| {
        let all = names.iter().map(|name| identity(name, "p", Some("t"))).collect();
        let listed = match profile(all).select(&Selector::default()) {
            Err(NoSelection::Ambiguous(listed)) => listed.len(),
            other => panic!("{other:?}"),
        };
        let all = profile(names.iter().map(|name| identity(name, "p", None)).collect());
        match pick(&all, Some("none"), None) {
            Err(NoSelection::IdentityNotFound(names)) => (listed, names.len()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of((0..40).map(|n| n.to_string()).collect()), (32, 32));
    assert_eq!(of((0..40).map(|n| format!("{n:04000}")).collect()), (4, 4));
    assert_eq!(of(vec!["x".repeat(1 << 20), "a".into(), "b".into()]), (2, 2));
}

#[test]
fn the_earliest_known_expiry_counts() {
    let now = Moment { wall: Timestamp::from_secs(1_000), elapsed: Duration::ZERO };
    let after = |secs| Deadline::after(now, Duration::from_secs(secs));
    let jwt = |secs| Some((after(secs), ExpiryBasis::Jwt));
    let login = |secs| Some((after(secs), ExpiryBasis::Login));
    assert_eq!(earliest([jwt(10), login(20)]), (Some(after(10)), ExpiryBasis::Jwt));
    assert_eq!(earliest([jwt(20), login(10)]), (Some(after(10)), ExpiryBasis::Login));
    assert_eq!(earliest([jwt(10), login(10)]), (Some(after(10)), ExpiryBasis::Jwt));
    assert_eq!(earliest([None, login(20)]), (Some(after(20)), ExpiryBasis::Login));
    assert_eq!(earliest([None, None]), (None, ExpiryBasis::None));
}

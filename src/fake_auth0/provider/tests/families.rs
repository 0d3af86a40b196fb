//! Rotation, grace, reuse, and what becomes of access tokens.

use super::*;

fn rotating(rules: impl FnOnce(&mut TokenRules)) -> (FakeProvider, Issued) {
    let provider = provider(Dialect::OAuth2);
    provider.set_rules(rules);
    let consent = provider.consent(USER);
    (provider, consent)
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_without_rotation_is_redeemed_again_and_again() {
    let (provider, consent) = rotating(|rules| rules.rotation = Rotation::None);
    for _ in 0..3 {
        let reply = redeem(&provider, &consent.refresh_token).await;
        assert_eq!((status(&reply), body(&reply).get("refresh_token")), (200, None));
    }
    assert_eq!(log(&provider), [(Some(0), true, Answered::Token); 3]);
    assert_eq!(provider.most_presented(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_keeps_the_old_accepts_every_generation() {
    let (provider, consent) = rotating(|rules| rules.rotation = Rotation::KeepOld);
    let first = next(&redeem(&provider, &consent.refresh_token).await, "");
    let second = next(&redeem(&provider, &first).await, "");
    assert!(first != second && first != consent.refresh_token);
    tokio::time::sleep(SECOND * 86_400).await;
    for old in [&consent.refresh_token, &first, &second] {
        assert_eq!(status(&redeem(&provider, old).await), 200, "{old}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_use_token_is_dead_after_its_use() {
    let (provider, consent) = rotating(|rules| rules.reuse_ends_family = false);
    let first = redeem(&provider, &consent.refresh_token).await;
    assert!(!provider.is_redeemable(&consent.refresh_token));
    assert_eq!(status(&redeem(&provider, &consent.refresh_token).await), 400);
    let successor = next(&first, "");
    assert!(provider.is_redeemable(&successor), "without the detection of reuse the family lives on");
    assert_eq!(status(&redeem(&provider, &successor).await), 200);
    let refused = Answered::Refusal("invalid_grant");
    let expected =
        [(Some(0), true, Answered::Token), (Some(0), false, refused), (Some(1), true, Answered::Token)];
    assert_eq!(log(&provider), expected);
}

#[tokio::test(start_paused = true)]
async fn reuse_ends_the_family_and_its_access_tokens() {
    let (provider, consent) = rotating(|_| {});
    let other = provider.consent("google-oauth2|2");
    let first = redeem(&provider, &consent.refresh_token).await;
    let issued = body(&first)["access_token"].as_str().unwrap().to_owned();
    assert!(provider.is_alive(&issued) && provider.is_alive(&consent.access_token));
    let before = provider.0.clock.now();

    tokio::time::sleep(SECOND).await;
    assert_eq!(status(&redeem(&provider, &consent.refresh_token).await), 400);
    assert!(!provider.is_alive(&issued) && !provider.is_alive(&consent.access_token));
    assert!(provider.is_alive_at(&issued, before), "what was true before stays true");
    let again = provider.consent(USER);
    assert!(!provider.is_alive_at(&again.access_token, before), "and this one was not issued then");
    assert_eq!(status(&redeem(&provider, &next(&first, "")).await), 400, "the successor is dead as well");
    assert!(provider.is_alive(&other.access_token) && provider.is_redeemable(&other.refresh_token));
}

#[tokio::test(start_paused = true)]
async fn within_the_grace_a_used_token_has_a_further_successor() {
    let (provider, consent) = rotating(|rules| rules.grace = SECOND * 30);
    let first = next(&redeem(&provider, &consent.refresh_token).await, "");
    tokio::time::sleep(SECOND * 29).await;
    let second = next(&redeem(&provider, &consent.refresh_token).await, "");
    assert_ne!(first, second);
    assert!(provider.is_redeemable(&first) && provider.is_redeemable(&second));
    // The grace is counted from the first redemption.
    tokio::time::sleep(SECOND).await;
    assert!(!provider.is_redeemable(&consent.refresh_token));
    assert!(provider.is_redeemable(&second));
    assert_eq!(status(&redeem(&provider, &consent.refresh_token).await), 400);
    assert!(!provider.is_redeemable(&second), "and then it counts as reuse");
}

#[tokio::test(start_paused = true)]
async fn an_access_token_ends_at_rotation_after_the_grace_or_with_its_lifetime() {
    for (old, at_once, after_grace) in [
        (OldAccessToken::Lives, true, true),
        (OldAccessToken::EndsAtRotation, false, false),
        (OldAccessToken::EndsAfterGrace, true, false),
    ] {
        let (provider, consent) = rotating(|rules| {
            rules.grace = SECOND * 600;
            rules.old_access_token = old;
        });
        let answer = body(&redeem(&provider, &consent.refresh_token).await);
        let new = answer["access_token"].as_str().unwrap();
        assert_eq!(
            (provider.is_alive(&consent.access_token), provider.is_alive(new)),
            (at_once, true),
            "{old:?}"
        );
        tokio::time::sleep(SECOND * 600).await;
        let alive = (provider.is_alive(&consent.access_token), provider.is_alive(new));
        assert_eq!(alive, (after_grace, true), "{old:?}");
        tokio::time::sleep(SECOND * 2_999).await;
        assert!(provider.is_alive(new));
        tokio::time::sleep(SECOND).await;
        assert!(!provider.is_alive(new), "an hour is over");
    }
    assert!(!provider(Dialect::Google).is_alive("ya29.of-another"));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_changes_once_a_day_is_repeated_until_then() {
    let provider = provider(Dialect::QuickBooks);
    let consent = provider.consent(USER);
    let same = next(&redeem(&provider, &consent.refresh_token).await, "");
    assert_eq!(same, consent.refresh_token);
    tokio::time::sleep(SECOND * 86_400).await;
    let new = next(&redeem(&provider, &same).await, "");
    assert_ne!(new, same);
    tokio::time::sleep(SECOND * 86_399).await;
    assert!(provider.is_redeemable(&same));
    tokio::time::sleep(SECOND).await;
    assert!(!provider.is_redeemable(&same) && provider.is_redeemable(&new));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_user_and_an_unknown_token_are_refused() {
    let (provider, consent) = rotating(|_| {});
    provider.revoke(USER);
    assert!(!provider.is_alive(&consent.access_token));
    assert_eq!(body(&redeem(&provider, &consent.refresh_token).await)["error"], "invalid_grant");
    assert_eq!(body(&redeem(&provider, "of-another").await)["error"], "invalid_grant");
    let again = provider.consent(USER);
    assert_eq!(status(&redeem(&provider, &again.refresh_token).await), 200, "a new consent begins anew");
    let families: Vec<_> =
        provider.redemptions().iter().map(|record| record.position.map(|position| position.family)).collect();
    assert_eq!(families, [Some(0), None, Some(1)]);
}

#[tokio::test(start_paused = true)]
async fn overlaps_and_a_client_that_hangs_up_are_logged() {
    let (provider, consent) = rotating(|rules| rules.rotation = Rotation::None);
    provider.fault(ProviderFault::Latency(SECOND));
    let _ =
        tokio::join!(redeem(&provider, &consent.refresh_token), redeem(&provider, &consent.refresh_token));
    assert_eq!(provider.max_concurrent(), 2);
    assert!(provider.redemptions().iter().all(|record| record.overlapped));
    provider.forget_redemptions();

    provider.clear();
    provider.fault(ProviderFault::LateAnswer(SECOND));
    let begun = tokio::time::Instant::now();
    let processed = provider.until(|records| records.iter().any(|record| record.processed));
    tokio::select! {
        biased;
        _ = redeem(&provider, &consent.refresh_token) => panic!("the answer is late"),
        () = processed => assert_eq!(begun.elapsed(), Duration::ZERO),
    }
    assert_eq!(log(&provider), [(Some(0), true, Answered::Nothing)]);
    provider.forget_redemptions();
    provider.clear();
    provider.fault(ProviderFault::Latency(SECOND));

    let hung_up = tokio::time::timeout(SECOND / 2, redeem(&provider, &consent.refresh_token));
    assert!(hung_up.await.is_err());
    provider.clear();
    provider.fault(ProviderFault::LateAnswer(SECOND));
    let hung_up = tokio::time::timeout(SECOND / 2, redeem(&provider, &consent.refresh_token));
    assert!(hung_up.await.is_err());
    let expected = [(Some(0), false, Answered::Nothing), (Some(0), true, Answered::Nothing)];
    assert_eq!(log(&provider), expected, "hanging up helps only before the request is processed");
    assert!(provider.redemptions().iter().all(|record| !record.overlapped));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_forgotten_under_way_changes_no_later_record() {
    let (provider, consent) = rotating(|rules| rules.rotation = Rotation::None);
    provider.fault_next(1, ProviderFault::Latency(SECOND));
    let _ = tokio::join!(redeem(&provider, &consent.refresh_token), async {
        provider.until(|records| !records.is_empty()).await;
        provider.forget_redemptions();
        provider.fault_next(1, ProviderFault::Refused(Refused::InvalidGrant));
        let _ = redeem(&provider, &consent.refresh_token).await;
    });
    assert_eq!(log(&provider), [(Some(0), false, Answered::Refusal("invalid_grant"))]);
    assert_eq!(provider.max_concurrent(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_login_brings_a_new_the_same_or_no_refresh_token() {
    let clock = Clock::simulated(START);
    let tenant = Tenant::new(clock, TenantOptions::default()).unwrap();
    let google = FakeProvider::beside(&tenant, ProviderOptions::of(Dialect::Google));
    assert!(google.adopt(&tenant, "google-oauth2") >= 5);
    assert_eq!(google.adopt(&tenant, "google-oauth2"), 0, "they are known");
    let stored = || tenant.user(users::EXPIRED).unwrap()["identities"][0].clone();
    let old = stored()["refresh_token"].as_str().unwrap().to_owned();
    assert!(google.is_redeemable(&old));
    assert!(google.is_alive("ya29.demo-foo") && !google.is_alive("ya29.demo-expired"));
    tokio::time::sleep(SECOND * 3_539).await;
    assert!(!google.is_alive("ya29.demo-foo"), "it was issued a minute before the start");

    let login =
        |refresh_token| google.log_in(&tenant, users::EXPIRED, "google-oauth2", refresh_token).unwrap();
    let same = login(LoginRefreshToken::Same);
    assert_eq!(
        (&stored()["refresh_token"], &stored()["access_token"]),
        (&old.as_str().into(), &same.access_token.as_str().into())
    );
    let new = login(LoginRefreshToken::New);
    assert_eq!(stored()["refresh_token"], new.refresh_token.as_str());
    assert_ne!(new.refresh_token, old);
    assert!(google.is_redeemable(&old) && google.is_redeemable(&new.refresh_token));
    let none = login(LoginRefreshToken::Absent);
    assert_eq!(
        (stored().get("refresh_token"), &stored()["access_token"]),
        (None, &none.access_token.as_str().into())
    );
    assert!(google.is_alive(&none.access_token));
    assert_eq!(tenant.user(users::EXPIRED).unwrap()["last_login"], "2027-01-15T08:58:59.000Z");

    assert!(google.log_in(&tenant, users::GITHUB, "google-oauth2", LoginRefreshToken::New).is_none());
    assert!(
        google.log_in(&tenant, users::GITHUB, "github", LoginRefreshToken::Same).is_none(),
        "no consent yet"
    );
}

//! The Management token: when it is obtained, renewed and dropped, and what lookups do meanwhile.

use std::time::Duration;

use cloakroom::cache::LookupOptions;
use cloakroom::domain::error::{Failure, LookupError, Refusal, Stage};
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{Endpoint, ExpiresIn, Fault, TenantOptions, WaitHint, users};
use tokio::time::sleep;

use super::{MINUTE, SECOND, failure, world};
use crate::support::futures::join_all;
use crate::support::world::{FLOW, World, query};

// The Management token.

#[tokio::test(start_paused = true)]
async fn a_management_token_that_lives_ten_seconds_serves_a_minute_without_a_failure() {
    let options = TenantOptions { token_lifetime: 10 * SECOND, ..TenantOptions::default() };
    let world = World::simulated(options, "").await;
    world.tenant.fault(Endpoint::Token, Fault::Latency(SECOND / 2));
    world.ready().await;
    for _ in 0..600 {
        world.cache().purge_all();
        assert_eq!(world.state(users::GOOGLE).await, "miss");
        sleep(SECOND / 10).await;
    }
    // At 80 % of ten seconds, half a second more or less: some eight renewals, and never two at a time.
    assert!((6..=9).contains(&world.grants()), "{}", world.grants());
    assert_eq!(world.tenant.max_concurrent(Endpoint::Token), 1);
}

#[tokio::test(start_paused = true)]
async fn the_token_is_renewed_at_the_configured_fraction_with_jitter_drawn_once() {
    let options = || TenantOptions { token_lifetime: Duration::from_secs(1000), ..TenantOptions::default() };
    let world = World::simulated(options(), "[management]\nrefresh_at = 0.5").await;
    world.ready().await;
    sleep(449 * SECOND).await;
    assert_eq!(world.grants(), 1);
    sleep(102 * SECOND).await;
    assert_eq!(world.grants(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_no_new_token_can_be_had_the_old_one_is_used_until_it_is_no_longer_safe() {
    let options = TenantOptions { token_lifetime: Duration::from_secs(1000), ..TenantOptions::default() };
    let world = World::simulated(options, "").await;
    world.ready().await;
    world.tenant.fault(Endpoint::Token, Fault::Edge503Html);
    sleep(969 * SECOND).await;
    assert_eq!(world.state(users::GOOGLE).await, "miss", "31 seconds are left");
    let attempts = world.grants() - 1;
    assert!((3..=10).contains(&attempts), "{attempts} attempts in three minutes");
    sleep(2 * SECOND).await;
    let why = failure(world.look_up(users::JOHN).await.unwrap_err());
    assert_eq!((why.stage, why.failure), (Stage::ManagementToken, Failure::Status { status: 503 }));
    world.tenant.clear_all();
    sleep(2 * MINUTE).await;
    assert_eq!(world.state(users::JOHN).await, "miss");
}

#[tokio::test(start_paused = true)]
async fn a_lookup_in_the_keepers_backoff_is_answered_at_once_and_told_how_long_it_lasts() {
    let options = TenantOptions::default();
    let world = World::simulated(options, "").await;
    world.tenant.fault(Endpoint::Token, Fault::RateLimited(WaitHint::Seconds(40)));
    assert!(world.look_up(users::GOOGLE).await.is_err());
    sleep(10 * SECOND).await;
    let asked = tokio::time::Instant::now();
    let why = failure(world.look_up(users::GOOGLE).await.unwrap_err());
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert_eq!((why.stage, why.retry_after.as_secs()), (Stage::ManagementToken, 30));
    assert_eq!(world.grants(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_only_a_person_can_mend_is_retried_slowly() {
    let world = World::simulated(TenantOptions::default(), "").await;
    world.tenant.set_client_grant(false);
    let why = failure(world.look_up(users::GOOGLE).await.unwrap_err());
    assert!(matches!(why.failure, Failure::Denied(Refusal::NoClientGrant { .. })), "{why:?}");
    sleep(30 * MINUTE).await;
    assert!((4..=12).contains(&world.grants()), "{} in half an hour", world.grants());
    world.tenant.set_client_grant(true);
    sleep(10 * MINUTE).await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once_and_the_lookup_does_not_notice() {
    for revoke in ["401", "scope"] {
        let world = World::simulated(
            TenantOptions { scopes: vec!["read:clients".into()], ..TenantOptions::default() },
            "[upstream]\nmax_retries = 0",
        )
        .await;
        if revoke == "401" {
            world.tenant.grant_scopes(&["read:users", "read:user_idp_tokens"]);
            world.ready().await;
            world.tenant.revoke_management_tokens();
        } else {
            // The token in use was granted before the application was given its permissions.
            world.ready().await;
            world.tenant.grant_scopes(&["read:users", "read:user_idp_tokens"]);
        }
        assert_eq!(world.state(users::GOOGLE).await, "miss", "{revoke}");
        assert_eq!((world.grants(), world.user_calls()), (2, 2), "{revoke}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_refuses_every_token_is_not_asked_for_one_at_each_lookup() {
    let world = world("").await;
    world.tenant.fault(Endpoint::User, Fault::Unauthorized);
    for n in 0..600 {
        let why = failure(world.look_up(&format!("auth0|{n}")).await.unwrap_err());
        assert_eq!(why.failure, Failure::Denied(Refusal::Bearer { status: 401 }));
        sleep(SECOND).await;
    }
    assert!(world.grants() <= 8, "{} grants in ten minutes", world.grants());
    assert!(world.user_calls() <= 16, "{} requests in ten minutes", world.user_calls());
    let snapshot = world.running.services().management.snapshot(world.clock.now());
    assert_eq!(snapshot.refusal, Some(Refusal::Bearer { status: 401 }), "status tells it");
    world.tenant.clear_all();
    sleep(11 * MINUTE).await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    assert_eq!(world.running.services().management.snapshot(world.clock.now()).refusal, None);
}

/// Lookups under way that are refused together have found out one thing, not one each; and all are told how long the
/// pause is that follows.
#[tokio::test(start_paused = true)]
async fn lookups_that_are_refused_together_make_the_pause_no_longer() {
    let world = world("").await;
    world.tenant.fault(Endpoint::User, Fault::Unauthorized);
    world.tenant.fault(Endpoint::User, Fault::Latency(SECOND / 10));
    let ids: Vec<_> = (0..8).map(|n| format!("auth0|{n}")).collect();
    let refused = join_all(ids.iter().map(|id| world.look_up(id))).await;
    let after = world.look_up(users::GOOGLE).await;
    for outcome in refused.into_iter().chain([after]) {
        let why = failure(outcome.unwrap_err());
        assert_eq!(why.failure, Failure::Denied(Refusal::Bearer { status: 401 }));
        assert!((10 * SECOND..=20 * SECOND).contains(&why.retry_after), "{:?}", why.retry_after);
    }
    world.tenant.clear_all();
    sleep(20 * SECOND).await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
}

/// While Auth0 refuses every token there is nothing to ask with: nothing is spent, and a request for a fresh answer is told the reason.
#[tokio::test(start_paused = true)]
async fn while_every_token_is_refused_nothing_is_spent_on_what_is_held() {
    let world = world("[cache]\nmax_ttl = \"100s\"\n[upstream]\nrequests_per_second = 0.1\nburst = 12").await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    world.tenant.fault(Endpoint::User, Fault::Unauthorized);
    sleep(101 * SECOND).await;
    assert!(world.look_up(users::JOHN).await.is_err(), "and it is found out");
    for _ in 0..50 {
        assert_eq!(world.state(users::GOOGLE).await, "stale");
    }
    let user = UserId::parse(users::GOOGLE).unwrap();
    let fresh = LookupOptions { fresh: true, ..LookupOptions::default() };
    let why =
        failure(world.cache().look_up(query(&user, &Selector::default(), fresh), FLOW).await.unwrap_err());
    assert_eq!(
        (why.stage, why.failure),
        (Stage::ManagementToken, Failure::Denied(Refusal::Bearer { status: 401 }))
    );
    world.tenant.clear_all();
    sleep(20 * SECOND).await;
    for n in 0..3 {
        assert_eq!(world.state(&format!("auth0|{n}")).await, "user_not_found", "the budget is there");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_died_in_its_sleep_is_replaced_before_it_is_used() {
    let options = TenantOptions { token_lifetime: Duration::from_secs(3600), ..TenantOptions::default() };
    let world = World::simulated(options, "").await;
    world.ready().await;
    world.clock.suspend(2 * 60 * MINUTE);
    assert_eq!(world.state(users::GITHUB).await, "miss");
    assert_eq!((world.grants(), world.user_calls()), (2, 1), "no request was made with the dead one");
}

#[tokio::test(start_paused = true)]
async fn lifetimes_of_no_use_cause_no_storm_of_grants() {
    for odd in [ExpiresIn::Zero, ExpiresIn::Negative] {
        let world = World::simulated(TenantOptions::default(), "").await;
        world.tenant.fault(Endpoint::Token, Fault::ExpiresIn(odd));
        assert!(world.look_up(users::GOOGLE).await.is_err());
        sleep(10 * MINUTE).await;
        assert!(world.grants() <= 25, "{} grants in ten minutes", world.grants());
    }
}

#[tokio::test(start_paused = true)]
async fn missing_scopes_show_in_status_and_in_the_answer() {
    let options = TenantOptions { scopes: vec!["read:users".into()], ..TenantOptions::default() };
    let world = World::simulated(options, "").await;
    world.ready().await;
    let snapshot = world.running.services().management.snapshot(world.clock.now());
    assert_eq!(snapshot.missing_scopes, ["read:user_idp_tokens"]);
    assert_eq!(world.look_up(users::GOOGLE).await, Err(LookupError::NoToken { withheld: true }));
}

/// Nor does it say anything of the client's credentials where a grant is asked for.
#[tokio::test(start_paused = true)]
async fn what_turns_a_grant_away_on_the_way_to_auth0_is_tried_again_within_seconds() {
    let pages = [401, 403, 400].map(|status| Fault::EdgePage { status, wait: WaitHint::None });
    for fault in pages.into_iter().chain([Fault::GatewayJson { status: 403 }]) {
        let world = World::simulated(TenantOptions::default(), "").await;
        world.tenant.fault_next(Endpoint::Token, 2, fault.clone());
        let got = world.get(&World::path(users::GOOGLE)).await;
        assert_eq!(got.problem(), (503, "management_token_unavailable".into()), "{fault:?}");
        assert_eq!(got.json()["permanent"], false, "{fault:?}");
        let begun = tokio::time::Instant::now();
        world.running.services().management.obtained().await;
        assert!(begun.elapsed() < 10 * SECOND, "{fault:?}: {:?}", begun.elapsed());
        assert_eq!(world.grants(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_503_at_the_grant_that_says_when_to_come_back_is_obeyed() {
    let world = World::simulated(TenantOptions::default(), "").await;
    world.tenant.fault_next(Endpoint::Token, 1, Fault::EdgePage { status: 503, wait: WaitHint::Seconds(45) });
    let got = world.get(&World::path(users::GOOGLE)).await;
    assert_eq!(got.problem(), (503, "management_token_unavailable".into()));
    assert_eq!(got.retry_after(), Some(30), "callers look again no later than this");
    sleep(44 * SECOND).await;
    assert_eq!(world.grants(), 1);
    sleep(6 * SECOND).await;
    assert_eq!(world.grants(), 2);
    assert_eq!(world.state(users::GOOGLE).await, "miss");
}

/// Whatever the keeper waits for: a person may mend it at any moment, and callers should notice.
#[tokio::test(start_paused = true)]
async fn callers_are_told_to_come_back_within_half_a_minute_however_long_the_keeper_waits() {
    let world = World::simulated(TenantOptions::default(), "").await;
    world.tenant.set_client_grant(false);
    for _ in 0..40 {
        let got = world.get(&World::path(users::GOOGLE)).await;
        assert_eq!(got.json()["permanent"], true);
        assert!(got.retry_after().unwrap() <= 30, "{:?}", got.retry_after());
        sleep(29 * SECOND).await;
    }
}

/// A token that cannot be sent is none: the daemon is not ready with it, and asks again.
#[tokio::test(start_paused = true)]
async fn a_grant_whose_token_no_header_can_carry_is_none() {
    for end in ["\n", "\r\nx-admin: 1", "\0", " ", "\u{e9}"] {
        let world = World::simulated(TenantOptions::default(), "").await;
        world.tenant.fault_next(Endpoint::Token, 1, Fault::TokenEndsIn(end));
        let got = world.get(&World::path(users::GOOGLE)).await;
        assert_eq!(got.problem(), (503, "management_token_unavailable".into()), "{end:?}");
        assert!(got.detail().contains("cannot be sent"), "{}", got.detail());
        assert_eq!(got.json()["permanent"], false, "{end:?}");
        sleep(3 * SECOND).await;
        assert_eq!(world.state(users::GOOGLE).await, "miss", "{end:?}");
        assert_eq!(world.grants(), 2);
    }
}

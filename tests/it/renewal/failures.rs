//! Providers that fail for a while: what is valid is served, and nobody has to log in.

use cloakroom::fake_auth0::provider::Refused;

use super::*;

/// Asks once a second for ten minutes. Returns how many lookups were answered with a token.
async fn ten_minutes(desk: &Desk, expected: (u16, &str)) -> usize {
    let mut issued = 0;
    for _ in 0..600 {
        sleep(SECOND).await;
        let got = desk.get(users::EXPIRED).await;
        if got.status == 200 {
            issued += 1;
            continue;
        }
        assert_eq!(got.problem(), (expected.0, expected.1.into()));
        assert!(got.retry_after().is_some_and(|seconds| (1..=60).contains(&seconds)), "{got:?}");
    }
    issued
}

#[tokio::test(start_paused = true)]
async fn failures_are_answered_with_when_to_ask_again_and_never_with_a_login() {
    for (fault, code) in [
        (ProviderFault::Before(Breakdown::Status(503, WaitHint::None)), (503, "provider_unavailable")),
        (ProviderFault::Before(Breakdown::Status(500, WaitHint::None)), (503, "provider_unavailable")),
        (ProviderFault::After(Breakdown::Status(502, WaitHint::None)), (503, "provider_unavailable")),
        (ProviderFault::Refused(Refused::Unavailable), (503, "provider_unavailable")),
        (ProviderFault::Before(Breakdown::Close), (503, "provider_unavailable")),
        (ProviderFault::After(Breakdown::Html200), (503, "provider_unavailable")),
        (ProviderFault::Before(Breakdown::Stall), (504, "provider_timeout")),
        (ProviderFault::After(Breakdown::StallBody), (504, "provider_timeout")),
    ] {
        let desk = Desk::new("").await;
        desk.provider.fault(fault.clone());
        let (issued, cost) = desk.cost(ten_minutes(&desk, code)).await;
        assert_eq!(issued, 0, "{fault:?}");
        // A lookup makes three requests at most, and one in thirty seconds or so is let through.
        assert!((5..=90).contains(&cost[1]), "{fault:?}: {cost:?}");
        assert!(cost[0] <= 3, "{fault:?}: {cost:?}: Auth0 has nothing to do with it");
        desk.provider.clear();
        sleep(31 * SECOND).await;
        assert_eq!(desk.get(users::EXPIRED).await.status, 200, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_cannot_be_reached_is_found_out_about_in_time() {
    let desk = Desk::new("").await;
    desk.provider.refuse_connections(true);
    let begun = Instant::now();
    let got = desk.get(users::EXPIRED).await;
    assert_eq!(got.problem(), (503, "provider_unavailable".into()));
    assert!(got.detail().contains(GOOGLE) && begun.elapsed() <= PROVIDER_TIMEOUT, "{got:?}");
    // The next lookups do not wait for it.
    let begun = Instant::now();
    assert_eq!(desk.get(users::EXPIRED).await.problem(), (503, "provider_unavailable".into()));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    desk.provider.clear();
    sleep(31 * SECOND).await;
    assert_eq!(desk.get(users::EXPIRED).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_is_valid_is_served_through_an_outage_of_the_provider_and_no_longer() {
    let desk = Desk::new("").await;
    let token = desk.token(users::EXPIRED).await;
    desk.provider.fault(ProviderFault::Before(Breakdown::Stall));
    for _ in 0..59 {
        sleep(MINUTE).await;
        let begun = Instant::now();
        assert_eq!(desk.token(users::EXPIRED).await, token);
        assert_eq!(begun.elapsed(), Duration::ZERO, "the renewal ahead is in the background");
    }
    let ahead = desk.provider.redemptions().len();
    assert!((2..=13).contains(&ahead), "{ahead}: it is tried ahead, and again after a while");
    sleep(MINUTE).await;
    assert_eq!(desk.get(users::EXPIRED).await.problem(), (504, "provider_timeout".into()));
    desk.provider.clear();
    sleep(MINUTE).await;
    assert_ne!(desk.token(users::EXPIRED).await, token);
}

#[tokio::test(start_paused = true)]
async fn a_429_stops_the_provider_alone_for_as_long_as_it_asks() {
    let desk = Desk::new("").await;
    desk.provider.fault_next(1, ProviderFault::Before(Breakdown::Status(429, WaitHint::Seconds(30))));
    let (got, cost) = desk.cost(desk.get(users::EXPIRED)).await;
    assert_eq!((got.problem(), cost), ((503, "provider_unavailable".into()), [1, 1]));
    assert_eq!(got.retry_after(), Some(30));
    sleep(10 * SECOND).await;
    for user in [users::EXPIRED, users::SEVERAL] {
        let (got, cost) = desk.cost(desk.get_with(user, "connection=google-oauth2")).await;
        assert_eq!((got.problem(), cost[1]), ((503, "provider_unavailable".into()), 0), "{user}");
        assert_eq!(got.retry_after(), Some(20), "{user}");
    }
    // Auth0 is another host.
    let (got, cost) = desk.cost(desk.get(users::GOOGLE)).await;
    assert_eq!((got.status.as_u16(), cost), (200, [1, 0]));
    sleep(20 * SECOND).await;
    assert_eq!(desk.get(users::EXPIRED).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_passing_failure_costs_a_retry_and_no_client_notices() {
    let desk = Desk::new("").await;
    desk.provider.fault_next(1, ProviderFault::Before(Breakdown::Status(503, WaitHint::None)));
    let (got, cost) = desk.cost(desk.get(users::EXPIRED)).await;
    assert_eq!((got.status.as_u16(), cost), (200, [1, 2]));
}

/// The provider refuses the request of a user, and not the client.
#[tokio::test(start_paused = true)]
async fn a_scope_that_one_user_has_not_granted_is_the_operators_and_holds_back_no_other_user() {
    let desk = Desk::new("").await;
    desk.provider.fault_next_of(users::EXPIRED, 1, ProviderFault::Refused(Refused::InvalidScope));
    let got = desk.get(users::EXPIRED).await;
    assert_eq!(got.problem(), (502, "source_misconfigured".into()));
    assert!(got.detail().contains("scope in [connection.refresh]"), "{got:?}");
    let several = desk.get_with(users::SEVERAL, "connection=google-oauth2").await;
    assert_eq!((several.status.as_u16(), text(&several, "source")), (200, "refresh".into()));
}

#[tokio::test(start_paused = true)]
async fn while_auth0_is_down_what_is_known_is_renewed_and_what_is_not_is_503() {
    let desk = Desk::new("").await;
    let token = desk.token(users::EXPIRED).await;
    sleep(55 * MINUTE).await;
    // Auth0 was asked a moment ago, and its answer is that of an hour ago.
    desk.get_with(users::EXPIRED, "fresh=true").await;
    sleep(4 * MINUTE + 30 * SECOND).await;
    desk.world.tenant.fault(Endpoint::User, Fault::RefuseConnections);
    let (renewed, cost) = desk.cost(desk.token(users::EXPIRED)).await;
    assert!(renewed != token && cost == [0, 1], "{cost:?}");
    let (got, cost) = desk.cost(desk.get_with(users::SEVERAL, "connection=google-oauth2")).await;
    assert_eq!((got.problem(), cost[1]), ((503, "upstream_unavailable".into()), 0));
    // Past `cache.max_ttl` too the issued token is served, and nobody is known to be blocked.
    sleep(20 * MINUTE).await;
    let got = desk.get(users::EXPIRED).await;
    assert_eq!((got.status.as_u16(), text(&got, "access_token")), (200, renewed));
    assert_eq!(got.header("cloakroom-cache"), Some("stale"));
}

//! A refresh token that its provider refuses: the user has to log in only after Auth0 was asked once more.

use cloakroom::domain::redemption::RETRY_HELD;
use cloakroom::fake_auth0::provider::Refused;

use super::*;

/// Whether Auth0 is asked, and the provider: for a token that was read long ago or not at all.
const READ_AND_REFUSED: [usize; 2] = [2, 1];

#[tokio::test(start_paused = true)]
async fn a_user_has_to_log_in_only_after_auth0_was_asked_once_more() {
    let desk = Desk::new("").await;
    desk.provider.revoke(users::EXPIRED);
    let (got, cost) = desk.cost(desk.get(users::EXPIRED)).await;
    assert_eq!(refusal(&got), login_required("refresh_refused"));
    assert_eq!(cost, READ_AND_REFUSED, "before and after the provider");
    assert!(got.detail().contains("offline access") && got.retry_after() == Some(30), "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered_until_a_login_brings_another_refresh_token() {
    let desk = Desk::new("").await;
    desk.provider.revoke(users::EXPIRED);
    desk.get(users::EXPIRED).await;
    let (_, cost) = desk
        .cost(async {
            for second in 1..30 {
                sleep(SECOND).await;
                let got = desk.get(users::EXPIRED).await;
                assert_eq!(refusal(&got), login_required("refresh_refused"));
                assert_eq!(got.retry_after(), Some(30 - second));
            }
        })
        .await;
    assert_eq!(cost, [0, 0]);
    // Auth0 is asked whether there was a login, and the provider is not: for a day, and after a purge.
    let (_, cost) = desk
        .cost(async {
            for _ in 0..24 {
                sleep(HOUR).await;
                assert_eq!(refusal(&desk.get(users::EXPIRED).await), login_required("refresh_refused"));
            }
            let user = World::path(users::EXPIRED).replace("/token", "");
            desk.world.send("DELETE", &user, &[("cloakroom-request", "true")]).await;
            assert_eq!(refusal(&desk.get(users::EXPIRED).await), login_required("refresh_refused"));
        })
        .await;
    assert_eq!(cost, [25, 0]);
    // A login without a consent brings the same refresh token, of which nothing is to be expected.
    let tenant = &desk.world.tenant;
    tenant.sign_on(users::EXPIRED);
    sleep(MINUTE).await;
    let (got, cost) = desk.cost(desk.get(users::EXPIRED)).await;
    assert_eq!((refusal(&got), cost), (login_required("refresh_refused"), [1, 0]));

    let consent = desk.provider.consent(users::EXPIRED);
    let expired =
        json!({ "refresh_token": consent.refresh_token, "access_token": "ya29.x", "expires_in": 1 });
    assert!(tenant.log_in_with(users::EXPIRED, GOOGLE, expired));
    sleep(MINUTE).await;
    let (got, cost) = desk.cost(desk.get(users::EXPIRED)).await;
    assert_eq!((got.status.as_u16(), cost), (200, [1, 1]));
    assert_eq!(text(&got, "source"), "refresh");
}

/// The provider answers after the user has logged in anew, so Auth0 has what the daemon does not know yet.
async fn refused_during_a_login(log_in: impl Fn(&Desk)) -> (Got, [usize; 2]) {
    let desk = Desk::new("").await;
    desk.provider.fault_next(1, ProviderFault::Latency(2 * SECOND));
    let (got, cost) = desk
        .cost(async {
            let (got, ()) = tokio::join!(desk.get(users::EXPIRED), async {
                sleep(SECOND / 2).await;
                desk.provider.revoke(users::EXPIRED);
                log_in(&desk);
            });
            got
        })
        .await;
    let answers: Vec<_> = desk.provider.redemptions().iter().map(|record| record.answer).collect();
    assert_eq!(answers[0], Answered::Refusal("invalid_grant"));
    (got, cost)
}

#[tokio::test(start_paused = true)]
async fn a_newer_refresh_token_at_auth0_is_redeemed_in_the_same_lookup() {
    let (got, cost) = refused_during_a_login(|desk| {
        let consent = desk.provider.consent(users::EXPIRED);
        let expired =
            json!({ "refresh_token": consent.refresh_token, "access_token": "ya29.x", "expires_in": 1 });
        assert!(desk.world.tenant.log_in_with(users::EXPIRED, GOOGLE, expired));
    })
    .await;
    assert_eq!((got.status.as_u16(), text(&got, "source"), cost), (200, "refresh".into(), [2, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_valid_token_that_auth0_has_by_then_is_the_answer() {
    let (got, cost) = refused_during_a_login(|desk| {
        desk.log_in(users::EXPIRED, LoginRefreshToken::New);
    })
    .await;
    assert_eq!((got.status.as_u16(), text(&got, "source"), cost), (200, "identities".into(), [2, 1]));
}

/// A crowd is told the same, and asks no more often.
#[tokio::test(start_paused = true)]
async fn a_refusal_for_many_lookups_costs_what_it_costs_for_one() {
    let desk = Desk::new("").await;
    desk.provider.revoke(users::EXPIRED);
    desk.provider.fault(ProviderFault::Latency(SECOND));
    desk.world.tenant.fault(Endpoint::User, Fault::Latency(SECOND));
    let all = join_all((0..50).map(|_| desk.get(users::EXPIRED)));
    let (all, cost) = desk.cost(all).await;
    for got in all {
        assert_eq!(refusal(&got), login_required("refresh_refused"));
    }
    assert_eq!(cost, READ_AND_REFUSED);
}

#[tokio::test(start_paused = true)]
async fn auth0_that_does_not_answer_the_second_time_ends_no_user() {
    let desk = Desk::new("").await;
    desk.provider.revoke(users::EXPIRED);
    desk.provider.fault_next(1, ProviderFault::Latency(2 * SECOND));
    let (got, ()) = tokio::join!(desk.get(users::EXPIRED), async {
        sleep(SECOND).await;
        desk.world.tenant.fault(Endpoint::User, Fault::Edge503Html);
    });
    assert_eq!(got.problem(), (503, "upstream_unavailable".into()));
    desk.world.tenant.clear_all();
    sleep(MINUTE).await;
    let (got, cost) = desk.cost(desk.get(users::EXPIRED)).await;
    assert_eq!((refusal(&got), cost), (login_required("refresh_refused"), [1, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_ahead_that_is_refused_takes_no_valid_token() {
    let desk = Desk::new("").await;
    let token = desk.token(users::EXPIRED).await;
    // As from a replica that lags behind.
    desk.provider.fault(ProviderFault::Refused(Refused::InvalidGrant));
    for _ in 0..59 {
        sleep(MINUTE).await;
        assert_eq!(desk.token(users::EXPIRED).await, token, "it is valid, whatever a renewal ahead was told");
    }
    assert_eq!(desk.provider.redemptions().len(), 2, "one for the token, and one ahead");
    sleep(MINUTE).await;
    assert_eq!(refusal(&desk.get(users::EXPIRED).await), login_required("refresh_refused"));
    assert_eq!(desk.provider.redemptions().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_refusal_has_the_reason_that_says_what_the_user_has_to_do() {
    for (dialect, refused, reason) in [
        (Dialect::Google, Refused::InvalidGrant, "refresh_refused"),
        (Dialect::Google, Refused::RaptRequired, "reauthentication_required"),
        (Dialect::Google, Refused::InvalidRapt, "reauthentication_required"),
        (Dialect::Microsoft, Refused::InvalidGrant, "refresh_refused"),
        (Dialect::Microsoft, Refused::ConsentRequired, "consent_required"),
        (Dialect::Microsoft, Refused::ConsentSuberror, "consent_required"),
        (Dialect::Microsoft, Refused::InteractionRequired, "reauthentication_required"),
        (Dialect::Microsoft, Refused::BasicAction, "reauthentication_required"),
    ] {
        let (name, user) = match dialect {
            Dialect::Google => (GOOGLE, users::EXPIRED),
            _ => ("entra", users::EXPIRED_ENTRA),
        };
        let desk = Desk::of(name, dialect, &connection(name, REFRESHED, dialect)).await;
        desk.provider.fault_next(1, ProviderFault::Refused(refused));
        let (got, cost) = desk.cost(desk.get(user)).await;
        assert_eq!(refusal(&got), login_required(reason), "{dialect:?} {refused:?}");
        assert_eq!(cost, READ_AND_REFUSED, "{dialect:?} {refused:?}");
        // An authentication or a consent may end it without another refresh token, so the provider is asked again.
        let is_asked_again = reason != "refresh_refused";
        sleep(11 * MINUTE).await;
        let (got, cost) = desk.cost(desk.get(user)).await;
        assert_eq!((got.status == 200, cost[1] > 0), (is_asked_again, is_asked_again), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_refresh_token_nothing_is_asked_of_the_provider() {
    let desk = Desk::new("").await;
    let (got, cost) = desk.cost(desk.get(users::NO_REFRESH_TOKEN)).await;
    assert_eq!((refusal(&got), cost), (login_required("expired"), [1, 0]));
    assert!(got.json()["expired_at"].is_string(), "{got:?}");
    let (got, cost) = desk.cost(desk.get(users::NO_REFRESH_TOKEN)).await;
    assert_eq!((refusal(&got), cost), (login_required("expired"), [0, 0]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_with_a_single_use_token_is_reported_as_lost() {
    let gitlab = format!("{}{STATE}", connection("gitlab", REFRESHED, Dialect::Gitlab));
    let desk = Desk::of("gitlab", Dialect::Gitlab, &gitlab).await;
    desk.provider.fault_next(1, ProviderFault::After(Breakdown::Stall));
    let got = desk.get(users::EXPIRED_GITLAB).await;
    assert_eq!(got.problem(), (504, "provider_timeout".into()), "not known yet");
    sleep(RETRY_HELD).await;
    let got = desk.get(users::EXPIRED_GITLAB).await;
    assert_eq!(refusal(&got), login_required("refresh_lost"));
    sleep(HOUR).await;
    assert_eq!(refusal(&desk.get(users::EXPIRED_GITLAB).await), login_required("refresh_lost"));
    assert_eq!(desk.provider.most_presented(), 2, "once, and the one retry");
    // And a request that was lost costs that retry alone.
    let consent = desk.provider.consent(users::EXPIRED_GITLAB);
    let expired = json!({ "refresh_token": consent.refresh_token, "access_token": "x", "expires_in": 1 });
    assert!(desk.world.tenant.log_in_with(users::EXPIRED_GITLAB, "gitlab", expired));
    desk.provider.fault_next(1, ProviderFault::Before(Breakdown::Stall));
    sleep(MINUTE).await;
    assert_eq!(desk.get(users::EXPIRED_GITLAB).await.problem(), (504, "provider_timeout".into()));
    sleep(RETRY_HELD).await;
    assert_eq!(desk.get(users::EXPIRED_GITLAB).await.status, 200);
}

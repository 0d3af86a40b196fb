//! Issued tokens under clocks that are stepped, that stand still, and that go on while the machine sleeps.

use cloakroom::domain::freshness::Timestamp;

use super::*;

/// The first token, and what the daemon answers after `happens`.
async fn after(happens: impl AsyncFn(&World)) -> (Desk, String) {
    let desk = Desk::new("").await;
    let token = desk.token(users::EXPIRED).await;
    happens(&desk.world).await;
    (desk, token)
}

async fn held(desk: &Desk) -> String {
    let got = desk.get(users::EXPIRED).await;
    assert_eq!(got.header("cloakroom-cache"), Some("hit"), "{got:?}");
    text(&got, "access_token")
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_back_revives_no_issued_token_and_renews_none_early() {
    for step in ["2016-11-22T10:00:00Z", "2026-11-21T10:00:00Z", "2026-11-22T09:00:00Z"] {
        let to = Timestamp::parse(step).unwrap();
        let (desk, token) = after(async |world| world.clock.step_wall(to)).await;
        for _ in 0..40 {
            sleep(MINUTE).await;
            assert_eq!(desk.token(users::EXPIRED).await, token, "{step}: it is valid");
        }
        assert_eq!(desk.provider.redemptions().len(), 1, "{step}");
        sleep(20 * MINUTE).await;
        assert_ne!(desk.token(users::EXPIRED).await, token, "{step}: it has expired");
        assert_eq!(desk.provider.redemptions().len(), 2, "{step}");
    }
}

/// By one of the two clocks the token has expired, so it is renewed; the next one is not.
#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_forward_costs_one_redemption() {
    let to = Timestamp::parse("2026-11-23T10:00:00Z").unwrap();
    let (desk, token) = after(async |world| world.clock.step_wall(to)).await;
    for _ in 0..40 {
        assert_ne!(desk.token(users::EXPIRED).await, token);
        sleep(MINUTE).await;
    }
    assert_eq!(desk.provider.redemptions().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expired_while_the_machine_slept_is_renewed_once() {
    let (desk, token) = after(async |world| world.pass(2 * HOUR)).await;
    let (next, cost) = desk.cost(desk.token(users::EXPIRED)).await;
    assert!(next != token && cost == [1, 1], "{cost:?}");
    assert_eq!(desk.get(users::EXPIRED).await.header("cloakroom-cache"), Some("hit"));
}

/// A virtual machine was paused: none of its clocks counted the time, and the next answer of Auth0 shows it.
#[tokio::test(start_paused = true)]
async fn an_issued_token_is_judged_by_the_time_that_the_clocks_lost() {
    let (desk, token) = after(async |world| {
        sleep(MINUTE).await;
        world.tenant_clock.suspend(8 * HOUR);
    })
    .await;
    assert_eq!(held(&desk).await, token, "nothing on this machine shows it");
    desk.get(users::ENTRA).await;
    let got = desk.get(users::EXPIRED).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_ne!(text(&got, "access_token"), token);
    assert_eq!(desk.provider.redemptions_of(users::EXPIRED).len(), 2);
}

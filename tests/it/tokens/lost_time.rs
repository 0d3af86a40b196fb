//! Time for which the machine's clocks stood still, as later answers show it.

use std::time::Duration;

use cloakroom::cache::ReportOutcome;
use cloakroom::domain::error::LookupError;
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{Endpoint, Fault, users};
use tokio::time::sleep;

use super::{HOUR, MINUTE, SECOND, is_over, is_refused, world};

// One user's failure.

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_for_one_user_lets_no_other_be_served_unasked() {
    let status = |status, body: &str| Fault::Status { status, headers: Vec::new(), body: body.into() };
    for fault in
        [status(500, "{}"), status(503, "<html>"), Fault::Html200, Fault::Empty200, status(404, "no")]
    {
        let world = world("[cache]\nmax_ttl = \"100s\"\n[upstream]\nmax_retries = 0").await;
        world.look_up(users::GOOGLE).await.unwrap();
        sleep(101 * SECOND).await;
        world.tenant.fault_next(Endpoint::User, 1, fault.clone());
        world.look_up(users::JOHN).await.unwrap_err();
        world.tenant.block(users::GOOGLE);
        let looked = world.look_up(users::GOOGLE).await;
        assert_eq!(looked, Err(LookupError::UserBlocked), "{fault:?}");
    }
}

/// Guarantee 3: a real outage is still found out once, and any answer is the end of it.
#[tokio::test(start_paused = true)]
async fn no_answer_at_all_speaks_for_everybody_until_there_is_one_of_any_kind() {
    for fault in [Fault::RefuseConnections, Fault::StallHeaders, Fault::ResetWhileReading] {
        let world = world("[cache]\nmax_ttl = \"100s\"\n[upstream]\nmax_retries = 0").await;
        for user in [users::GOOGLE, users::JOHN, users::GITHUB] {
            world.look_up(user).await.unwrap();
        }
        sleep(101 * SECOND).await;
        world.tenant.fault(Endpoint::User, fault.clone());
        world.look_up(users::ENTRA).await.unwrap_err();
        let asked = tokio::time::Instant::now();
        assert_eq!(world.look_up(users::GOOGLE).await.unwrap().1, "stale", "{fault:?}");
        assert_eq!(asked.elapsed(), Duration::ZERO, "{fault:?}");
        sleep(MINUTE).await;
        world.tenant.clear_all();
        world.tenant.fault_next(Endpoint::User, 1, Fault::Edge503Html);
        world.look_up("google-oauth2|another").await.unwrap_err();
        assert_eq!(world.look_up(users::GITHUB).await.unwrap().1, "miss", "{fault:?}");
    }
}

// Clocks that stood still.

/// Guarantee 1. A virtual machine was paused: neither of its clocks counted the time, and Auth0's did.
#[tokio::test(start_paused = true)]
async fn what_was_cached_before_the_clocks_stood_still_is_judged_by_the_time_that_was_lost() {
    let world = world("[cache]\nmax_ttl = \"10m\"").await;
    world.look_up(users::GOOGLE).await.unwrap();
    world.look_up(users::GITHUB).await.unwrap();
    sleep(MINUTE).await;
    world.tenant_clock.suspend(8 * HOUR);
    // Nothing on this machine tells of it, until Auth0 answers.
    world.look_up(users::ENTRA).await.unwrap_err();
    let (looked, github) = (world.look_up(users::GOOGLE).await, world.look_up(users::GITHUB).await);
    assert!(is_over(&looked), "{looked:?}");
    assert_eq!(github.unwrap().1, "miss", "its entry is 8 hours old, too");
    assert_eq!(world.look_up(users::GITHUB).await.unwrap().1, "hit", "what has just been asked for is not");
}

/// A report and a flight are in their order whatever the clocks turn out to have missed, and so are a login and a report.
#[tokio::test(start_paused = true)]
async fn lost_time_that_is_noticed_after_a_report_neither_lifts_it_nor_passes_for_an_answer() {
    let world = world("").await;
    let fingerprint = world.fingerprint(users::GOOGLE, &Selector::default()).await;
    sleep(MINUTE).await;
    world.tenant_clock.suspend(MINUTE);
    world.tenant.sign_on(users::GOOGLE);
    world.tenant_clock.suspend(MINUTE);
    world.tenant.fault_next(Endpoint::User, 1, Fault::LateAnswer(SECOND));
    let calls = world.user_calls();
    let (_, ()) = tokio::join!(world.ask_afresh(users::GOOGLE), async {
        sleep(SECOND / 2).await;
        assert_eq!(world.report(users::GOOGLE, fingerprint), ReportOutcome::Dropped);
    });
    assert!(world.clock.lost() > MINUTE, "it is noticed");
    assert!(is_refused(&world.look_up(users::GOOGLE).await));
    assert_eq!(world.user_calls(), calls + 2, "Auth0 is asked after the report");
    sleep(MINUTE).await;
    assert!(is_refused(&world.look_up(users::GOOGLE).await));
    sleep(5 * MINUTE).await;
    world.tenant.sign_on(users::GOOGLE);
    sleep(MINUTE).await;
    assert!(world.look_up(users::GOOGLE).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_died_while_the_clocks_stood_still_is_not_served_in_an_outage() {
    let world = world("[cache]\nmax_ttl = \"10m\"\nmax_stale = \"24h\"").await;
    world.look_up(users::GOOGLE).await.unwrap();
    world.tenant_clock.suspend(2 * HOUR);
    world.look_up(users::GITHUB).await.unwrap();
    world.tenant.fault(Endpoint::User, Fault::RefuseConnections);
    let looked = world.look_up(users::GOOGLE).await;
    assert!(matches!(looked, Err(LookupError::Unavailable(_))), "{looked:?}");
    assert_eq!(world.look_up(users::GITHUB).await.unwrap().1, "hit");
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_wall_clock_is_no_lost_time() {
    let world = world("[cache]\nmax_ttl = \"10m\"").await;
    world.look_up(users::GITHUB).await.unwrap();
    for off in [-86_400_000_i64, 86_400_000] {
        world.clock.step_wall(Timestamp::from_millis(world.clock.now().wall.as_millis() + off));
        world.look_up(users::ENTRA).await.ok();
        assert_eq!(world.look_up(users::GITHUB).await.unwrap().1, "hit", "{off}");
        world.cache().purge(&UserId::parse(users::ENTRA).unwrap());
    }
    assert_eq!(world.clock.lost(), Duration::ZERO);
}

/// The page of an edge is dated by a clock that nothing here goes by.
#[tokio::test(start_paused = true)]
async fn a_page_of_an_edge_tells_nothing_of_lost_time() {
    let world = world("[upstream]\nmax_retries = 0").await;
    world.look_up(users::GOOGLE).await.unwrap();
    world.tenant_clock.suspend(HOUR);
    for fault in [Fault::Edge503Html, Fault::Html200] {
        world.tenant.fault_next(Endpoint::User, 1, fault);
        world.look_up(users::GITHUB).await.unwrap_err();
        sleep(MINUTE).await;
    }
    assert_eq!(world.clock.lost(), Duration::ZERO);
    world.look_up(users::GITHUB).await.unwrap();
    assert!(world.clock.lost() >= HOUR && world.clock.lost() < HOUR + 4 * SECOND, "{:?}", world.clock.lost());
}

//! A known expiry outlives answers that do not repeat it.

use std::time::Duration;

use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::user::UserId;
use cloakroom::fake_auth0::users;
use tokio::time::sleep;

use super::{HOUR, MINUTE, is_over, world};

/// Guarantee 1. Single sign-on into another application moves `last_login`, and no token is any younger for it.
/// A user who is gone for one answer, or whose token is, comes back with it as it was.
#[tokio::test(start_paused = true)]
async fn an_answer_without_the_token_does_not_make_it_live_longer() {
    for is_gone in [true, false] {
        let world = world("[cache]\nmax_ttl = \"10m\"\nmin_ttl = \"0s\"").await;
        let (token, _) = world.look_up(users::GOOGLE).await.unwrap();
        let left = world.left(users::GOOGLE).await.unwrap();
        let whole = world.tenant.user(users::GOOGLE).unwrap();
        let mut bare = whole.clone();
        bare["identities"][0].as_object_mut().unwrap().remove("access_token").unwrap();
        match is_gone {
            true => assert!(world.tenant.remove_user(users::GOOGLE).is_some()),
            false => assert!(world.tenant.put_user(bare)),
        }
        sleep(11 * MINUTE).await;
        world.look_up(users::GOOGLE).await.unwrap_err();
        sleep(2 * MINUTE).await;
        world.look_up(users::GOOGLE).await.unwrap_err();
        world.tenant.put_user(whole);
        world.tenant.sign_on(users::GOOGLE);
        sleep(2 * MINUTE).await;
        assert_eq!(world.look_up(users::GOOGLE).await, Ok((token, "miss")));
        assert_eq!(world.left(users::GOOGLE).await, Some(left - 15 * 60), "{is_gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_brings_the_same_token_makes_it_live_no_longer() {
    let world = world("[cache]\nmax_ttl = \"10m\"\nmin_ttl = \"0s\"").await;
    let (token, _) = world.look_up(users::GOOGLE).await.unwrap();
    let left = world.left(users::GOOGLE).await.unwrap();
    for _ in 0..5 {
        sleep(9 * MINUTE).await;
        world.tenant.sign_on(users::GOOGLE);
        assert_eq!(world.ask_afresh(users::GOOGLE).await.unwrap().0, token);
    }
    assert_eq!(world.left(users::GOOGLE).await, Some(left - 45 * 60));
    sleep(Duration::from_secs(left - 45 * 60)).await;
    let looked = world.look_up(users::GOOGLE).await;
    assert!(is_over(&looked), "{looked:?}");
    sleep(MINUTE).await;
    assert!(is_over(&world.look_up(users::GOOGLE).await));
    // A purge forgets it, and a token that is another one has its own.
    let new = world.tenant.login(users::GOOGLE, "google-oauth2").unwrap();
    sleep(MINUTE).await;
    assert_eq!(world.look_up(users::GOOGLE).await, Ok((new, "miss")));
    sleep(9 * MINUTE).await;
    world.tenant.sign_on(users::GOOGLE);
    world.ask_afresh(users::GOOGLE).await.unwrap();
    let kept = world.left(users::GOOGLE).await.unwrap();
    world.cache().purge(&UserId::parse(users::GOOGLE).unwrap());
    assert_eq!(world.left(users::GOOGLE).await, Some(kept + 10 * 60));
}

#[tokio::test(start_paused = true)]
async fn a_known_expiry_is_not_lost_where_a_later_answer_states_none() {
    let world = world("[cache]\nmax_ttl = \"10m\"\nmin_ttl = \"0s\"").await;
    let left = world.left(users::GOOGLE).await.unwrap();
    let mut user = world.tenant.user(users::GOOGLE).unwrap();
    user["identities"][0].as_object_mut().unwrap().remove("expires_in");
    world.tenant.put_user(user);
    sleep(MINUTE).await;
    world.ask_afresh(users::GOOGLE).await.unwrap();
    assert_eq!(world.left(users::GOOGLE).await, Some(left - 60));
    sleep(HOUR).await;
    let looked = world.look_up(users::GOOGLE).await;
    assert!(is_over(&looked), "{looked:?}");
}

/// Where no date is stated, it does not matter what this machine's wall clock said when the token was first seen.
#[tokio::test(start_paused = true)]
async fn a_span_counts_from_the_first_answer_whatever_the_wall_clock_said_then() {
    for off in [-86_400_000_i64, 0, 86_400_000] {
        let world = world("[cache]\nmax_ttl = \"10m\"").await;
        let right = world.clock.now().wall.as_millis();
        world.clock.step_wall(Timestamp::from_millis(right + off));
        let first = world.left(users::NO_LOGIN).await.unwrap();
        assert!((3_598..=3_600).contains(&first), "{off}: {first}");
        sleep(20 * MINUTE).await;
        world.clock.step_wall(Timestamp::from_millis(right + 1_200_000));
        for minutes in [20, 32, 44] {
            let calls = world.user_calls();
            assert!(world.look_up(users::NO_LOGIN).await.is_ok(), "{off} {minutes}");
            assert_eq!(world.user_calls(), calls + 1, "{off} {minutes}");
            let left = world.left(users::NO_LOGIN).await.unwrap();
            assert!((first - minutes * 60).abs_diff(left) <= 1, "{off} {minutes}: {left}");
            sleep(12 * MINUTE).await;
        }
        sleep(5 * MINUTE).await;
        assert!(is_over(&world.look_up(users::NO_LOGIN).await), "{off}");
    }
}

//! Hits, misses and flights, and how long an answer may be served.

use std::time::Duration;

use cloakroom::cache::{CacheState, LookupOptions, Peeked};
use cloakroom::domain::error::{Failure, LookupError};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions, users};
use serde_json::json;
use tokio::time::sleep;

use super::{MINUTE, SECOND, failure, world};
use crate::support::futures::join_all;
use crate::support::in_memory::START;
use crate::support::world::{FLOW, World, query};

#[tokio::test(start_paused = true)]
async fn a_cold_lookup_asks_once_and_a_warm_one_not_at_all() {
    let world = world("").await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    assert_eq!(world.state(users::GOOGLE).await, "hit");
    assert_eq!((world.grants(), world.user_calls()), (1, 1));
}

/// Guarantee 4.
#[tokio::test(start_paused = true)]
async fn a_thousand_cold_lookups_are_one_flight_even_if_clients_disconnect() {
    let world = World::simulated(TenantOptions::default(), "").await;
    world.tenant.fault(Endpoint::Token, Fault::Latency(SECOND));
    world.tenant.fault(Endpoint::User, Fault::Latency(SECOND));
    let user = UserId::parse(users::GOOGLE).unwrap();
    let selector = Selector::default();
    let lookups = (0..1000).map(|n| {
        let lookup = world.cache().look_up(query(&user, &selector, LookupOptions::default()), FLOW);
        async move {
            // The first two hundred leave before there is an answer, the one that started the flight among them.
            let patience = if n < 200 { SECOND / 2 } else { MINUTE };
            tokio::time::timeout(patience, lookup).await.ok().map(|outcome| outcome.is_ok())
        }
    });
    let outcomes = join_all(lookups).await;
    assert!(outcomes[..200].iter().all(Option::is_none));
    assert!(outcomes[200..].iter().all(|outcome| *outcome == Some(true)));
    assert_eq!((world.grants(), world.user_calls()), (1, 1));
    assert_eq!(world.tenant.max_concurrent_for(users::GOOGLE), 1);
}

/// Guarantee 4: what was fetched for callers who left is there for those who come.
#[tokio::test(start_paused = true)]
async fn a_flight_that_nobody_waits_for_still_lands() {
    let world = world("").await;
    world.tenant.fault(Endpoint::User, Fault::Latency(SECOND));
    assert!(tokio::time::timeout(SECOND / 2, world.look_up(users::GOOGLE)).await.is_err());
    sleep(SECOND).await;
    assert_eq!(world.state(users::GOOGLE).await, "hit");
}

#[tokio::test(start_paused = true)]
async fn an_entry_in_use_is_refreshed_ahead_and_nobody_waits() {
    let world = world("[cache]\nmax_ttl = \"100s\"").await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    world.tenant.fault(Endpoint::User, Fault::Latency(4 * SECOND));
    sleep(79 * SECOND).await;
    assert_eq!(world.state(users::GOOGLE).await, "hit");
    assert_eq!(world.user_calls(), 1, "not yet");
    sleep(2 * SECOND).await;
    let asked = tokio::time::Instant::now();
    assert_eq!(world.state(users::GOOGLE).await, "hit");
    assert_eq!(world.state(users::GOOGLE).await, "hit");
    assert_eq!(asked.elapsed(), Duration::ZERO, "the refresh is in the background");
    sleep(5 * SECOND).await;
    assert_eq!(world.user_calls(), 2, "one refresh for both");
    sleep(70 * SECOND).await;
    assert_eq!(world.state(users::GOOGLE).await, "hit", "counted from the refresh");
}

#[tokio::test(start_paused = true)]
async fn an_entry_nobody_asks_for_is_left_to_go() {
    let world = world("[cache]\nmax_ttl = \"100s\"").await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    sleep(101 * SECOND).await;
    assert_eq!(world.user_calls(), 1);
    assert_eq!(world.state(users::GOOGLE).await, "miss");
}

#[tokio::test(start_paused = true)]
async fn refresh_ahead_can_be_turned_off() {
    let world = world("[cache]\nmax_ttl = \"100s\"\nrefresh_ahead = 0").await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    sleep(99 * SECOND).await;
    assert_eq!(world.state(users::GOOGLE).await, "hit");
    sleep(SECOND / 2).await;
    assert_eq!(world.user_calls(), 1);
}

/// Guarantee 1, by expiry: the sample user's token was issued a minute before the start, for an hour.
#[tokio::test(start_paused = true)]
async fn a_token_is_never_served_with_less_than_min_ttl_left() {
    let world = world("[cache]\nmax_ttl = \"2h\"\nrefresh_ahead = 0").await;
    let served = world
        .cache()
        .look_up(
            query(&UserId::parse(users::GOOGLE).unwrap(), &Selector::default(), LookupOptions::default()),
            FLOW,
        )
        .await
        .unwrap();
    let left = served.token().1.expires.unwrap().remaining(served.now);
    sleep(left - 30 * SECOND).await;
    assert_eq!(world.state(users::GOOGLE).await, "hit", "30 seconds are left, which is min_ttl");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(world.state(users::GOOGLE).await, "login_required");
}

/// Guarantee 1, by the clocks: a step of the wall clock either way, and a suspend.
#[tokio::test(start_paused = true)]
async fn no_clock_revives_a_token() {
    let start = Timestamp::parse(START).unwrap();
    for step in ["back", "suspend"] {
        let world = world("[cache]\nmax_ttl = \"2h\"\nrefresh_ahead = 0").await;
        assert_eq!(world.state(users::GOOGLE).await, "miss");
        match step {
            "back" => {
                sleep(60 * MINUTE).await;
                // Now the wall clock says that the token has most of its life before it.
                world.clock.step_wall(start);
            }
            _ => world.clock.suspend(60 * MINUTE),
        }
        assert_eq!(world.state(users::GOOGLE).await, "login_required", "{step}");
    }
    let forward = world("").await;
    assert_eq!(forward.state(users::GOOGLE).await, "miss");
    forward.clock.step_wall(start.after(24 * 60 * MINUTE));
    assert_ne!(forward.state(users::GOOGLE).await, "hit", "a step forward is believed");
}

#[tokio::test(start_paused = true)]
async fn after_a_login_the_next_probe_serves_the_new_token() {
    let world = world("").await;
    assert_eq!(world.state(users::EXPIRED).await, "login_required");
    sleep(29 * SECOND).await;
    assert_eq!(world.state(users::EXPIRED).await, "login_required");
    assert_eq!(world.user_calls(), 1, "a fact is not asked for again before its time");
    let new = world.tenant.login(users::EXPIRED, "google-oauth2").unwrap();
    sleep(SECOND).await;
    assert_eq!(world.look_up(users::EXPIRED).await, Ok((new, "miss")));
    assert_eq!(world.user_calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn login_required_says_when_to_ask_again() {
    let world = world("").await;
    let seconds = |outcome| match outcome {
        Err(LookupError::LoginRequired { retry_after, .. }) => retry_after.as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!(seconds(world.look_up(users::EXPIRED).await), 30);
    sleep(20 * SECOND).await;
    assert_eq!(seconds(world.look_up(users::EXPIRED).await), 10);
}

#[tokio::test(start_paused = true)]
async fn facts_that_are_no_token_are_remembered_for_their_own_times() {
    for (user, fact, remembered) in [
        ("auth0|nobody", "user_not_found", 30),
        (users::DATABASE, "no_token", 60),
        (users::BLOCKED, "user_blocked", 60),
    ] {
        let world = world("").await;
        assert_eq!(world.state(user).await, fact);
        sleep(SECOND * (remembered - 1)).await;
        assert_eq!(world.state(user).await, fact);
        assert_eq!(world.user_calls(), 1, "{fact}");
        sleep(SECOND).await;
        assert_eq!(world.state(user).await, fact);
        assert_eq!(world.user_calls(), 2, "{fact}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_not_remembered_as_facts() {
    let world = world("[upstream]\nmax_retries = 0").await;
    world.tenant.fault_next(Endpoint::User, 1, Fault::Edge503Html);
    assert_eq!(world.state(users::GOOGLE).await, "unavailable");
    assert_eq!(world.state(users::GOOGLE).await, "miss");
}

/// Guarantee 2: every sample user and every identity gets its own token and no other.
#[tokio::test(start_paused = true)]
async fn no_lookup_is_answered_with_another_users_token() {
    let world = world("").await;
    let samples = [
        users::GOOGLE,
        users::JOHN,
        users::LINKED,
        users::GITHUB,
        users::ENTRA,
        users::TWITTER,
        users::SLASH,
        users::TEXT_EXPIRY,
    ];
    for round in ["cold", "warm"] {
        for id in samples {
            let user = world.tenant.user(id).unwrap();
            for identity in user["identities"].as_array().unwrap() {
                let connection = identity["connection"].as_str().unwrap();
                let selector = Selector { connection: Some(connection.into()), ..Selector::default() };
                let token = identity["access_token"].as_str().unwrap();
                let (served, _) = world.look_up_with(id, &selector).await.unwrap();
                assert_eq!(served, token, "{round} {id} {connection}");
            }
        }
    }
    assert_eq!(world.user_calls(), samples.len(), "one entry serves all identities");
}

/// Guarantee 2: an upstream that mixes users up is not believed.
#[tokio::test(start_paused = true)]
async fn an_answer_about_another_user_is_no_answer() {
    let world = world("[upstream]\nmax_retries = 0").await;
    let john = world.tenant.user(users::JOHN).unwrap().to_string();
    world.tenant.fault(Endpoint::User, Fault::Status { status: 200, headers: vec![], body: john });
    let why = failure(world.look_up(users::GOOGLE).await.unwrap_err());
    assert!(matches!(why.failure, Failure::Malformed { .. }), "{why:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_ask_for_a_fresh_answer_and_joins_one_under_way() {
    let world = world("").await;
    let user = UserId::parse(users::GOOGLE).unwrap();
    let (selector, fresh) = (Selector::default(), LookupOptions { fresh: true, ..LookupOptions::default() });
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    let new = world.tenant.login(users::GOOGLE, "google-oauth2").unwrap();
    assert_eq!(world.state(users::GOOGLE).await, "hit");
    world.tenant.fault(Endpoint::User, Fault::Latency(SECOND));
    let two = (
        world.cache().look_up(query(&user, &selector, fresh), FLOW),
        world.cache().look_up(query(&user, &selector, fresh), FLOW),
    );
    let (one, other) = tokio::join!(two.0, two.1);
    for served in [one.unwrap(), other.unwrap()] {
        assert_eq!(served.token().1.access_token.expose(), new);
    }
    assert_eq!(world.user_calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hit_is_answered_without_waiting_and_a_miss_asks_nothing_before_it_is_fetched() {
    let world = world("").await;
    let user = UserId::parse(users::GOOGLE).unwrap();
    let peek = || {
        let query = query(&user, &Selector::default(), LookupOptions::default());
        world.cache().peek(query, FLOW, world.clock.now())
    };
    assert!(matches!(peek(), Peeked::Miss(_)), "and is dropped");
    sleep(MINUTE).await;
    assert_eq!((world.user_calls(), world.cache().in_flight()), (0, 0));
    let Peeked::Miss(miss) = peek() else { panic!("nothing is cached yet") };
    let fetched = world.cache().fetch(miss).await.unwrap();
    let Peeked::Ready(Ok(served)) = peek() else { panic!("it was just fetched") };
    assert_eq!((fetched.state, served.state), (CacheState::Miss, CacheState::Hit));
    assert_eq!(fetched.token().1.fingerprint, served.token().1.fingerprint);
    assert_eq!((served.user.as_str(), world.user_calls()), (users::GOOGLE, 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_state_how_long_a_token_has_to_last() {
    let world = world("").await;
    let user = UserId::parse(users::GOOGLE).unwrap();
    let selector = Selector::default();
    let ask = async |secs| {
        let options = LookupOptions { min_ttl: Duration::from_secs(secs), fresh: false };
        world.cache().look_up(query(&user, &selector, options), FLOW).await
    };
    assert!(ask(3_500).await.is_ok(), "58 minutes and 59 seconds are left");
    let why = ask(3_600).await.unwrap_err();
    assert!(matches!(why, LookupError::MinTtlUnsatisfiable { .. }), "{why:?}");
    assert_eq!(world.user_calls(), 1, "Auth0 was asked a moment ago");
    world.tenant.login(users::GOOGLE, "google-oauth2").unwrap();
    sleep(31 * SECOND).await;
    assert!(ask(3_550).await.is_ok(), "asked again, and the user has logged in since");
    assert_eq!(world.user_calls(), 2);
}

/// Guarantee 4, with threads: whoever misses while an answer lands finds it, and does not ask again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_several_threads_too_a_cold_lookup_is_one_request() {
    let world =
        std::sync::Arc::new(World::simulated(TenantOptions::default(), "[upstream]\nburst = 10000").await);
    world.ready().await;
    for round in 0..100 {
        let id = format!("auth0|{round}");
        world.tenant.put_user(json!({"user_id": id, "identities": [
            {"connection": "c", "provider": "oauth2", "user_id": "1", "access_token": "t"}]}));
        let mut lookups = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (world, id) = (std::sync::Arc::clone(&world), id.clone());
            lookups.spawn(async move { world.look_up(&id).await.map(drop) });
        }
        while let Some(outcome) = lookups.join_next().await {
            assert_eq!(outcome.unwrap(), Ok(()));
        }
    }
    assert_eq!(world.user_calls(), 100);
}

//! Requests to the tenant stay within `[upstream]` and the tenant's own limits.

use std::time::Duration;

use cloakroom::cache::LookupOptions;
use cloakroom::domain::error::{Failure, LookupError};
use cloakroom::domain::priority::Flow;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{Endpoint, Fault, RateLimit, TenantOptions, WaitHint, users};
use tokio::time::sleep;

use super::{MINUTE, SECOND, failure, world};
use crate::support::futures::join_all;
use crate::support::world::{FLOW, World, query};

/// Guarantee 5: a 429 closes the gate for everything and everybody until the time it names.
#[tokio::test(start_paused = true)]
async fn a_429_closes_the_gate_for_everything() {
    let options = TenantOptions { token_lifetime: 10 * SECOND, ..TenantOptions::default() };
    let world = World::simulated(options, "").await;
    world.ready().await;
    world.tenant.fault_next(Endpoint::User, 1, Fault::RateLimited(WaitHint::Seconds(30)));
    assert!(world.look_up(users::GOOGLE).await.is_err());
    let calls = world.tenant.calls().len();
    for n in 0..29 {
        assert!(world.look_up(&format!("auth0|{n}")).await.is_err());
        sleep(SECOND).await;
    }
    assert_eq!(
        world.tenant.calls().len(),
        calls,
        "no lookup, and no grant although the token has died meanwhile"
    );
    sleep(5 * SECOND).await;
    assert_eq!(world.state(users::JOHN).await, "miss");
}

/// Guarantee 5: more lookups than the budget has room for.
#[tokio::test(start_paused = true)]
async fn requests_stay_within_rate_burst_and_concurrency() {
    let world =
        world("[upstream]\nrequests_per_second = 5\nburst = 10\nmax_concurrency = 3\nmax_retries = 0").await;
    world.tenant.fault(Endpoint::User, Fault::Latency(SECOND / 10));
    let ids: Vec<_> = (0..200).map(|n| format!("auth0|{n}")).collect();
    let outcomes = join_all(ids.iter().map(|id| world.look_up(id))).await;
    let asked: Vec<_> = world.tenant.calls().iter().map(|call| call.at.elapsed).collect();
    for (first, from) in asked.iter().enumerate() {
        for (last, to) in asked.iter().enumerate().skip(first) {
            let allowed = 10.0 + (*to - *from).as_secs_f64() * 5.0;
            assert!((last - first + 1) as f64 <= allowed + 0.01, "{} in {:?}", last - first + 1, *to - *from);
        }
    }
    assert!(world.tenant.max_concurrent(Endpoint::User) <= 3);
    let answered = outcomes.iter().filter(|outcome| **outcome == Err(LookupError::UserNotFound)).count();
    assert!((25..=36).contains(&answered), "{answered} in five seconds");
    let rest = outcomes.into_iter().filter_map(Result::err).filter(|why| *why != LookupError::UserNotFound);
    for why in rest.map(failure) {
        assert!(matches!(why.failure, Failure::OverBudget { .. } | Failure::TimedOut { .. }), "{why:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_takes_nothing_from_those_who_do() {
    let world = world("[cache]\nmax_ttl = \"100s\"\n[upstream]\nrequests_per_second = 1\nburst = 4").await;
    let fresh = LookupOptions { fresh: true, ..LookupOptions::default() };
    let user = UserId::parse(users::GOOGLE).unwrap();
    let selector = Selector::default();
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    // Two of four are spent. One may be wished for; the last is kept for somebody who has nothing.
    assert!(world.cache().look_up(query(&user, &selector, fresh), FLOW).await.is_ok());
    assert!(world.cache().look_up(query(&user, &selector, fresh), FLOW).await.is_ok());
    let why = world.cache().look_up(query(&user, &selector, fresh), FLOW).await.unwrap_err();
    assert!(matches!(why, LookupError::RateLimited { .. }), "{why:?}");
    assert_eq!(world.state(users::JOHN).await, "miss");
}

/// What the tenant says of its limits is heeded before it has to say 429.
#[tokio::test(start_paused = true)]
async fn little_left_of_the_tenants_limit_suspends_refreshing_ahead() {
    let settings = "[cache]\nmax_ttl = \"100s\"\n[upstream]\nrequests_per_second = 100\nburst = 50";
    let world = world(settings).await;
    world.tenant.set_rate_limit(Some(RateLimit { per_second: 1, burst: 20 }));
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    sleep(81 * SECOND).await;
    // Somebody else, here another user's callers, leaves three of twenty.
    for n in 0..17 {
        assert_eq!(world.state(&format!("auth0|{n}")).await, "user_not_found");
    }
    let calls = world.user_calls();
    assert_eq!(world.state(users::GOOGLE).await, "hit");
    sleep(SECOND / 2).await;
    assert_eq!(world.user_calls(), calls, "due, but not worth the tenant's last requests");
    assert_eq!(world.state(users::JOHN).await, "miss", "those who wait are asked for all the same");
    sleep(5 * SECOND).await;
    assert_eq!(world.state(users::GOOGLE).await, "hit");
    sleep(SECOND).await;
    assert_eq!(world.user_calls(), calls + 2, "refreshed once there is more");
}

/// A quota for tokens that is nearly spent makes the daemon ask for the next one later, and not too late.
#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_later_while_the_quota_for_tokens_is_nearly_spent() {
    let renewed_after = async |quota, lifetime: Duration| {
        let options = TenantOptions { token_lifetime: lifetime, ..TenantOptions::default() };
        let world = World::simulated(options, "").await;
        world.tenant.set_token_quota(quota);
        world.ready().await;
        sleep(lifetime).await;
        let calls = world.tenant.calls_to(Endpoint::Token);
        (calls[0].at.age(calls[1].at), calls.iter().filter(|call| call.status.unwrap() == 429).count())
    };
    let minutes = |from: u32, to: u32| from * MINUTE..to * MINUTE;
    // Three quarters of an hour, give or take three minutes.
    let hour = 60 * MINUTE;
    let (plenty, _) = renewed_after(Some(10), hour).await;
    assert!(minutes(45, 52).contains(&plenty), "{plenty:?}");
    // The next hour's quota is an hour away: half of what is left of the token's life is waited for.
    let (scarce, refused) = renewed_after(Some(1), hour).await;
    assert!(minutes(51, 57).contains(&scarce) && scarce > plenty, "{scarce:?}");
    assert!(refused <= 8, "asked for early all the same, a minute apart: {refused}");
    // A token that outlives the hour is renewed in its own time.
    let (later, refused) = renewed_after(Some(1), 2 * hour).await;
    assert!(minutes(88, 104).contains(&later) && refused == 0, "{later:?} {refused}");
}

/// Guarantee 8: callers who ask for one user after another and leave cannot pile lookups up.
#[tokio::test(start_paused = true)]
async fn beyond_a_thousand_lookups_under_way_the_next_is_told_so_at_once() {
    let world = world("[upstream]\nrequests_per_second = 1000\nburst = 2000\nmax_concurrency = 1000").await;
    world.tenant.fault(Endpoint::User, Fault::StallHeaders);
    let begun = async |flow: Flow, numbers: std::ops::Range<usize>| {
        let mut begun = 0;
        for n in numbers {
            let (id, any) = (format!("auth0|{n}"), Selector::default());
            let lookup = world.look_up_as(flow, &id, &any);
            match tokio::time::timeout(Duration::ZERO, lookup).await {
                Err(_) => begun += 1,
                Ok(outcome) => assert_eq!(outcome, Err(LookupError::Overloaded)),
            }
        }
        begun
    };
    let (root, other) = (Flow::Uid(0), Flow::Uid(1234));
    assert_eq!(begun(root, 0..600).await, 512, "half, and the other half is for others");
    assert_eq!(begun(other, 1000..1300).await, 256);
    assert_eq!(begun(Flow::Uid(5), 2000..2001).await, 1);
    assert_eq!(begun(other, 0..10).await, 10, "whoever joins takes no room");
    let own = nix::unistd::geteuid().as_raw();
    begun(Flow::Uid(own), 3000..3600).await;
    assert_eq!(world.get(&World::path("auth0|4000")).await.problem(), (503, "overloaded".into()));
    sleep(6 * SECOND).await;
    world.tenant.clear_all();
    assert_eq!(world.state(users::GOOGLE).await, "miss");
}

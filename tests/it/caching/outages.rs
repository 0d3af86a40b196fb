//! Auth0 fails, is slow, or cannot be reached: what is cached is served, and failures are retried within bounds.

use std::time::Duration;

use cloakroom::domain::error::Failure;
use cloakroom::fake_auth0::{Endpoint, Fault, WaitHint, users};
use tokio::time::sleep;

use super::{MINUTE, SECOND, failure, with_token, world};
use crate::support::futures::join_all;
use crate::support::world::World;

/// Outages: a valid token is served past max_ttl for as long as max_stale allows, and nobody waits twice.
#[tokio::test(start_paused = true)]
async fn a_tenant_that_goes_away_leaves_valid_tokens_servable() {
    let world = world("[cache]\nmax_ttl = \"100s\"\nmax_stale = \"1000s\"").await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    world.tenant.fault(Endpoint::User, Fault::StallHeaders);
    sleep(101 * SECOND).await;
    let asked = tokio::time::Instant::now();
    assert_eq!(world.state(users::GOOGLE).await, "stale");
    assert_eq!(asked.elapsed(), SECOND, "the first to find out waits for as long as anybody may");
    let asked = tokio::time::Instant::now();
    assert_eq!(world.state(users::GOOGLE).await, "stale");
    assert_eq!(asked.elapsed(), Duration::ZERO, "those after it do not");
    let unknown = failure(world.look_up(users::JOHN).await.unwrap_err());
    assert!(matches!(unknown.failure, Failure::TimedOut { .. }), "{unknown:?}");
    // And so it stays for as long as it lasts: it is tried again and again, and nobody waits to see it fail.
    for _ in 0..900 {
        sleep(SECOND).await;
        let asked = tokio::time::Instant::now();
        assert_eq!(world.state(users::GOOGLE).await, "stale");
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }
    // Each takes five seconds to fail, and is followed by five to ten of quiet.
    assert!((30..=90).contains(&world.user_calls()), "{} attempts in 15 minutes", world.user_calls());
    sleep(100 * SECOND).await;
    assert_eq!(world.state(users::GOOGLE).await, "unavailable", "max_ttl and max_stale are over");
    world.tenant.clear_all();
    sleep(MINUTE).await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
}

/// One user's lookup finds out that Auth0 cannot be asked; the others' callers need not find out for themselves.
#[tokio::test(start_paused = true)]
async fn an_outage_is_found_out_once_and_its_end_is_noticed() {
    let world = world("[cache]\nmax_ttl = \"100s\"").await;
    for user in [users::GOOGLE, users::JOHN] {
        world.look_up(user).await.unwrap();
    }
    world.tenant.fault(Endpoint::User, Fault::StallHeaders);
    sleep(101 * SECOND).await;
    assert_eq!(world.state(users::GOOGLE).await, "stale");
    let asked = tokio::time::Instant::now();
    assert_eq!(world.state(users::JOHN).await, "stale");
    assert_eq!(asked.elapsed(), Duration::ZERO);
    sleep(MINUTE).await;
    world.tenant.clear_all();
    assert_eq!(world.state(users::JOHN).await, "stale", "the last from before: it is asked for behind it");
    sleep(SECOND).await;
    assert_eq!(world.state(users::JOHN).await, "hit");
}

/// Past max_ttl Auth0 is asked first, but whoever holds a token that is alive does not queue for that.
#[tokio::test(start_paused = true)]
async fn what_is_due_after_an_outage_is_spread_over_the_budget_and_nobody_waits_for_it() {
    let budget = "[upstream]\nrequests_per_second = 5\nburst = 10";
    let world = world(&format!("[cache]\nmax_ttl = \"100s\"\nrefresh_ahead = 0\n{budget}")).await;
    let ids: Vec<_> = (0..200).map(|n| format!("auth0|{n}")).collect();
    for id in &ids {
        world.tenant.put_user(with_token(id));
        world.look_up(id).await.unwrap();
        sleep(SECOND / 5).await;
    }
    world.tenant.fault(Endpoint::User, Fault::RefuseConnections);
    sleep(101 * SECOND).await;
    assert_eq!(world.state(&ids[0]).await, "stale");
    world.tenant.clear_all();
    sleep(2 * SECOND).await;
    world.tenant.forget_calls();

    // A hundred lookups a second; meanwhile somebody comes with nothing in hand.
    let begun = world.clock.now();
    for second in 0..60 {
        for chunk in 0..10 {
            let asked = tokio::time::Instant::now();
            let some = ids.iter().skip((second * 10 + chunk) % 20 * 10).take(10);
            let states = join_all(some.map(|id| world.state(id))).await;
            assert_eq!(asked.elapsed(), Duration::ZERO, "{states:?}");
            sleep(SECOND / 10).await;
        }
        if second % 10 == 5 {
            let asked = tokio::time::Instant::now();
            assert_eq!(world.state(&format!("auth0|cold-{second}")).await, "user_not_found");
            assert!(asked.elapsed() <= SECOND / 5, "one place in the queue: {:?}", asked.elapsed());
        }
    }
    let calls = world.tenant.calls_to(Endpoint::User);
    for (n, call) in calls.iter().enumerate() {
        let allowed = 10.0 + begun.age(call.at).as_secs_f64() * 5.0;
        assert!(n as f64 <= allowed, "{n} requests after {:?}", begun.age(call.at));
    }
    assert_eq!(calls.len(), 200 + 6, "each was renewed once, and no more");
    for id in &ids {
        assert_eq!(world.state(id).await, "hit");
    }
}

/// A tenant that is slow but well makes nobody wait for more than a second, and its answer is used when it comes.
#[tokio::test(start_paused = true)]
async fn a_slow_tenant_is_waited_for_briefly_where_a_token_is_held() {
    let world = world("[cache]\nmax_ttl = \"100s\"\nrefresh_ahead = 0").await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    sleep(101 * SECOND).await;
    world.tenant.fault(Endpoint::User, Fault::Latency(SECOND / 2));
    assert_eq!(world.state(users::GOOGLE).await, "miss", "past max_ttl Auth0 is asked first");
    sleep(101 * SECOND).await;
    world.tenant.clear_all();
    world.tenant.fault(Endpoint::User, Fault::Latency(3 * SECOND));
    let asked = tokio::time::Instant::now();
    assert_eq!(world.state(users::GOOGLE).await, "stale");
    assert_eq!(asked.elapsed(), SECOND);
    assert_eq!(world.state(users::GOOGLE).await, "stale");
    assert_eq!(asked.elapsed(), SECOND, "nobody waits after that");
    sleep(5 * SECOND / 2).await;
    assert_eq!(world.state(users::GOOGLE).await, "hit");
    assert_eq!(world.user_calls(), 3);
}

/// A fact that is no token is not served in an outage: by now the user may have logged in.
#[tokio::test(start_paused = true)]
async fn an_old_login_required_is_not_served_in_an_outage() {
    let world = world("").await;
    assert_eq!(world.state(users::EXPIRED).await, "login_required");
    world.tenant.fault(Endpoint::User, Fault::RefuseConnections);
    sleep(31 * SECOND).await;
    assert_eq!(world.state(users::EXPIRED).await, "unavailable");
}

#[tokio::test(start_paused = true)]
async fn trouble_that_passes_is_retried_within_the_request_timeout() {
    let world = world("").await;
    world.tenant.fault_next(Endpoint::User, 2, Fault::Edge503Html);
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    assert_eq!(world.user_calls(), 3);

    world.tenant.forget_calls();
    world.tenant.fault(Endpoint::User, Fault::Edge503Html);
    let asked = tokio::time::Instant::now();
    assert_eq!(
        failure(world.look_up(users::JOHN).await.unwrap_err()).failure,
        Failure::Status { status: 503 }
    );
    assert_eq!(world.user_calls(), 3, "max_retries is 2");
    assert!(asked.elapsed() < 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_pass_is_not_retried() {
    let world = world("").await;
    world.tenant.fault(Endpoint::User, Fault::RateLimited(WaitHint::Seconds(7)));
    let why = failure(world.look_up(users::GOOGLE).await.unwrap_err());
    assert!(why.retry_after >= 7 * SECOND && why.retry_after < 8 * SECOND, "{why:?}");
    assert_eq!(world.user_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_keeps_failing_backs_off_on_its_own_and_is_answered_at_once() {
    let world = world("[upstream]\nmax_retries = 0").await;
    let john = world.tenant.user(users::JOHN).unwrap().to_string();
    world.tenant.fault(Endpoint::User, Fault::Status { status: 200, headers: vec![], body: john });
    for _ in 0..100 {
        assert_eq!(world.state(users::GOOGLE).await, "unavailable");
        sleep(SECOND).await;
    }
    assert!((4..=20).contains(&world.user_calls()), "{} attempts in 100 seconds", world.user_calls());
    assert_eq!(world.state(users::JOHN).await, "miss", "others are not affected");
}

/// A 503 is about what was asked for: nobody else waits.
#[tokio::test(start_paused = true)]
async fn a_503_that_says_when_to_come_back_is_obeyed_for_its_user_alone() {
    let forms = [WaitHint::Seconds(20), WaitHint::Date(20 * SECOND)];
    for wait in forms {
        let world = world("").await;
        world.tenant.fault_next(Endpoint::User, 1, Fault::EdgePage { status: 503, wait });
        let got = world.get(&World::path(users::GOOGLE)).await;
        assert_eq!(got.problem(), (503, "upstream_unavailable".into()));
        assert!((20..=22).contains(&got.retry_after().unwrap()), "{wait:?}: {:?}", got.retry_after());
        assert_eq!(world.user_calls(), 1, "{wait:?}");
        assert_eq!(world.state(users::GITHUB).await, "miss");
        for _ in 0..19 {
            sleep(SECOND).await;
            assert_eq!(world.state(users::GOOGLE).await, "unavailable", "{wait:?}");
        }
        assert_eq!(world.user_calls(), 2, "{wait:?}");
        sleep(3 * SECOND).await;
        assert_eq!(world.state(users::GOOGLE).await, "miss", "{wait:?}");
    }
    // An hour is not believed, and a wait that fits into the request's own time is waited for.
    let world = world("").await;
    world.tenant.fault_next(
        Endpoint::User,
        1,
        Fault::EdgePage { status: 503, wait: WaitHint::Seconds(3600) },
    );
    assert_eq!(failure(world.look_up(users::GOOGLE).await.unwrap_err()).retry_after.as_secs(), 60);
    let (wait, begun) = (WaitHint::Seconds(2), tokio::time::Instant::now());
    world.tenant.fault_next(Endpoint::User, 1, Fault::EdgePage { status: 502, wait });
    assert_eq!(world.state(users::JOHN).await, "miss");
    assert!(begun.elapsed() >= 2 * SECOND, "{:?}", begun.elapsed());
}

/// What an edge, a corporate proxy, a captive portal or a gateway says to a request for a user. Auth0 refuses a
/// Management token in JSON of its own, and what is not that says nothing of the token.
#[tokio::test(start_paused = true)]
async fn what_turns_a_read_away_on_the_way_to_auth0_costs_no_management_token() {
    let pages = [401, 403, 400].map(|status| Fault::EdgePage { status, wait: WaitHint::None });
    let gateways = [401, 403].map(|status| Fault::GatewayJson { status });
    for fault in pages.into_iter().chain(gateways) {
        let world = world("").await;
        assert_eq!(world.state(users::GITHUB).await, "miss");
        world.tenant.fault(Endpoint::User, fault.clone());
        for _ in 0..5 {
            let got = world.get(&World::path(users::GOOGLE)).await;
            assert_eq!(got.problem(), (503, "upstream_unavailable".into()), "{fault:?}");
            assert!(
                got.detail().contains("proxy") && !got.detail().contains("credentials"),
                "{}",
                got.detail()
            );
            assert_eq!(world.state(users::GITHUB).await, "hit", "{fault:?}");
            sleep(SECOND).await;
        }
        assert_eq!(world.grants(), 1, "{fault:?}: the token was good all the time");
        let status = world.get("/v1/status").await.json();
        assert_eq!(status["ready"], true, "{fault:?}");
        world.tenant.clear_all();
        assert_eq!(world.state(users::JOHN).await, "miss", "{fault:?}");
        // One that passes is not even seen.
        world.tenant.fault_next(Endpoint::User, 2, fault.clone());
        assert_eq!(world.state(users::ENTRA).await, "miss", "{fault:?}");
        assert_eq!(world.grants(), 1, "{fault:?}");
    }
}

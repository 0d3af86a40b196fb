//! What is promised about the cache and the Management token, in virtual time: a minute or a day passes in no
//! time, and every figure is exact.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests stop at the first surprise, and use the part of the support that they need"
)]

mod support {
    pub mod world;
}

use std::time::Duration;

use cloakroom::cache::{LookupOptions, ReportOutcome};
use cloakroom::domain::error::{Failure, LookupError, Refusal, Stage, Unavailable};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::priority::Flow;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{Endpoint, ExpiresIn, Fault, RateLimit, TenantOptions, WaitHint, users};
use serde_json::json;
use support::world::{FLOW, START, World};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn world(settings: &str) -> World {
    let world = World::simulated(TenantOptions::default(), settings).await;
    world.ready().await;
    world
}

impl World {
    fn user_calls(&self) -> usize {
        self.tenant.calls_to(Endpoint::User).len()
    }

    fn grants(&self) -> usize {
        self.tenant.calls_to(Endpoint::Token).len()
    }

    /// The state of an answer, or the error's name.
    async fn state(&self, user: &str) -> &'static str {
        match self.look_up(user).await {
            Ok((_, state)) => state,
            Err(LookupError::LoginRequired { .. }) => "login_required",
            Err(LookupError::UserNotFound) => "user_not_found",
            Err(LookupError::UserBlocked) => "user_blocked",
            Err(LookupError::NoToken { .. }) => "no_token",
            Err(LookupError::Unavailable(_)) => "unavailable",
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn failure(why: LookupError) -> Unavailable {
    match why {
        LookupError::Unavailable(unavailable) => unavailable,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_cold_lookup_asks_once_and_a_warm_one_not_at_all() {
    let world = world("").await;
    assert_eq!(world.state(users::GOOGLE).await, "miss");
    assert_eq!(world.state(users::GOOGLE).await, "hit");
    assert_eq!((world.grants(), world.user_calls()), (1, 1));
}

/// Guarantee 4.
#[tokio::test(start_paused = true)]
async fn a_thousand_cold_lookups_are_one_flight_whoever_hangs_up() {
    let world = World::simulated(TenantOptions::default(), "").await;
    world.tenant.fault(Endpoint::Token, Fault::Latency(SECOND));
    world.tenant.fault(Endpoint::User, Fault::Latency(SECOND));
    let user = UserId::parse(users::GOOGLE).unwrap();
    let selector = Selector::default();
    let lookups = (0..1000).map(|n| {
        let lookup = world.cache().token(FLOW, &user, &selector, LookupOptions::default());
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

async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    futures.into_iter().map(|(_, output)| output.unwrap()).collect()
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
        .token(FLOW, &UserId::parse(users::GOOGLE).unwrap(), &Selector::default(), LookupOptions::default())
        .await
        .unwrap();
    let left = served.select(&Selector::default()).unwrap().1.expires.unwrap().remaining(served.now);
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

/// A user with one token that does not say when it dies.
fn with_token(user: &str) -> serde_json::Value {
    let identity = json!({"connection": "c", "provider": "p", "user_id": "1", "access_token": "t"});
    json!({"user_id": user, "identities": [identity]})
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

/// A refresh is no insertion: it makes nobody's entry go.
#[tokio::test(start_paused = true)]
async fn a_refresh_in_a_full_cache_evicts_nobody() {
    let world = world("[cache]\nmax_bytes = \"1MiB\"\nmax_ttl = \"10m\"\n[upstream]\nrequests_per_second = 5000\nburst = 10000\nmax_retries = 0").await;
    for n in 0..2000 {
        world.tenant.put_user(with_token(&format!("auth0|{n}")));
        world.look_up(&format!("auth0|{n}")).await.unwrap();
    }
    let (before, bytes) = world.cache().size();
    assert!(bytes > 1000 << 10, "it is full: {bytes} bytes");
    // Whoever is not held cannot be asked for just now, so that looking inserts nobody.
    world.tenant.fault(Endpoint::User, Fault::RefuseConnections);
    let mut held = Vec::new();
    for n in 0..2000 {
        let id = format!("auth0|{n}");
        if world.state(&id).await == "hit" {
            held.push(id);
        }
    }
    world.tenant.clear_all();
    sleep(9 * MINUTE).await;
    let calls = world.user_calls();
    for id in &held {
        assert_eq!(world.state(id).await, "hit");
        // Refreshing ahead takes turns.
        sleep(SECOND / 1000).await;
    }
    sleep(SECOND).await;
    assert_eq!(world.user_calls() - calls, held.len(), "all of them were refreshed");
    assert_eq!((world.cache().size().0, held.len() as u64), (before, before));
    sleep(2 * MINUTE).await;
    for id in held {
        assert_eq!(world.state(&id).await, "hit", "{id}");
    }
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
async fn a_purge_is_not_undone_by_an_answer_from_before() {
    let world = world("").await;
    let user = UserId::parse(users::GOOGLE).unwrap();
    world.tenant.fault(Endpoint::User, Fault::LateAnswer(SECOND));
    let before = world.look_up(users::GOOGLE);
    let meanwhile = async {
        sleep(SECOND / 2).await;
        let new = world.tenant.login(users::GOOGLE, "google-oauth2").unwrap();
        world.cache().purge(&user);
        // Joins the flight that was sent before the purge, and must not be content with it.
        assert_eq!(world.look_up(users::GOOGLE).await, Ok((new, "miss")));
    };
    let (before, ()) = tokio::join!(before, meanwhile);
    assert!(before.is_ok());
    assert_eq!(world.user_calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn purging_all_forgets_everybody() {
    let world = world("").await;
    for user in [users::GOOGLE, users::JOHN] {
        world.look_up(user).await.unwrap();
    }
    world.cache().purge_all();
    for user in [users::GOOGLE, users::JOHN] {
        assert_eq!(world.state(user).await, "miss");
    }
}

/// Guarantee 2: every sample user and every identity gets its own token and no other.
#[tokio::test(start_paused = true)]
async fn nobody_is_answered_with_anothers_token() {
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
    assert!(world.cache().token(FLOW, &user, &selector, fresh).await.is_ok());
    assert!(world.cache().token(FLOW, &user, &selector, fresh).await.is_ok());
    let why = world.cache().token(FLOW, &user, &selector, fresh).await.unwrap_err();
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
        world.cache().token(FLOW, &user, &selector, fresh),
        world.cache().token(FLOW, &user, &selector, fresh),
    );
    let (one, other) = tokio::join!(two.0, two.1);
    for served in [one.unwrap(), other.unwrap()] {
        assert_eq!(served.select(&selector).unwrap().1.access_token.expose(), new);
    }
    assert_eq!(world.user_calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_state_how_long_a_token_has_to_last() {
    let world = world("").await;
    let user = UserId::parse(users::GOOGLE).unwrap();
    let selector = Selector::default();
    let ask = async |secs| {
        let options = LookupOptions { min_ttl: Duration::from_secs(secs), fresh: false };
        world.cache().token(FLOW, &user, &selector, options).await
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

#[tokio::test(start_paused = true)]
async fn a_reported_token_is_not_served_again_and_a_late_report_does_nothing() {
    let world = world("").await;
    let user = UserId::parse(users::GOOGLE).unwrap();
    let selector = Selector::default();
    let served = world.cache().token(FLOW, &user, &selector, LookupOptions::default()).await.unwrap();
    let fingerprint = served.select(&selector).unwrap().1.fingerprint;
    assert_eq!(
        world.cache().report(FLOW, &UserId::parse(users::JOHN).unwrap(), fingerprint, &Selector::default()),
        Ok(ReportOutcome::Unknown)
    );
    assert_eq!(
        world.cache().report(FLOW, &user, fingerprint, &Selector::default()),
        Ok(ReportOutcome::Dropped)
    );
    sleep(SECOND).await;
    // Auth0 still holds the very token.
    assert_eq!(world.state(users::GOOGLE).await, "login_required");
    assert_eq!(world.state(users::GOOGLE).await, "login_required");
    assert_eq!(world.user_calls(), 2);
    let new = world.tenant.login(users::GOOGLE, "google-oauth2").unwrap();
    sleep(31 * SECOND).await;
    assert_eq!(world.look_up(users::GOOGLE).await, Ok((new, "miss")));
    assert_eq!(
        world.cache().report(FLOW, &user, fingerprint, &Selector::default()),
        Ok(ReportOutcome::AlreadyReplaced)
    );
    assert_eq!(world.state(users::GOOGLE).await, "hit");
}

/// What a caller's rules do not show is not there for it, neither to be dropped nor to be asked about.
#[tokio::test(start_paused = true)]
async fn a_report_reaches_no_further_than_what_the_caller_is_shown() {
    let world = world("").await;
    let user = UserId::parse(users::LINKED).unwrap();
    let google = Selector { connection: Some("google-oauth2".into()), ..Selector::default() };
    let served = world.cache().token(Flow::Daemon, &user, &google, LookupOptions::default()).await.unwrap();
    let fingerprint = served.select(&google).unwrap().1.fingerprint;
    let within =
        |connection: &str| Selector { within: Some([connection.to_owned()].into()), ..Selector::default() };
    let report = |shown: &str| world.cache().report(FLOW, &user, fingerprint, &within(shown));
    assert_eq!(
        report("github"),
        Ok(ReportOutcome::AlreadyReplaced),
        "it holds another, as far as this caller goes"
    );
    assert_eq!(report("corp"), Ok(ReportOutcome::Unknown));
    assert!(world.look_up_with(users::LINKED, &google).await.is_ok());
    assert_eq!(report("google-oauth2"), Ok(ReportOutcome::Dropped));
    assert!(world.look_up_with(users::LINKED, &google).await.is_err());
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

/// A report and an answer that lands at the same moment: whichever comes first, the token is not served again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_several_threads_too_no_report_is_lost() {
    let settings = "[upstream]\nrequests_per_second = 5000\nburst = 10000";
    let world = std::sync::Arc::new(World::simulated(TenantOptions::default(), settings).await);
    world.ready().await;
    let user = UserId::parse(users::GOOGLE).unwrap();
    let selector = Selector::default();
    let served = world.cache().token(Flow::Daemon, &user, &selector, LookupOptions::default()).await.unwrap();
    let fingerprint = served.select(&selector).unwrap().1.fingerprint;
    for round in 0..2_000 {
        world.cache().purge(&user);
        assert!(world.look_up(users::GOOGLE).await.is_ok());
        let (asking, asker) = (std::sync::Arc::clone(&world), user.clone());
        #[expect(clippy::disallowed_methods, reason = "a caller of its own")]
        let fresh = tokio::spawn(async move {
            let options = LookupOptions { fresh: true, ..LookupOptions::default() };
            asking.cache().token(Flow::Daemon, &asker, &Selector::default(), options).await.is_ok()
        });
        // Somewhere between before the flight and after it.
        for _ in 0..round * 37 % 20_000 {
            std::hint::spin_loop();
        }
        let reported = world.cache().report(FLOW, &user, fingerprint, &selector);
        fresh.await.unwrap();
        assert_eq!(reported, Ok(ReportOutcome::Dropped), "round {round}");
        let after = world.look_up(users::GOOGLE).await;
        assert!(matches!(after, Err(LookupError::LoginRequired { .. })), "round {round}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn purging_one_user_forgets_nobody_else() {
    let world = world("").await;
    world.tenant.fault(Endpoint::User, Fault::Latency(SECOND));
    let lookup = world.look_up(users::GOOGLE);
    let purges = async {
        for n in 0..20 {
            sleep(SECOND / 10).await;
            world.cache().purge(&UserId::parse(&format!("auth0|{n}")).unwrap());
        }
    };
    let (outcome, ()) = tokio::join!(lookup, purges);
    assert!(outcome.is_ok());
    assert_eq!(world.state(users::GOOGLE).await, "hit");
}

/// Guarantee 8: more users than there is room for, some of them asked for again and again.
#[tokio::test(start_paused = true)]
async fn the_cache_stays_within_its_bytes_whoever_asks_for_whomever() {
    let world = world("[cache]\nmax_bytes = \"1MiB\"").await;
    let token = "t".repeat(1000);
    for n in 0..3_000 {
        let id = format!("auth0|{n}");
        world.tenant.put_user(json!({"user_id": id, "identities": [
            {"connection": "c", "provider": "oauth2", "user_id": "1", "access_token": token}]}));
        world.look_up(&id).await.unwrap();
        world.look_up(&format!("auth0|nobody-{n}")).await.unwrap_err();
        world.look_up("auth0|0").await.unwrap();
        if n % 500 == 0 {
            let (_, bytes) = world.cache().size();
            assert!(bytes <= 1 << 20, "{bytes}");
        }
    }
    let (entries, bytes) = world.cache().size();
    assert!(bytes <= 1 << 20 && bytes > 1 << 19, "{bytes}");
    assert!(entries < 3_000, "{entries}");
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

/// While Auth0 refuses every token there is nothing to ask with: nothing is spent, and a options is told the reason.
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
    let why = failure(world.cache().token(FLOW, &user, &Selector::default(), fresh).await.unwrap_err());
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

//! The rate of exchanges, which is apart from the rate of everything else.

use std::time::Duration;

use crate::support::futures::join_all;
use cloakroom::domain::priority::Priority;
use cloakroom::domain::source::SourceFailure;
use cloakroom::fake_auth0::{Endpoint, Fault, WaitHint};

use super::{Exchanged, GOOGLE, Outcome, World, outcome, token};

#[tokio::test(start_paused = true)]
async fn a_429_stops_exchanges_alone_and_for_as_long_as_it_asks() {
    let world = World::new("");
    world.tenant.fault_next(Endpoint::Exchange, 1, Fault::RateLimited(WaitHint::Seconds(30)));
    let throttled = || Outcome::Failure(SourceFailure::Throttled { host: "tenant.example".into() });
    assert_eq!(world.cost(world.exchange()).await, (throttled(), 1));
    assert!(world.auth0.budget().try_acquire(Priority::Ahead).is_ok(), "other requests go on");
    assert_eq!(world.cost(world.exchange()).await, (throttled(), 0));
    match world.exchange_for("google-oauth2|1", GOOGLE, None).await {
        Exchanged::Failed { retry_after, .. } => {
            assert!(retry_after > Duration::from_secs(20), "{retry_after:?}");
        }
        other => panic!("{other:?}"),
    }
    tokio::time::sleep(Duration::from_secs(34)).await;
    assert_eq!(world.exchange().await, token(1));

    // A gate that opens soon is waited for.
    world.tenant.fault_next(Endpoint::Exchange, 1, Fault::RateLimited(WaitHint::Seconds(2)));
    assert_eq!(world.exchange().await, throttled());
    assert_eq!(world.cost(world.exchange()).await, (token(1), 1));
}

#[tokio::test(start_paused = true)]
async fn a_429_of_the_management_api_does_not_stop_exchanges() {
    let world = World::new("");
    world.auth0.budget().learn(|pace, now| {
        pace.refused(Some(Duration::from_secs(60)), 0.0, now);
    });
    assert_eq!(world.exchange().await, token(1));
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_served_at_the_rate_and_what_cannot_be_served_in_time_fails_at_once() {
    let world = World::new("requests_per_second = 5\nburst = 10\nmax_concurrency = 4");
    let users: Vec<_> = (0..200).map(|number| world.enrol(number)).collect();
    world.tenant.fault(Endpoint::Exchange, Fault::Latency(Duration::from_millis(50)));
    let begun = tokio::time::Instant::now();
    let outcomes = join_all(users.iter().map(async |user| {
        let exchanged = outcome(world.exchange_for(user, GOOGLE, None).await);
        (exchanged, begun.elapsed())
    }))
    .await;
    let served = outcomes.iter().filter(|(outcome, _)| matches!(outcome, Outcome::Token(_))).count();
    // The burst, and five a second for the timeout of five.
    assert!((30..=36).contains(&served), "{served}");
    // A request that was sent just before its deadline is given up.
    assert!((served..=served + 4).contains(&world.calls()), "{} calls", world.calls());
    assert!(world.tenant.max_concurrent(Endpoint::Exchange) <= 4);
    let at_once = outcomes.iter().filter(|(_, took)| took.is_zero()).count();
    assert!(at_once >= 160, "{at_once} did not wait in vain");
    for (outcome, took) in &outcomes {
        // A request that was sent just before its deadline has no answer in time.
        let is_known = matches!(
            outcome,
            Outcome::Token(_)
                | Outcome::Failure(SourceFailure::Throttled { .. } | SourceFailure::TimedOut { .. })
        );
        assert!(is_known && *took <= world.config.tenant.request_timeout, "{outcome:?} after {took:?}");
    }
}

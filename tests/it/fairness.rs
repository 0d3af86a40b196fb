//! How uids share the requests to Auth0, in virtual time: a busy uid delays only itself.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::domain::error::{Failure, LookupError};
use cloakroom::domain::priority::Flow;
use cloakroom::domain::user::Selector;
use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::world::{Looked, World};

const GREEDY: Flow = Flow::Uid(1001);
const OTHER: Flow = Flow::Uid(1002);
const THIRD: Flow = Flow::Uid(1003);

/// Ten requests a second, and patience for hundreds.
const SETTINGS: &str = "request_timeout = \"60s\"\n[upstream]\nrequests_per_second = 10\nburst = 2";

struct Fair(Arc<World>);

impl Fair {
    async fn new(settings: &str) -> Self {
        let world = World::simulated(TenantOptions::default(), settings).await;
        world.ready().await;
        Self(Arc::new(world))
    }

    /// `flow` asks for `many` users of its own, whom nobody knows, and waits for each.
    fn ask(&self, flow: Flow, name: &str, many: usize) -> Vec<JoinHandle<Looked>> {
        let ask = |n| {
            let (world, id) = (Arc::clone(&self.0), format!("auth0|{name}-{n}"));
            #[expect(clippy::disallowed_methods, reason = "a test's own callers")]
            tokio::spawn(async move { world.look_up_as(flow, &id, &Selector::default()).await })
        };
        (0..many).map(ask).collect()
    }

    /// Whom the tenant was asked for, in order: the names without their numbers.
    fn asked(&self) -> Vec<String> {
        let calls = self.0.tenant.calls_to(Endpoint::User);
        let name = |path: &str| {
            let id = path.split("%7C").nth(1).unwrap().split('?').next().unwrap();
            id.rsplit_once('-').unwrap().0.to_owned()
        };
        calls.iter().map(|call| name(&call.path)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn one_lookup_waits_for_one_of_another_uids_five_hundred() {
    let fair = Fair::new(SETTINGS).await;
    let greedy = fair.ask(GREEDY, "greedy", 500);
    for round in 0..5 {
        sleep(Duration::from_millis(1_050)).await;
        let (before, begun) = (fair.asked().len(), Instant::now());
        let other = fair.ask(OTHER, "other", 1 + round).pop().unwrap();
        assert_eq!(other.await.unwrap(), Err(LookupError::UserNotFound));
        // One of the greedy caller's for each of its own, at ten a second.
        let took = begun.elapsed().as_millis();
        assert!(took <= 100 + 200 * (round as u128 + 1), "{took} ms in round {round}");
        let since = &fair.asked()[before..];
        assert!(since.iter().filter(|name| *name == "greedy").count() <= round + 2, "{since:?}");
    }
    for lookup in greedy {
        assert_eq!(lookup.await.unwrap(), Err(LookupError::UserNotFound), "and nobody is forgotten");
    }
}

#[tokio::test(start_paused = true)]
async fn three_flows_share_evenly_whatever_each_asks_for() {
    let fair = Fair::new(SETTINGS).await;
    let _all = [(GREEDY, "greedy", 400), (OTHER, "other", 60), (THIRD, "third", 45)]
        .map(|(flow, name, many)| fair.ask(flow, name, many));
    sleep(Duration::from_secs(12)).await;
    let asked = fair.asked();
    let counts = ["greedy", "other", "third"].map(|name| asked.iter().filter(|asked| *asked == name).count());
    assert!(asked.len() >= 115 && counts.iter().all(|count| (35..=45).contains(count)), "{counts:?}");
}

/// Otherwise a greedy caller could keep others waiting by asking for their users before they do.
#[tokio::test(start_paused = true)]
async fn who_joins_a_flight_does_not_wait_for_the_turn_of_whoever_began_it() {
    let fair = Fair::new(SETTINGS).await;
    let _greedy = fair.ask(GREEDY, "greedy", 500);
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let world = &fair.0;
    let joined = world.look_up_as(OTHER, "auth0|greedy-499", &Selector::default()).await;
    assert_eq!(joined, Err(LookupError::UserNotFound));
    assert!(begun.elapsed() <= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(world.running.services().counters.flights_joined.get(), 1);
}

/// Nobody waits in vain, and nothing is kept of those who could only have done that.
#[tokio::test(start_paused = true)]
async fn what_cannot_go_in_time_even_alone_is_told_so_at_once() {
    let fair = Fair::new("").await;
    let begun = Instant::now();
    let mut greedy = fair.ask(GREEDY, "greedy", 500);
    sleep(Duration::from_millis(1)).await;
    let told: Vec<_> = greedy.extract_if(.., |lookup| lookup.is_finished()).collect();
    // Five seconds of ten requests, and a burst of twenty, of which a grant took one.
    assert!((448..=455).contains(&told.len()), "{}", told.len());
    for lookup in told {
        let Err(LookupError::Unavailable(why)) = lookup.await.unwrap() else { continue };
        assert!(matches!(why.failure, Failure::OverBudget { .. }), "{why:?}");
        assert!((5..=6).contains(&why.retry_after.as_secs()), "{why:?}");
    }
    for lookup in fair.ask(OTHER, "other", 3) {
        assert_eq!(lookup.await.unwrap(), Err(LookupError::UserNotFound));
    }
    let mut late = 0;
    for lookup in greedy {
        late += usize::from(lookup.await.unwrap() != Err(LookupError::UserNotFound));
    }
    assert!(late <= 4, "all that may hope are asked for, but for the turns that another took: {late}");
    assert!(begun.elapsed() <= Duration::from_secs(6));
}

/// A Management token is needed by all: it waits for nobody.
#[tokio::test(start_paused = true)]
async fn a_grant_goes_before_all_flows() {
    let options = TenantOptions { token_lifetime: Duration::from_secs(20), ..TenantOptions::default() };
    let world = World::simulated(options, SETTINGS).await;
    world.ready().await;
    let fair = Fair(Arc::new(world));
    let _greedy = fair.ask(GREEDY, "greedy", 500);
    sleep(Duration::from_secs(58)).await;
    let grants = fair.0.tenant.calls_to(Endpoint::Token);
    assert!(grants.len() >= 3, "{grants:?}");
    let status = fair.0.running.services().management.snapshot(fair.0.clock.now());
    assert!(status.valid && status.failure.is_none());
}

/// Slow answers hold what may be under way; even so the next to end makes room for another flow.
#[tokio::test(start_paused = true)]
async fn turns_are_taken_where_concurrency_is_what_is_short_too() {
    let fair = Fair::new(
        "request_timeout = \"60s\"\n[upstream]\nrequests_per_second = 1000\nburst = 2000\nmax_concurrency = 4",
    )
    .await;
    fair.0.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_secs(2)));
    let _greedy = fair.ask(GREEDY, "greedy", 400);
    sleep(Duration::from_secs(3)).await;
    let begun = Instant::now();
    for lookup in fair.ask(OTHER, "other", 2) {
        assert_eq!(lookup.await.unwrap(), Err(LookupError::UserNotFound));
    }
    assert!(begun.elapsed() <= Duration::from_millis(3_100), "{:?}", begun.elapsed());
}

//! How uids share the exchanges, in virtual time: a busy uid delays only itself, as at the Management API.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::domain::priority::Flow;
use cloakroom::domain::user::Selector;
use cloakroom::fake_auth0::{ConnectedAccount, Endpoint, Fault};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::GOOGLE;
use super::lookups::world_with;
use crate::support::world::{Looked, World};

const GREEDY: Flow = Flow::Uid(1001);
const OTHER: Flow = Flow::Uid(1002);

/// Exchanges take half a second, four at a time, and user reads no time.
const SETTINGS: &str = "request_timeout = \"60s\"\n[upstream]\nrequests_per_second = 1000\nburst = 2000\n\
                        max_concurrency = 4\n";

async fn world() -> Arc<World> {
    let world = world_with(SETTINGS).await;
    world.ready().await;
    world.tenant.fault(Endpoint::Exchange, Fault::Latency(Duration::from_millis(500)));
    Arc::new(world)
}

/// `flow` asks for `many` users of its own, none of whom has logged in with a token, and waits for each.
fn ask(world: &Arc<World>, flow: Flow, name: &str, many: usize) -> Vec<JoinHandle<Looked>> {
    let ask = |number: usize| {
        let (world, account) = (Arc::clone(world), format!("{name}-{number}"));
        let id = format!("{GOOGLE}|{account}");
        let identity = serde_json::json!({ "connection": GOOGLE, "provider": GOOGLE, "user_id": account });
        assert!(world.tenant.put_user(serde_json::json!({ "user_id": id, "identities": [identity] })));
        world.tenant.connect_account(ConnectedAccount::new(&id, GOOGLE, &account, &["calendar"]));
        #[expect(clippy::disallowed_methods, reason = "a test's own callers")]
        tokio::spawn(async move { world.look_up_as(flow, &id, &Selector::default()).await })
    };
    (0..many).map(ask).collect()
}

#[tokio::test(start_paused = true)]
async fn exchanges_take_turns_by_uid() {
    let world = world().await;
    let greedy = ask(&world, GREEDY, "greedy", 300);
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    for (number, lookup) in ask(&world, OTHER, "other", 2).into_iter().enumerate() {
        let (token, state) = lookup.await.unwrap().unwrap();
        assert!(token.starts_with(&format!("vault-{GOOGLE}-other-{number}-")) && state == "miss", "{token}");
    }
    assert!(begun.elapsed() <= Duration::from_millis(1_100), "{:?}", begun.elapsed());
    for lookup in greedy {
        assert!(lookup.await.unwrap().is_ok());
    }
    assert_eq!(world.tenant.max_concurrent(Endpoint::Exchange), 4);
}

/// Otherwise a greedy client could keep others waiting by asking for their users before they do.
#[tokio::test(start_paused = true)]
async fn who_joins_an_exchange_does_not_wait_for_the_turn_of_the_uid_that_began_it() {
    let world = world().await;
    let _greedy = ask(&world, GREEDY, "greedy", 300);
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let last = format!("{GOOGLE}|greedy-299");
    assert!(world.look_up_as(OTHER, &last, &Selector::default()).await.is_ok());
    assert!(begun.elapsed() <= Duration::from_millis(1_100), "{:?}", begun.elapsed());
    assert_eq!(world.running.services().counters.flights_joined.get(), 1);
}

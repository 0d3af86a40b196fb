//! How often a provider is asked: retries, the rate, pauses that it asks for, and its outages. In virtual time.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::cache::ForWhom;
use cloakroom::domain::error::Failure;
use cloakroom::domain::priority::Flow;
use cloakroom::domain::source::Rotation;
use cloakroom::secret::Secret;
use tokio::time::Instant;

use super::scripted::{Bench, DEAD, ISSUED, Reply, TOKEN, at_once, fails, with};
use super::{connection, refresh, rotating, said, settings};

fn broken() -> Reply {
    fails(Failure::Broken { host: "peer".into() })
}

fn refused() -> Reply {
    fails(Failure::Refused { host: "peer".into() })
}

#[tokio::test(start_paused = true)]
async fn one_redemption_is_one_request_with_the_token_and_is_counted() {
    let bench = Bench::new(&settings(), |_| at_once(200, TOKEN));
    let google = Arc::new(refresh("google"));
    assert_eq!(bench.said(&google, "rt").await, ISSUED);
    let [arrived] = &*bench.arrived() else { panic!("{:?}", bench.arrived()) };
    assert_eq!((&*arrived.host, arrived.field("refresh_token")), ("oauth2.googleapis.com", "rt"));
    assert!(!arrived.is_alone);
    bench.script(|_| at_once(400, DEAD));
    assert_eq!(bench.said(&google, "rt").await, "over refresh_refused");
    let counts = bench.counters.sources.counts();
    let counts: Vec<_> =
        counts.iter().map(|(source, name, outcome, n)| (*source, &**name, *outcome, *n)).collect();
    assert_eq!(counts, [("refresh", "con", "issued", 1), ("refresh", "con", "over", 1)]);
}

/// A connection that was kept open may be dead, which leaves open whether a token was used up.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_valid_once_goes_over_a_connection_of_its_own() {
    let bench = Bench::new(&settings(), |_| at_once(200, TOKEN));
    for (rotation, is_alone) in
        [(Rotation::None, false), (Rotation::KeepOld, false), (Rotation::Single, true)]
    {
        bench.take();
        bench.redeem(&Arc::new(rotating("google", rotation)), "rt").await;
        assert_eq!(bench.arrived()[0].is_alone, is_alone, "{rotation:?}");
    }
}

/// A name, what the provider does, what that means, and whether it is retried.
type Case = (&'static str, fn() -> Reply, &'static str, bool);

#[tokio::test(start_paused = true)]
async fn an_outage_is_retried_only_where_no_token_can_be_lost() {
    let cases: [Case; 6] = [
        ("503", || at_once(503, ""), "failed status 503, processed Unknown", true),
        ("broken", broken, "failed unreachable, processed Unknown", true),
        ("not reached", refused, "failed unreachable, processed No", true),
        ("an odd refusal", || at_once(400, "{}"), "failed status 400, processed No", false),
        ("a redirect", || at_once(302, ""), "failed malformed", false),
        (
            "an odd success",
            || at_once(200, "{}"),
            "failed malformed: no access token, processed Unknown",
            false,
        ),
    ];
    for (name, reply, outcome, is_retried) in cases {
        for (rotation, most) in [(Rotation::None, 3), (Rotation::KeepOld, 3), (Rotation::Single, 1)] {
            let bench = Bench::new(&settings(), move |_| reply());
            let said = bench.said(&Arc::new(rotating("google", rotation)), "rt").await;
            assert!(said.starts_with(outcome), "{name} {rotation:?}: {said}");
            assert_eq!(bench.take(), if is_retried { most } else { 1 }, "{name} {rotation:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_succeeds_is_a_success_and_retries_end_in_time() {
    let bench = Bench::new(&settings(), |_| at_once(503, ""));
    let google = Arc::new(refresh("google"));
    let counted = std::sync::atomic::AtomicUsize::new(0);
    bench.script(move |_| match counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => broken(),
        _ => at_once(200, TOKEN),
    });
    assert_eq!(bench.said(&google, "rt").await, ISSUED);
    assert_eq!(bench.take(), 2);

    bench.script(|_| (Duration::from_secs(3), Ok(super::answer(503, &[], ""))));
    let begun = Instant::now();
    let said = bench.said(&google, "rt").await;
    assert!(said.starts_with("failed timed out, processed Unknown"), "{said}");
    assert_eq!((begun.elapsed(), bench.take()), (Duration::from_secs(5), 2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_leaves_open_whether_the_token_was_redeemed() {
    let bench = Bench::new(&settings(), |_| (Duration::from_secs(3_600), Ok(super::answer(200, &[], TOKEN))));
    let begun = Instant::now();
    let said = bench.said(&Arc::new(rotating("github", Rotation::Single)), "rt").await;
    assert!(said.starts_with("failed timed out, processed Unknown"), "{said}");
    assert_eq!((begun.elapsed(), bench.take()), (Duration::from_secs(5), 1));
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_rate_of_a_host_wait_and_other_hosts_do_not() {
    let bench = Bench::new(&settings(), |_| at_once(200, TOKEN));
    let begun = Instant::now();
    let outcomes = bench.crowd(&Arc::new(refresh("google")), 80).await;
    assert!(outcomes.iter().all(|outcome| outcome == ISSUED), "{outcomes:?}");
    // 40 at once, and 40 at 20 a second.
    let took = begun.elapsed();
    assert!((Duration::from_millis(1_900)..=Duration::from_millis(2_100)).contains(&took), "{took:?}");
    let arrived = bench.arrived();
    assert_eq!(arrived.iter().filter(|arrived| arrived.at == begun).count(), 40);

    let begun = Instant::now();
    assert_eq!(bench.said(&Arc::new(refresh("linkedin")), "rt").await, ISSUED);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

/// All uids share the rate of a host.
#[tokio::test(start_paused = true)]
async fn a_burst_of_one_uid_delays_only_itself() {
    let bench = Bench::new(&settings(), |_| at_once(200, TOKEN));
    let google = Arc::new(refresh("google"));
    let other = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let (begun, for_whom) = (Instant::now(), ForWhom::only(Flow::Uid(7)));
        let (connection, token) = (connection(&google), Secret::new("other"));
        let redemption = bench.providers.redeem_for(for_whom, &connection, &google, &token).await;
        (said(&redemption), begun.elapsed())
    };
    let (busy, (other, took)) = tokio::join!(bench.crowd(&google, 200), other);
    assert_eq!(other, ISSUED);
    assert!(took <= Duration::from_millis(110), "{took:?}, and 50 requests of the other uid wait");
    let issued = busy.iter().filter(|outcome| *outcome == ISSUED).count();
    assert!((85..=91).contains(&issued), "{issued}");
}

/// A request keeps half of the timeout for itself: one that is cut off may have been processed.
#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_leaves_time_for_the_request() {
    let bench = Bench::new(&settings(), |_| at_once(200, TOKEN));
    let begun = Instant::now();
    let outcomes = bench.crowd(&Arc::new(rotating("google", Rotation::Single)), 1_000).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    let issued = outcomes.iter().filter(|outcome| *outcome == ISSUED).count();
    // 40 at once, and 20 a second for half of the timeout.
    assert!((85..=92).contains(&issued), "{issued}");
    assert_eq!(bench.take(), issued, "a token that is not sent is not lost");
    let others = outcomes.iter().filter(|outcome| *outcome != ISSUED);
    assert!(others.into_iter().all(|outcome| outcome.starts_with("failed throttled, processed No")));
}

#[tokio::test(start_paused = true)]
async fn a_429_stops_its_host_for_as_long_as_it_asks_and_no_other() {
    let bench = Bench::new(&settings(), |arrived| match &*arrived.host {
        "oauth2.googleapis.com" => with(&[("retry-after", "30")], 429, ""),
        _ => at_once(200, TOKEN),
    });
    let (google, linkedin) = (Arc::new(refresh("google")), Arc::new(refresh("linkedin")));
    assert_eq!(bench.said(&google, "rt").await, "failed throttled, processed No wait 30");
    assert_eq!(bench.take(), 1, "it is not retried");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.said(&google, "rt").await, "failed throttled, processed No wait 20");
    assert_eq!(bench.take(), 0);
    assert_eq!(bench.said(&linkedin, "rt").await, ISSUED);
    bench.script(|_| at_once(200, TOKEN));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(bench.said(&google, "rt").await, ISSUED);
}

/// Some requests were sent before the first 429, and the provider still accepts one of them.
#[tokio::test(start_paused = true)]
async fn a_success_after_a_429_does_not_shorten_the_pause() {
    let bench = Bench::new(&settings(), |arrived| match arrived.field("refresh_token") {
        "rt-0" => (Duration::from_secs(1), Ok(super::answer(200, &[], TOKEN))),
        _ => with(&[("retry-after", "30")], 429, ""),
    });
    let google = Arc::new(refresh("google"));
    let outcomes = bench.crowd(&google, 10).await;
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == ISSUED).count(), 1);
    bench.take();
    assert_eq!(bench.said(&google, "rt").await, "failed throttled, processed No wait 29");
    assert_eq!(bench.take(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_hours_costs_few_tokens_and_its_end_is_found_out_by_one() {
    let bench = Bench::new(&settings(), |_| at_once(503, ""));
    let github = Arc::new(refresh("github"));
    for _ in 0..3_600 {
        bench.crowd(&github, 3).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let sent = bench.take();
    assert!((60..400).contains(&sent), "{sent} of 10,800");
    // Held back, so not processed.
    assert!(bench.said(&github, "rt").await.starts_with("failed status 503, processed No wait "));

    bench.script(|_| (Duration::from_secs(1), Ok(super::answer(200, &[], TOKEN))));
    tokio::time::sleep(Duration::from_secs(31)).await;
    let outcomes = bench.crowd(&github, 20).await;
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == ISSUED).count(), 1, "{outcomes:?}");
    assert_eq!(bench.take(), 1);
    assert!(bench.crowd(&github, 20).await.iter().all(|outcome| outcome == ISSUED));
}

/// What one user's token is refused for must not keep other users from theirs.
#[tokio::test(start_paused = true)]
async fn odd_refusals_of_some_tokens_hold_back_no_others() {
    let bench = Bench::new(&settings(), |arrived| match arrived.field("refresh_token") {
        "good" => at_once(200, TOKEN),
        _ => at_once(403, r#"{"error":"access_denied"}"#),
    });
    let google = Arc::new(refresh("google"));
    for _ in 0..20 {
        assert_eq!(bench.said(&google, "bad").await, "failed status 403, processed No wait 5");
    }
    assert_eq!(bench.said(&google, "good").await, ISSUED);
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_rate_and_transport_at_once() {
    let bench = Bench::new(&settings(), |_| at_once(200, TOKEN));
    let google = Arc::new(refresh("google"));
    bench.crowd(&google, 40).await;
    let other = Bench::new(&settings(), |_| at_once(200, TOKEN));
    let slow = cloakroom::config::Providers { requests_per_second: 0.5, burst: 1, ..settings() };
    bench.providers.reconfigure(&slow, other.transport.clone());
    bench.take();
    let begun = Instant::now();
    assert_eq!(bench.said(&google, "rt").await, ISSUED);
    assert_eq!(begun.elapsed(), Duration::from_secs(2), "the bucket keeps its level");
    assert_eq!((bench.take(), other.take()), (0, 1));
}

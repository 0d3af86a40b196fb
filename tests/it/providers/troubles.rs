//! A client that its provider refuses: one probe at a time, one line of the log, and no user who has to log in.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::config::Refresh;
use cloakroom::domain::source::{Rotation, SourceFault};
use cloakroom::secret::Secret;

use super::scripted::{Arrived, Bench, DEAD, ISSUED, REFUSED, Reply, TOKEN, WRONG_CLIENT, at_once};
use super::{refresh, rotating, settings};
use crate::support::log::Log;

const STARTS: &str = "The provider refuses to renew tokens until this is fixed";
const ENDS: &str = "The provider renews tokens again";

/// A provider that knows one secret.
fn knows(secret: &'static str) -> impl Fn(&Arrived) -> Reply + Send + Sync {
    move |arrived| match arrived.field("client_secret") == secret {
        true => at_once(200, TOKEN),
        false => at_once(401, WRONG_CLIENT),
    }
}

fn with_previous(previous: &str) -> Arc<Refresh> {
    Arc::new(Refresh {
        secret: Arc::new(Secret::new("new")),
        previous_secret: Some(Arc::new(Secret::new(previous))),
        previous_secret_file: Some("/run/previous".into()),
        ..refresh("google")
    })
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_users_of_a_refused_client_cost_few_requests_and_one_line() {
    let log = Log::new();
    let bench =
        Bench::new(&settings(), |_| (Duration::from_millis(50), Ok(super::answer(401, &[], WRONG_CLIENT))));
    let google = Arc::new(refresh("google"));
    let outcomes = bench.crowd(&google, 10_000).await;
    assert!(outcomes.iter().all(|outcome| outcome == REFUSED || outcome.starts_with("failed throttled")));
    // Those that were sent before the first answer, and none of those that waited for a permit.
    assert!(bench.take() <= 42);
    assert!(bench.crowd(&google, 10_000).await.iter().all(|outcome| outcome == REFUSED));
    assert_eq!(bench.take(), 0, "they get the answer at once");
    assert_eq!(bench.fault(&google), Some(SourceFault::ProviderClient));

    // An hour of lookups: a request a minute or so finds out.
    for _ in 0..3_600 {
        bench.crowd(&google, 3).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let probes = bench.take();
    assert!((50..150).contains(&probes), "{probes}");
    assert_eq!((log.lines(STARTS), log.lines(ENDS)), (1, 0), "{}", log.text());

    // Fixed at the provider, without a reload.
    bench.script(|_| at_once(200, TOKEN));
    tokio::time::sleep(Duration::from_secs(121)).await;
    assert_eq!(bench.said(&google, "rt").await, ISSUED);
    assert_eq!((log.lines(STARTS), log.lines(ENDS)), (1, 1), "{}", log.text());
    assert_eq!(bench.fault(&google), None);
    assert!(!log.text().contains("canary") && !log.text().contains("rt-"), "{}", log.text());
}

/// A user's own refusal shows that the client is accepted.
#[tokio::test(start_paused = true)]
async fn a_dead_token_ends_the_trouble_of_a_client_and_an_outage_does_not() {
    let bench = Bench::new(&settings(), |_| at_once(401, WRONG_CLIENT));
    let google = Arc::new(refresh("google"));
    assert_eq!(bench.said(&google, "rt").await, REFUSED);
    bench.script(|_| at_once(503, ""));
    tokio::time::sleep(Duration::from_secs(121)).await;
    assert!(bench.said(&google, "rt").await.starts_with("failed status 503"));
    assert_eq!(bench.fault(&google), Some(SourceFault::ProviderClient));
    bench.script(|_| at_once(400, DEAD));
    tokio::time::sleep(Duration::from_secs(121)).await;
    assert_eq!(bench.said(&google, "rt").await, "over refresh_refused");
    assert_eq!(bench.fault(&google), None);
}

#[tokio::test(start_paused = true)]
async fn a_reload_heals_at_once_whether_or_not_it_changes_the_client() {
    let bench = Bench::new(&settings(), knows("right"));
    let wrong = Arc::new(Refresh { secret: Arc::new(Secret::new("wrong")), ..refresh("google") });
    assert_eq!(bench.said(&wrong, "rt").await, REFUSED);
    let right = Arc::new(Refresh { secret: Arc::new(Secret::new("right")), ..refresh("google") });
    assert_eq!(bench.said(&right, "rt").await, ISSUED);

    assert_eq!(bench.said(&wrong, "rt").await, REFUSED);
    bench.script(|_| at_once(200, TOKEN));
    assert_eq!(bench.said(&wrong, "rt").await, REFUSED, "it is held back");
    assert_eq!(bench.fault(&wrong), Some(SourceFault::ProviderClient));
    assert_eq!(bench.fault(&right), None, "the fault is not that of the client after a reload");
    bench.providers.reconfigure(&settings(), bench.transport.clone());
    assert_eq!(bench.said(&wrong, "rt").await, ISSUED);
}

/// Refusals that may be about one user: a scope that it has not granted, or a refresh token of an earlier client.
const OF_ONE_USER: [(&str, SourceFault); 3] = [
    (r#"{"error":"invalid_scope"}"#, SourceFault::ProviderScope),
    (r#"{"error":"invalid_request"}"#, SourceFault::ProviderRequest),
    (r#"{"error":"unauthorized_client"}"#, SourceFault::ProviderGrant),
];

#[tokio::test(start_paused = true)]
async fn a_refusal_that_may_be_about_one_user_holds_back_no_other() {
    for (body, fault) in OF_ONE_USER {
        let bench = Bench::new(&settings(), move |arrived| match arrived.field("refresh_token") {
            "odd" => at_once(400, body),
            _ => at_once(200, TOKEN),
        });
        let google = Arc::new(refresh("google"));
        for _ in 0..20 {
            assert_eq!(bench.said(&google, "odd").await, format!("misconfigured {fault:?}"));
        }
        assert_eq!(bench.fault(&google), Some(fault), "it is the only user so far");
        assert_eq!(bench.said(&google, "rt").await, ISSUED);
        assert_eq!(bench.fault(&google), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_different_users_in_a_row_is_one_of_all_users() {
    for (body, fault) in OF_ONE_USER {
        let log = Log::new();
        let bench =
            Bench::new(&settings(), move |_| (Duration::from_millis(50), Ok(super::answer(400, &[], body))));
        let google = Arc::new(refresh("google"));
        bench.crowd(&google, 10_000).await;
        assert!(bench.take() <= 42, "{fault:?}");
        for _ in 0..3_600 {
            bench.crowd(&google, 3).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let probes = bench.take();
        assert!((50..150).contains(&probes), "{fault:?}: {probes}");
        assert_eq!(bench.fault(&google), Some(fault));
        bench.script(|_| at_once(200, TOKEN));
        tokio::time::sleep(Duration::from_secs(121)).await;
        assert_eq!(bench.said(&google, "rt").await, ISSUED);
        assert_eq!((log.lines(STARTS), log.lines(ENDS)), (1, 1), "{}", log.text());
    }
}

/// The connection's client was replaced, and users log in anew one after the other.
#[tokio::test(start_paused = true)]
async fn users_of_an_earlier_client_do_not_hold_back_those_of_the_present_one() {
    let log = Log::new();
    let bench = Bench::new(&settings(), |arrived| match arrived.field("refresh_token") {
        "new" => at_once(200, TOKEN),
        _ => at_once(400, r#"{"error":"unauthorized_client"}"#),
    });
    let google = Arc::new(refresh("google"));
    for _ in 0..100 {
        assert_eq!(bench.said(&google, "new").await, ISSUED);
        for old in 0..5 {
            assert_eq!(bench.said(&google, &format!("old-{old}")).await, "misconfigured ProviderGrant");
        }
        tokio::time::sleep(Duration::from_secs(300)).await;
    }
    assert_eq!((log.lines(STARTS), log.lines(ENDS)), (0, 0), "{}", log.text());

    // And where no token is issued any more, the connection is at fault.
    tokio::time::sleep(Duration::from_secs(600)).await;
    for old in 0..5 {
        bench.said(&google, &format!("old-{old}")).await;
    }
    assert_eq!(bench.said(&google, "new").await, "misconfigured ProviderGrant", "it is held back");
    assert_eq!((log.lines(STARTS), log.lines(ENDS)), (1, 0), "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn the_previous_secret_rescues_and_is_remembered_as_the_one_that_works() {
    let log = Log::new();
    let bench = Bench::new(&settings(), knows("old"));
    let client = with_previous("old");
    let secrets = |bench: &Bench| -> Vec<_> {
        bench.arrived().iter().map(|arrived| arrived.field("client_secret").to_owned()).collect()
    };
    assert_eq!(bench.said(&client, "rt").await, ISSUED);
    assert_eq!(secrets(&bench), ["new", "old"]);
    bench.take();
    assert_eq!(bench.said(&client, "rt").await, ISSUED);
    assert_eq!(secrets(&bench), ["old"]);
    bench.take();
    assert_eq!(log.lines("still accepts the previous one"), 1, "{}", log.text());

    // The provider forgets the old one.
    bench.script(knows("new"));
    assert_eq!(bench.said(&client, "rt").await, ISSUED);
    assert_eq!(secrets(&bench), ["old", "new"]);
    bench.take();
    assert_eq!(bench.said(&client, "rt").await, ISSUED);
    assert_eq!(secrets(&bench), ["new"]);
    assert_eq!(
        (log.lines("accepts the connection's current secret"), log.lines(STARTS)),
        (1, 0),
        "{}",
        log.text()
    );

    // An operator's reload tries the current one first.
    bench.script(knows("old"));
    assert_eq!(bench.said(&client, "rt").await, ISSUED);
    bench.providers.reconfigure(&settings(), bench.transport.clone());
    bench.script(|_| at_once(200, TOKEN));
    bench.take();
    assert_eq!(bench.said(&client, "rt").await, ISSUED);
    assert_eq!(secrets(&bench), ["new"]);
}

/// Another secret could be no answer to these, and a second request could redeem the token a second time.
#[tokio::test(start_paused = true)]
async fn the_previous_secret_is_tried_for_a_refused_client_alone() {
    let cases: [(u16, &str); 6] = [
        (400, DEAD),
        (400, r#"{"error":"unauthorized_client"}"#),
        (400, r#"{"error":"invalid_scope"}"#),
        (400, r#"{"error":"invalid_request"}"#),
        (401, ""),
        (503, WRONG_CLIENT),
    ];
    for (status, body) in cases {
        let bench = Bench::new(&settings(), move |_| at_once(status, body));
        let client = Arc::new(Refresh { rotation: Rotation::Single, ..(*with_previous("old")).clone() });
        bench.redeem(&client, "rt").await;
        assert_eq!(bench.take(), 1, "{status} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_secrets_are_all_refused_is_told_once_and_an_equal_one_is_not_tried() {
    let log = Log::new();
    let bench = Bench::new(&settings(), |_| at_once(401, WRONG_CLIENT));
    assert_eq!(bench.said(&with_previous("old"), "rt").await, REFUSED);
    assert_eq!((bench.take(), log.lines(STARTS)), (2, 1), "{}", log.text());
    assert_eq!(bench.said(&with_previous("new"), "rt").await, REFUSED);
    assert_eq!(bench.take(), 1);
}

/// A slow refusal leaves the second request half of the timeout, because one that is cut off may have been processed.
#[tokio::test(start_paused = true)]
async fn the_other_secret_is_tried_with_time_to_spare() {
    let bench = Bench::new(&settings(), |arrived| {
        let (status, body) =
            if arrived.field("client_secret") == "old" { (200, TOKEN) } else { (401, WRONG_CLIENT) };
        let delay = Duration::from_millis(if status == 200 { 2_000 } else { 4_500 });
        (delay, Ok(super::answer(status, &[], body)))
    });
    let client = Arc::new(Refresh { rotation: Rotation::Single, ..(*with_previous("old")).clone() });
    assert_eq!(bench.said(&client, "rt").await, ISSUED);
}

/// Connections of one provider fail apart.
#[tokio::test(start_paused = true)]
async fn a_refused_client_leaves_other_connections_of_its_provider_alone() {
    let bench = Bench::new(&settings(), knows("right"));
    let wrong = Arc::new(rotating("google", Rotation::None));
    let right = Arc::new(Refresh { secret: Arc::new(Secret::new("right")), ..refresh("google") });
    assert_eq!(bench.said(&wrong, "rt").await, REFUSED);
    let other = cloakroom::config::Connection { name: "other".into(), ..super::connection(&right) };
    let redemption = bench.providers.redeem(&other, &right, &Secret::new("rt")).await;
    assert_eq!(super::said(&redemption), ISSUED);
    assert_eq!(bench.said(&wrong, "rt").await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_logged_at_its_begin_and_at_its_end() {
    let log = Log::new();
    let bench = Bench::new(&settings(), |_| at_once(503, ""));
    let google = Arc::new(refresh("google"));
    for _ in 0..600 {
        bench.redeem(&google, "rt").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let starts = "A provider renews no tokens";
    assert_eq!((log.lines(starts), log.lines(ENDS)), (1, 0), "{}", log.text());
    bench.script(|_| at_once(200, TOKEN));
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(bench.said(&google, "rt").await, ISSUED);
    assert_eq!((log.lines(starts), log.lines(ENDS)), (1, 1), "{}", log.text());
}

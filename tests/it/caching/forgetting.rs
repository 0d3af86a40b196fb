//! Entries that leave the cache: purged, reported, or evicted for want of room.

use cloakroom::cache::{LookupOptions, ReportOutcome};
use cloakroom::domain::error::LookupError;
use cloakroom::domain::priority::Flow;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions, users};
use serde_json::json;
use tokio::time::sleep;

use super::{MINUTE, SECOND, with_token, world};
use crate::support::world::{FLOW, World, query};

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

#[tokio::test(start_paused = true)]
async fn a_reported_token_is_not_served_again_and_a_late_report_does_nothing() {
    let world = world("").await;
    let user = UserId::parse(users::GOOGLE).unwrap();
    let selector = Selector::default();
    let served =
        world.cache().look_up(query(&user, &selector, LookupOptions::default()), FLOW).await.unwrap();
    let fingerprint = served.token().1.fingerprint;
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
    let served =
        world.cache().look_up(query(&user, &google, LookupOptions::default()), Flow::Daemon).await.unwrap();
    let fingerprint = served.token().1.fingerprint;
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

/// A report and an answer that lands at the same moment: whichever comes first, the token is not served again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_several_threads_too_no_report_is_lost() {
    let settings = "[upstream]\nrequests_per_second = 5000\nburst = 10000";
    let world = std::sync::Arc::new(World::simulated(TenantOptions::default(), settings).await);
    world.ready().await;
    let user = UserId::parse(users::GOOGLE).unwrap();
    let selector = Selector::default();
    let served =
        world.cache().look_up(query(&user, &selector, LookupOptions::default()), Flow::Daemon).await.unwrap();
    let fingerprint = served.token().1.fingerprint;
    for round in 0..2_000 {
        world.cache().purge(&user);
        assert!(world.look_up(users::GOOGLE).await.is_ok());
        let (asking, asker) = (std::sync::Arc::clone(&world), user.clone());
        #[expect(clippy::disallowed_methods, reason = "a caller of its own")]
        let fresh = tokio::spawn(async move {
            let options = LookupOptions { fresh: true, ..LookupOptions::default() };
            asking.cache().look_up(query(&asker, &Selector::default(), options), Flow::Daemon).await.is_ok()
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

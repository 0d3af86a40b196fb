//! A report outlives the answer that it was about, until a login lifts it.

use std::time::Duration;

use cloakroom::cache::ReportOutcome;
use cloakroom::domain::error::LookupError;
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{Endpoint, Fault, users};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{MINUTE, SECOND, is_over, is_refused, of, world};
use crate::support::world::World;

// A login, and the token that Auth0 sends before and after it.

#[tokio::test(start_paused = true)]
async fn a_login_after_a_report_lifts_it_though_the_token_is_the_same() {
    let world = world("").await;
    let (token, _) = world.look_up(users::GOOGLE).await.unwrap();
    let fingerprint = world.fingerprint(users::GOOGLE, &Selector::default()).await;
    assert_eq!(world.report(users::GOOGLE, fingerprint), ReportOutcome::Dropped);
    assert!(is_refused(&world.look_up(users::GOOGLE).await));
    sleep(MINUTE).await;
    assert!(is_refused(&world.look_up(users::GOOGLE).await), "there was no login");
    sleep(MINUTE).await;
    world.tenant.sign_on(users::GOOGLE);
    sleep(MINUTE).await;
    assert_eq!(world.look_up(users::GOOGLE).await, Ok((token, "miss")));
    // And it can be reported again.
    assert_eq!(world.report(users::GOOGLE, fingerprint), ReportOutcome::Dropped);
    assert!(is_refused(&world.look_up(users::GOOGLE).await));
    sleep(MINUTE).await;
    assert!(is_refused(&world.look_up(users::GOOGLE).await));
}

#[tokio::test(start_paused = true)]
async fn a_login_before_a_report_does_not_lift_it() {
    let world = world("").await;
    let fingerprint = world.fingerprint(users::GOOGLE, &Selector::default()).await;
    sleep(MINUTE).await;
    world.tenant.sign_on(users::GOOGLE);
    sleep(2 * SECOND).await;
    assert_eq!(world.report(users::GOOGLE, fingerprint), ReportOutcome::Dropped);
    for _ in 0..5 {
        assert!(is_refused(&world.look_up(users::GOOGLE).await));
        sleep(MINUTE).await;
    }
}

/// Whatever this machine's wall clock says: the login is as old as Auth0's own clock says.
#[tokio::test(start_paused = true)]
async fn whether_a_login_came_later_does_not_hang_on_this_machines_wall_clock() {
    for off in [-86_400_000_i64, 86_400_000] {
        let world = world("").await;
        let fingerprint = world.fingerprint(users::GITHUB, &Selector::default()).await;
        sleep(MINUTE).await;
        world.tenant.sign_on(users::GITHUB);
        sleep(MINUTE).await;
        world.report(users::GITHUB, fingerprint);
        world.clock.step_wall(Timestamp::from_millis(world.clock.now().wall.as_millis() + off));
        assert!(is_refused(&world.look_up(users::GITHUB).await), "{off}");
        sleep(MINUTE).await;
        world.tenant.sign_on(users::GITHUB);
        sleep(MINUTE).await;
        assert!(world.look_up(users::GITHUB).await.is_ok(), "{off}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lifted_report_leaves_the_expiry_as_it_was() {
    let world = world("[cache]\nmin_ttl = \"0s\"").await;
    let left = world.left(users::GOOGLE).await.unwrap();
    let fingerprint = world.fingerprint(users::GOOGLE, &Selector::default()).await;
    world.report(users::GOOGLE, fingerprint);
    sleep(20 * MINUTE).await;
    world.tenant.sign_on(users::GOOGLE);
    sleep(MINUTE).await;
    assert_eq!(world.left(users::GOOGLE).await, Some(left - 21 * 60));
    sleep(Duration::from_secs(left - 21 * 60)).await;
    let looked = world.look_up(users::GOOGLE).await;
    assert!(is_over(&looked), "{looked:?}");
}

// Reports and flights under way.

/// Two workers report the same token, the second while Auth0 is being asked.
#[tokio::test(start_paused = true)]
async fn a_second_report_of_the_same_token_changes_nothing() {
    let world = world("").await;
    let fingerprint = world.fingerprint(users::GOOGLE, &Selector::default()).await;
    assert_eq!(world.report(users::GOOGLE, fingerprint), ReportOutcome::Dropped);
    sleep(SECOND).await;
    world.tenant.fault_next(Endpoint::User, 1, Fault::LateAnswer(SECOND));
    let calls = world.user_calls();
    let (looked, ()) = tokio::join!(world.look_up(users::GOOGLE), async {
        sleep(SECOND / 2).await;
        // However often: it spends nothing, and the worker that tries again is told the truth.
        for _ in 0..1_000 {
            assert_eq!(world.report(users::GOOGLE, fingerprint), ReportOutcome::Dropped);
        }
    });
    assert!(is_refused(&looked), "{looked:?}");
    assert!(is_refused(&world.look_up(users::GOOGLE).await));
    assert_eq!(world.user_calls(), calls + 1, "the answer that was under way is remembered");
}

#[tokio::test(start_paused = true)]
async fn a_report_about_one_identity_gives_no_refused_token_of_another_out() {
    let world = world("").await;
    let google = world.fingerprint(users::LINKED, &of("google-oauth2")).await;
    let github = world.fingerprint(users::LINKED, &of("github")).await;
    assert_eq!(world.report(users::LINKED, google), ReportOutcome::Dropped);
    sleep(SECOND).await;
    world.tenant.fault_next(Endpoint::User, 1, Fault::LateAnswer(SECOND));
    let (selector, waits) = (of("google-oauth2"), timeout(MINUTE, sleep(SECOND / 2)));
    let (looked, ()) = tokio::join!(world.look_up_with(users::LINKED, &selector), async {
        waits.await.unwrap();
        assert_eq!(world.report(users::LINKED, github), ReportOutcome::Dropped);
    });
    assert!(is_refused(&looked), "{looked:?}");
    for connection in ["google-oauth2", "github"] {
        assert!(is_refused(&world.look_up_with(users::LINKED, &of(connection)).await), "{connection}");
    }
}

/// The answer under way has the new token already: whoever waits is given it, and it is kept.
#[tokio::test(start_paused = true)]
async fn a_report_while_the_new_token_is_on_its_way_costs_no_second_question() {
    let world = world("").await;
    let fingerprint = world.fingerprint(users::GOOGLE, &Selector::default()).await;
    let new = world.tenant.login(users::GOOGLE, "google-oauth2").unwrap();
    world.tenant.fault_next(Endpoint::User, 1, Fault::LateAnswer(SECOND));
    let calls = world.user_calls();
    let (fresh, ()) = tokio::join!(world.ask_afresh(users::GOOGLE), async {
        sleep(SECOND / 2).await;
        assert_eq!(world.report(users::GOOGLE, fingerprint), ReportOutcome::Dropped);
    });
    assert_eq!(fresh.unwrap().0, new);
    assert_eq!(world.look_up(users::GOOGLE).await, Ok((new, "hit")));
    assert_eq!(world.user_calls(), calls + 1);
}

// Reports and the end of an entry.

#[tokio::test(start_paused = true)]
async fn a_report_outlives_the_eviction_of_its_entry() {
    let settings = "[cache]\nmax_bytes = \"1MiB\"\n[upstream]\nrequests_per_second = 5000\nburst = 10000";
    let world = world(settings).await;
    let fingerprint = world.fingerprint(users::GOOGLE, &Selector::default()).await;
    world.report(users::GOOGLE, fingerprint);
    assert!(is_refused(&world.look_up(users::GOOGLE).await));
    world.evict_all().await;
    let calls = world.user_calls();
    let looked = world.look_up(users::GOOGLE).await;
    assert!(is_refused(&looked), "{looked:?}");
    assert_eq!(world.user_calls(), calls + 1, "the entry was evicted");
    // Until the user has logged in, or a purge forgets it.
    sleep(MINUTE).await;
    world.tenant.sign_on(users::GOOGLE);
    sleep(2 * SECOND).await;
    world.evict_all().await;
    sleep(MINUTE).await;
    assert!(world.look_up(users::GOOGLE).await.is_ok());
    world.report(users::GOOGLE, fingerprint);
    world.evict_all().await;
    world.cache().purge(&UserId::parse(users::GOOGLE).unwrap());
    assert!(world.look_up(users::GOOGLE).await.is_ok());
    world.report(users::GOOGLE, fingerprint);
    world.evict_all().await;
    world.cache().purge_all();
    assert!(world.look_up(users::GOOGLE).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_report_outlives_a_reload_that_leaves_less_room() {
    let world = World::reloadable("[cache]\nmax_bytes = \"64MiB\"").await;
    world.ready().await;
    let mut names = vec![users::GOOGLE.to_owned()];
    let fingerprint = world.fingerprint(users::GOOGLE, &Selector::default()).await;
    world.report(users::GOOGLE, fingerprint);
    for n in 0..40 {
        let id = format!("auth0|large-{n}");
        world.tenant.put_user(json!({"user_id": id, "identities": [
            {"connection": "c", "provider": "oauth2", "user_id": "1", "access_token": "t".repeat(100_000 + n)}]}));
        sleep(SECOND).await;
        let fingerprint = world.fingerprint(&id, &Selector::default()).await;
        world.report(&id, fingerprint);
        names.push(id);
    }
    let [changed, _] = world.reload("[cache]\nmax_bytes = \"1MiB\"\nmax_ttl = \"1m\"").await.unwrap();
    assert_eq!(changed.len(), 2, "{changed:?}");
    let (entries, _) = world.cache().size();
    assert!(entries < 20, "{entries}");
    for name in names {
        sleep(SECOND).await;
        let looked = world.look_up(&name).await;
        assert!(is_refused(&looked), "{name}: {looked:?}");
    }
}

/// Auth0 withholds all tokens while the Management token lacks a scope, and has no such user for a while: neither shows
/// that a token was replaced.
#[tokio::test(start_paused = true)]
async fn a_report_outlives_answers_that_carry_no_token() {
    let world = world("").await;
    let fingerprint = world.fingerprint(users::GOOGLE, &Selector::default()).await;
    world.report(users::GOOGLE, fingerprint);
    assert!(is_refused(&world.look_up(users::GOOGLE).await));
    let removed = world.tenant.remove_user(users::GOOGLE).unwrap();
    sleep(MINUTE).await;
    assert!(matches!(world.look_up(users::GOOGLE).await, Err(LookupError::UserNotFound)));
    world.tenant.put_user(removed);
    sleep(5 * MINUTE).await;
    let looked = world.look_up(users::GOOGLE).await;
    assert!(is_refused(&looked), "{looked:?}");
}

/// Nor does an answer that leaves the token out and carries one of another of the user's accounts.
#[tokio::test(start_paused = true)]
async fn a_report_outlives_an_answer_that_carries_another_accounts_token_alone() {
    let world = world("").await;
    let google = of("google-oauth2");
    let fingerprint = world.fingerprint(users::LINKED, &google).await;
    assert_eq!(world.report(users::LINKED, fingerprint), ReportOutcome::Dropped);
    assert!(is_refused(&world.look_up_with(users::LINKED, &google).await));
    let whole = world.tenant.user(users::LINKED).unwrap();
    let mut partial = whole.clone();
    partial["identities"][0].as_object_mut().unwrap().remove("access_token").unwrap();
    world.tenant.put_user(partial);
    sleep(11 * MINUTE).await;
    let looked = world.look_up_with(users::LINKED, &google).await;
    assert!(matches!(looked, Err(LookupError::NoToken { .. })), "{looked:?}");
    world.tenant.put_user(whole);
    sleep(5 * MINUTE).await;
    let looked = world.look_up_with(users::LINKED, &google).await;
    assert!(is_refused(&looked), "{looked:?}");
}

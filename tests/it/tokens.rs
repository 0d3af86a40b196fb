//! What is known of a token outlives the answer that told it: that it was refused, when it is over, and for how long the
//! machine's clocks stood still meanwhile. In virtual time.

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
use cloakroom::domain::error::LookupError;
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::priority::Flow;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions, users};
use cloakroom::secret::Tag;
use serde_json::json;
use support::world::{FLOW, Looked, World};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

async fn world(settings: &str) -> World {
    let world = World::simulated(TenantOptions::default(), settings).await;
    world.ready().await;
    world
}

fn is_refused(looked: &Looked) -> bool {
    matches!(looked, Err(LookupError::LoginRequired { expired_at: None, .. }))
}

fn is_over(looked: &Looked) -> bool {
    matches!(looked, Err(LookupError::LoginRequired { expired_at: Some(_), .. }))
}

fn of(connection: &str) -> Selector {
    Selector { connection: Some(connection.into()), ..Selector::default() }
}

impl World {
    fn user_calls(&self) -> usize {
        self.tenant.calls_to(Endpoint::User).len()
    }

    /// The name of `user`'s token, for which Auth0 may be asked.
    async fn fingerprint(&self, user: &str, selector: &Selector) -> Tag {
        let user = UserId::parse(user).unwrap();
        let served = self.cache().token(FLOW, &user, selector, LookupOptions::default()).await.unwrap();
        served.select(selector).unwrap().1.fingerprint
    }

    fn report(&self, user: &str, fingerprint: Tag) -> ReportOutcome {
        let (user, all) = (UserId::parse(user).unwrap(), Selector::default());
        self.cache().report(FLOW, &user, fingerprint, &all).unwrap()
    }

    /// What is asked of Auth0 now, for a caller who comes before anything else that the test does.
    async fn ask_afresh(&self, user: &str) -> Looked {
        let (user, all) = (UserId::parse(user).unwrap(), Selector::default());
        let served = self
            .cache()
            .token(FLOW, &user, &all, LookupOptions { fresh: true, ..LookupOptions::default() })
            .await?;
        Ok((served.select(&all).unwrap().1.access_token.expose().to_owned(), "fresh"))
    }

    /// `user`'s expiry as callers are told it, in seconds from now.
    async fn left(&self, user: &str) -> Option<u64> {
        let (user, all) = (UserId::parse(user).unwrap(), Selector::default());
        let served = self.cache().token(FLOW, &user, &all, LookupOptions::default()).await.unwrap();
        Some(served.select(&all).unwrap().1.expires?.remaining(self.clock.now()).as_secs())
    }

    /// Other users' entries take the place of all others.
    async fn evict_all(&self) {
        let token = "t".repeat(1_000);
        for n in 0..2_400 {
            let id = format!("auth0|made-up-{n}");
            self.tenant.put_user(json!({"user_id": id, "identities": [
                {"connection": "c", "provider": "oauth2", "user_id": "1", "access_token": token}]}));
            self.look_up_as(Flow::Uid(4_000), &id, &Selector::default()).await.unwrap();
            self.cache().size();
        }
    }
}

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

/// Guarantee 1. Single sign-on into another application moves `last_login`, and no token is any younger for it.
/// A user who is gone for one answer, or whose token is, comes back with it as it was.
#[tokio::test(start_paused = true)]
async fn an_answer_without_the_token_does_not_make_it_live_longer() {
    for is_gone in [true, false] {
        let world = world("[cache]\nmax_ttl = \"10m\"\nmin_ttl = \"0s\"").await;
        let (token, _) = world.look_up(users::GOOGLE).await.unwrap();
        let left = world.left(users::GOOGLE).await.unwrap();
        let whole = world.tenant.user(users::GOOGLE).unwrap();
        let mut bare = whole.clone();
        bare["identities"][0].as_object_mut().unwrap().remove("access_token").unwrap();
        match is_gone {
            true => assert!(world.tenant.remove_user(users::GOOGLE).is_some()),
            false => assert!(world.tenant.put_user(bare)),
        }
        sleep(11 * MINUTE).await;
        world.look_up(users::GOOGLE).await.unwrap_err();
        sleep(2 * MINUTE).await;
        world.look_up(users::GOOGLE).await.unwrap_err();
        world.tenant.put_user(whole);
        world.tenant.sign_on(users::GOOGLE);
        sleep(2 * MINUTE).await;
        assert_eq!(world.look_up(users::GOOGLE).await, Ok((token, "miss")));
        assert_eq!(world.left(users::GOOGLE).await, Some(left - 15 * 60), "{is_gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_brings_the_same_token_makes_it_live_no_longer() {
    let world = world("[cache]\nmax_ttl = \"10m\"\nmin_ttl = \"0s\"").await;
    let (token, _) = world.look_up(users::GOOGLE).await.unwrap();
    let left = world.left(users::GOOGLE).await.unwrap();
    for _ in 0..5 {
        sleep(9 * MINUTE).await;
        world.tenant.sign_on(users::GOOGLE);
        assert_eq!(world.ask_afresh(users::GOOGLE).await.unwrap().0, token);
    }
    assert_eq!(world.left(users::GOOGLE).await, Some(left - 45 * 60));
    sleep(Duration::from_secs(left - 45 * 60)).await;
    let looked = world.look_up(users::GOOGLE).await;
    assert!(is_over(&looked), "{looked:?}");
    sleep(MINUTE).await;
    assert!(is_over(&world.look_up(users::GOOGLE).await));
    // A purge forgets it, and a token that is another one has its own.
    let new = world.tenant.login(users::GOOGLE, "google-oauth2").unwrap();
    sleep(MINUTE).await;
    assert_eq!(world.look_up(users::GOOGLE).await, Ok((new, "miss")));
    sleep(9 * MINUTE).await;
    world.tenant.sign_on(users::GOOGLE);
    world.ask_afresh(users::GOOGLE).await.unwrap();
    let kept = world.left(users::GOOGLE).await.unwrap();
    world.cache().purge(&UserId::parse(users::GOOGLE).unwrap());
    assert_eq!(world.left(users::GOOGLE).await, Some(kept + 10 * 60));
}

#[tokio::test(start_paused = true)]
async fn a_known_expiry_is_not_lost_where_a_later_answer_states_none() {
    let world = world("[cache]\nmax_ttl = \"10m\"\nmin_ttl = \"0s\"").await;
    let left = world.left(users::GOOGLE).await.unwrap();
    let mut user = world.tenant.user(users::GOOGLE).unwrap();
    user["identities"][0].as_object_mut().unwrap().remove("expires_in");
    world.tenant.put_user(user);
    sleep(MINUTE).await;
    world.ask_afresh(users::GOOGLE).await.unwrap();
    assert_eq!(world.left(users::GOOGLE).await, Some(left - 60));
    sleep(HOUR).await;
    let looked = world.look_up(users::GOOGLE).await;
    assert!(is_over(&looked), "{looked:?}");
}

/// Where no date is stated, it does not matter what this machine's wall clock said when the token was first seen.
#[tokio::test(start_paused = true)]
async fn a_span_counts_from_the_first_answer_whatever_the_wall_clock_said_then() {
    for off in [-86_400_000_i64, 0, 86_400_000] {
        let world = world("[cache]\nmax_ttl = \"10m\"").await;
        let right = world.clock.now().wall.as_millis();
        world.clock.step_wall(Timestamp::from_millis(right + off));
        let first = world.left(users::NO_LOGIN).await.unwrap();
        assert!((3_598..=3_600).contains(&first), "{off}: {first}");
        sleep(20 * MINUTE).await;
        world.clock.step_wall(Timestamp::from_millis(right + 1_200_000));
        for minutes in [20, 32, 44] {
            let calls = world.user_calls();
            assert!(world.look_up(users::NO_LOGIN).await.is_ok(), "{off} {minutes}");
            assert_eq!(world.user_calls(), calls + 1, "{off} {minutes}");
            let left = world.left(users::NO_LOGIN).await.unwrap();
            assert!((first - minutes * 60).abs_diff(left) <= 1, "{off} {minutes}: {left}");
            sleep(12 * MINUTE).await;
        }
        sleep(5 * MINUTE).await;
        assert!(is_over(&world.look_up(users::NO_LOGIN).await), "{off}");
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

// One user's failure.

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_for_one_user_lets_no_other_be_served_unasked() {
    let status = |status, body: &str| Fault::Status { status, headers: Vec::new(), body: body.into() };
    for fault in
        [status(500, "{}"), status(503, "<html>"), Fault::Html200, Fault::Empty200, status(404, "no")]
    {
        let world = world("[cache]\nmax_ttl = \"100s\"\n[upstream]\nmax_retries = 0").await;
        world.look_up(users::GOOGLE).await.unwrap();
        sleep(101 * SECOND).await;
        world.tenant.fault_next(Endpoint::User, 1, fault.clone());
        world.look_up(users::JOHN).await.unwrap_err();
        world.tenant.block(users::GOOGLE);
        let looked = world.look_up(users::GOOGLE).await;
        assert_eq!(looked, Err(LookupError::UserBlocked), "{fault:?}");
    }
}

/// Guarantee 3: a real outage is still found out once, and any answer is the end of it.
#[tokio::test(start_paused = true)]
async fn no_answer_at_all_speaks_for_everybody_until_there_is_one_of_any_kind() {
    for fault in [Fault::RefuseConnections, Fault::StallHeaders, Fault::ResetWhileReading] {
        let world = world("[cache]\nmax_ttl = \"100s\"\n[upstream]\nmax_retries = 0").await;
        for user in [users::GOOGLE, users::JOHN, users::GITHUB] {
            world.look_up(user).await.unwrap();
        }
        sleep(101 * SECOND).await;
        world.tenant.fault(Endpoint::User, fault.clone());
        world.look_up(users::ENTRA).await.unwrap_err();
        let asked = tokio::time::Instant::now();
        assert_eq!(world.look_up(users::GOOGLE).await.unwrap().1, "stale", "{fault:?}");
        assert_eq!(asked.elapsed(), Duration::ZERO, "{fault:?}");
        sleep(MINUTE).await;
        world.tenant.clear_all();
        world.tenant.fault_next(Endpoint::User, 1, Fault::Edge503Html);
        world.look_up("google-oauth2|another").await.unwrap_err();
        assert_eq!(world.look_up(users::GITHUB).await.unwrap().1, "miss", "{fault:?}");
    }
}

// Clocks that stood still.

/// Guarantee 1. A virtual machine was paused: neither of its clocks counted the time, and Auth0's did.
#[tokio::test(start_paused = true)]
async fn what_was_cached_before_the_clocks_stood_still_is_judged_by_the_time_that_was_lost() {
    let world = world("[cache]\nmax_ttl = \"10m\"").await;
    world.look_up(users::GOOGLE).await.unwrap();
    world.look_up(users::GITHUB).await.unwrap();
    sleep(MINUTE).await;
    world.tenant_clock.suspend(8 * HOUR);
    // Nothing on this machine tells of it, until Auth0 answers.
    world.look_up(users::ENTRA).await.unwrap_err();
    let (looked, github) = (world.look_up(users::GOOGLE).await, world.look_up(users::GITHUB).await);
    assert!(is_over(&looked), "{looked:?}");
    assert_eq!(github.unwrap().1, "miss", "its entry is 8 hours old, too");
    assert_eq!(world.look_up(users::GITHUB).await.unwrap().1, "hit", "what has just been asked for is not");
}

/// A report and a flight are in their order whatever the clocks turn out to have missed, and so are a login and a report.
#[tokio::test(start_paused = true)]
async fn lost_time_that_is_noticed_after_a_report_neither_lifts_it_nor_passes_for_an_answer() {
    let world = world("").await;
    let fingerprint = world.fingerprint(users::GOOGLE, &Selector::default()).await;
    sleep(MINUTE).await;
    world.tenant_clock.suspend(MINUTE);
    world.tenant.sign_on(users::GOOGLE);
    world.tenant_clock.suspend(MINUTE);
    world.tenant.fault_next(Endpoint::User, 1, Fault::LateAnswer(SECOND));
    let calls = world.user_calls();
    let (_, ()) = tokio::join!(world.ask_afresh(users::GOOGLE), async {
        sleep(SECOND / 2).await;
        assert_eq!(world.report(users::GOOGLE, fingerprint), ReportOutcome::Dropped);
    });
    assert!(world.clock.lost() > MINUTE, "it is noticed");
    assert!(is_refused(&world.look_up(users::GOOGLE).await));
    assert_eq!(world.user_calls(), calls + 2, "Auth0 is asked after the report");
    sleep(MINUTE).await;
    assert!(is_refused(&world.look_up(users::GOOGLE).await));
    sleep(5 * MINUTE).await;
    world.tenant.sign_on(users::GOOGLE);
    sleep(MINUTE).await;
    assert!(world.look_up(users::GOOGLE).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_died_while_the_clocks_stood_still_is_not_served_in_an_outage() {
    let world = world("[cache]\nmax_ttl = \"10m\"\nmax_stale = \"24h\"").await;
    world.look_up(users::GOOGLE).await.unwrap();
    world.tenant_clock.suspend(2 * HOUR);
    world.look_up(users::GITHUB).await.unwrap();
    world.tenant.fault(Endpoint::User, Fault::RefuseConnections);
    let looked = world.look_up(users::GOOGLE).await;
    assert!(matches!(looked, Err(LookupError::Unavailable(_))), "{looked:?}");
    assert_eq!(world.look_up(users::GITHUB).await.unwrap().1, "hit");
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_wall_clock_is_no_lost_time() {
    let world = world("[cache]\nmax_ttl = \"10m\"").await;
    world.look_up(users::GITHUB).await.unwrap();
    for off in [-86_400_000_i64, 86_400_000] {
        world.clock.step_wall(Timestamp::from_millis(world.clock.now().wall.as_millis() + off));
        world.look_up(users::ENTRA).await.ok();
        assert_eq!(world.look_up(users::GITHUB).await.unwrap().1, "hit", "{off}");
        world.cache().purge(&UserId::parse(users::ENTRA).unwrap());
    }
    assert_eq!(world.clock.lost(), Duration::ZERO);
}

/// The page of an edge is dated by a clock that nothing here goes by.
#[tokio::test(start_paused = true)]
async fn a_page_of_an_edge_tells_nothing_of_lost_time() {
    let world = world("[upstream]\nmax_retries = 0").await;
    world.look_up(users::GOOGLE).await.unwrap();
    world.tenant_clock.suspend(HOUR);
    for fault in [Fault::Edge503Html, Fault::Html200] {
        world.tenant.fault_next(Endpoint::User, 1, fault);
        world.look_up(users::GITHUB).await.unwrap_err();
        sleep(MINUTE).await;
    }
    assert_eq!(world.clock.lost(), Duration::ZERO);
    world.look_up(users::GITHUB).await.unwrap();
    assert!(world.clock.lost() >= HOUR && world.clock.lost() < HOUR + 4 * SECOND, "{:?}", world.clock.lost());
}

//! Reloading in virtual time: what is new counts at once, and what was cached or counted is kept.

use std::fs;
use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault, TenantOptions, WaitHint, users};
use cloakroom::secret::Secret;

use crate::support::world::World;

#[tokio::test(start_paused = true)]
async fn a_new_secret_that_is_refused_does_not_cost_the_old_one() {
    let world = World::reloadable("").await;
    world.ready().await;
    assert!(world.look_up(users::GOOGLE).await.is_ok());
    let secret = world.directory.path().join("secret");
    fs::write(&secret, "too-early").unwrap();
    assert_eq!(world.reload("").await, Ok([vec!["tenant.client.secret".into()], vec![]]));
    let grant = async || {
        world.tenant.revoke_management_tokens();
        world.cache().purge_all();
        let found = world.look_up(users::GOOGLE).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        found.is_ok()
    };
    let statuses = || -> Vec<u16> {
        let calls = world.tenant.calls_to(Endpoint::Token);
        calls.iter().map(|call| call.status.unwrap().as_u16()).collect()
    };
    assert!(grant().await, "the secret before is tried once where the new one is refused");
    assert_eq!(statuses(), [200, 401, 200]);
    // The new one is accepted at last: from then on nothing else is tried.
    world.tenant.rotate_client_secret(Secret::new("too-early"));
    assert!(grant().await);
    assert_eq!(statuses(), [200, 401, 200, 200]);
    world.tenant.rotate_client_secret(Secret::new("another"));
    assert!(!grant().await);
    assert_eq!(statuses()[..5], [200, 401, 200, 200, 401]);
    assert!(statuses()[5..].iter().all(|status| *status == 401));
}

#[tokio::test(start_paused = true)]
async fn entries_outlive_new_bounds_and_are_judged_by_them() {
    let world = World::reloadable("[cache]\nmax_ttl = \"1m\"\nmax_stale = \"1m\"\nrefresh_ahead = 0\n").await;
    world.ready().await;
    let token = world.look_up(users::GOOGLE).await.unwrap().0;
    assert_eq!(
        world
            .reload(
                "[cache]\nmax_ttl = \"1m\"\nmax_stale = \"30m\"\nrefresh_ahead = 0\nmax_bytes = \"8MiB\"\n"
            )
            .await,
        Ok([vec!["cache.max_bytes".into(), "cache.max_stale".into()], vec![]])
    );
    assert_eq!(world.look_up(users::GOOGLE).await, Ok((token.clone(), "hit")));
    // The worst night: Auth0 is down, and what is cached is to be served for longer than was configured.
    world.tenant.fault(Endpoint::User, Fault::RefuseConnections);
    tokio::time::sleep(Duration::from_secs(20 * 60)).await;
    assert_eq!(world.look_up(users::GOOGLE).await, Ok((token.clone(), "stale")));
    // And back: the same entry is too old by the old rules.
    world.reload("[cache]\nmax_ttl = \"1m\"\nmax_stale = \"1m\"\nrefresh_ahead = 0\n").await.unwrap();
    assert!(world.look_up(users::GOOGLE).await.is_err());
    world.tenant.clear_all();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.look_up(users::GOOGLE).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_new_budget_counts_at_once_and_gives_nobody_a_second_burst() {
    let budget = |rate: u32, burst: u32| {
        format!("[upstream]\nrequests_per_second = {rate}\nburst = {burst}\nmax_retries = 0\n")
    };
    let world = World::reloadable(&budget(1, 4)).await;
    world.ready().await;
    let ask = async |number: usize| world.look_up(&format!("auth0|nobody-{number}")).await;
    let calls = || world.tenant.calls_to(Endpoint::User).len();
    for number in 0..3 {
        assert!(ask(number).await.is_err());
    }
    assert_eq!(calls(), 3, "the grant was the fourth");
    // Nothing is left, whatever there might be.
    for burst in [6, 2, 6] {
        world.reload(&budget(1, burst)).await.unwrap();
    }
    let begun = tokio::time::Instant::now();
    ask(3).await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    // And what is gained from now on is as fast as the new rate.
    world.reload(&budget(100, 6)).await.unwrap();
    let begun = tokio::time::Instant::now();
    for number in 4..14 {
        ask(number).await.unwrap_err();
    }
    assert_eq!(calls(), 14);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn everything_that_can_change_does_and_the_rest_is_named() {
    let world = World::reloadable("").await;
    world.ready().await;
    let path = world.socket.display().to_string();
    let settings = format!(
        "connect_timeout = \"1s\"\nrequest_timeout = \"4s\"\n[management]\nrefresh_at = 0.5\nmin_ttl = \"10s\"\n\
         [cache]\nmax_bytes = \"1MiB\"\nmax_ttl = \"1m\"\nmax_stale = \"2m\"\nmin_ttl = \"3s\"\nrefresh_ahead = 0.5\n\
         [cache.negative]\nuser_not_found = \"1s\"\nno_token = \"2s\"\nlogin_required = \"3s\"\n\
         [upstream]\nrequests_per_second = 1\nburst = 2\nmax_concurrency = 3\nmax_retries = 0\n\
         [me]\naudiences = [\"https://api.example\"]\nissuers = [\"https://login.example\"]\n[shutdown]\nmin_delay = \"1s\"\ndeadline = \"2s\"\n\
         [admin]\naddress = \"127.0.0.1:1\"\n[log]\nlevel = \"warn\"\nformat = \"text\"\nuser_ids = \"plain\"\n\
         [runtime]\nthreads = 2\nlock_memory = true\n\
         [[listener]]\npath = \"{path}\"\nmode = \"0660\"\nmax_connections = 7\nrequire_request_header = false\n\
         [[listener.allow]]\nuid = 0\n[[listener]]\npath = \"{path}-second\"\n"
    );
    let [changed, needs_restart] = world.reload(&settings).await.unwrap();
    assert_eq!(
        changed,
        [
            "tenant.connect_timeout",
            "tenant.request_timeout",
            "management.refresh_at",
            "management.min_ttl",
            "cache.max_bytes",
            "cache.max_ttl",
            "cache.max_stale",
            "cache.min_ttl",
            "cache.refresh_ahead",
            "cache.negative.user_not_found",
            "cache.negative.no_token",
            "cache.negative.login_required",
            "upstream.requests_per_second",
            "upstream.burst",
            "upstream.max_concurrency",
            "upstream.max_retries",
            "me.audiences",
            "me.issuers",
            "shutdown.min_delay",
            "shutdown.deadline",
            "log.level",
            "listener.0.require_request_header",
            "listener.0.allow",
        ]
    );
    assert_eq!(
        needs_restart,
        [
            "listener.0.mode",
            "listener.0.max_connections",
            "listener.1",
            "admin.address",
            "log.format",
            "log.user_ids",
            "runtime.threads",
            "runtime.lock_memory",
        ]
    );
    // A user's own token is asked for now, where that was off before.
    let got = world.send("GET", "/v1/me/token", &[]).await;
    assert_eq!(
        got.problem().1,
        if nix::unistd::geteuid().is_root() { "invalid_user_token" } else { "forbidden" }
    );
    let [changed, needs_restart] = world.reload("").await.unwrap();
    assert_eq!((changed.len(), needs_restart.len()), (23, 0));
    assert_eq!(
        world.send("GET", "/v1/me/token", &[("cloakroom-request", "true")]).await.problem().1,
        "route_not_found"
    );
}

#[tokio::test(start_paused = true)]
async fn only_root_and_the_daemons_own_uid_reload_over_http() {
    let world = World::simulated(TenantOptions::default(), "").await;
    let got = world.send("GET", "/v1/reload", &[("cloakroom-request", "true")]).await;
    assert_eq!(got.problem(), (405, "method_not_allowed".into()));
    let got = world.send("POST", "/v1/reload", &[("cloakroom-request", "true")]).await;
    assert_eq!(got.problem(), (422, "invalid_configuration".into()));
    assert_eq!(got.json()["problems"].as_array().unwrap().len(), 1, "this one has no file to read again");
}

/// One tenant's secret is never sent to another's domain, whatever else is right about the new configuration.
#[tokio::test(start_paused = true)]
async fn another_tenant_is_refused_with_everything_that_came_with_it() {
    let world = World::reloadable("").await;
    world.ready().await;
    fs::write(world.directory.path().join("secret"), "the-other-tenants").unwrap();
    let problems = world.reload_as("other.example", "[cache]\nmax_ttl = \"1m\"\n").await.unwrap_err();
    assert!(problems.len() == 1 && problems[0].contains("restart it for another"), "{problems:?}");
    world.tenant.revoke_management_tokens();
    assert!(world.look_up(users::GOOGLE).await.is_ok(), "the old client goes on");
    assert!(world.tenant.calls_to(Endpoint::Token).iter().all(|call| call.status.unwrap() == 200));
}

/// What comes while nothing is known of new credentials is asked with the old ones; what is refused then is asked again.
#[tokio::test(start_paused = true)]
async fn credentials_that_come_during_a_grant_are_tried_when_that_fails() {
    let world = World::reloadable("").await;
    world.tenant.rotate_client_secret(Secret::new("mended"));
    world.tenant.fault_next(Endpoint::Token, 1, Fault::Latency(Duration::from_secs(3)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    fs::write(world.directory.path().join("secret"), "mended").unwrap();
    world.reload("").await.unwrap();
    let begun = tokio::time::Instant::now();
    world.running.services().management.obtained().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// What was wrong may have been mended in Auth0's dashboard, of which the daemon is told by nobody but the person.
#[tokio::test(start_paused = true)]
async fn a_reload_that_changes_nothing_tries_a_grant_that_was_refused_at_once() {
    let world = World::reloadable("").await;
    let grants = || world.tenant.calls_to(Endpoint::Token).len();
    world.tenant.set_client_grant(false);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(grants(), 1);
    assert_eq!(world.reload("").await, Ok([vec![], vec![]]));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(grants(), 2, "tried, and refused again");
    // As often as it is asked to, and no more than once a second.
    for _ in 0..50 {
        world.reload("").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!((6..=8).contains(&grants()), "{} in five seconds", grants());
    world.tenant.set_client_grant(true);
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.reload("").await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(world.look_up(users::GOOGLE).await.is_ok());
    // With a token that is good nothing is asked for.
    let before = grants();
    world.reload("").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(grants(), before);
}

/// The same where grants are given, and the tokens that they bring may not read users.
#[tokio::test(start_paused = true)]
async fn a_reload_that_changes_nothing_ends_the_pause_after_refused_tokens() {
    let world = World::reloadable("").await;
    world.ready().await;
    world.tenant.grant_scopes(&["read:clients"]);
    world.tenant.revoke_management_tokens();
    for _ in 0..4 {
        assert!(world.look_up(users::GOOGLE).await.is_err());
        tokio::time::sleep(Duration::from_secs(100)).await;
    }
    assert!(world.look_up(users::GOOGLE).await.is_err());
    world.tenant.grant_scopes(&["read:users", "read:user_idp_tokens"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.look_up(users::GOOGLE).await.is_err(), "the pause goes on by itself");
    world.reload("").await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(world.look_up(users::GOOGLE).await.is_ok());
}

/// When Auth0 has said when to come back, a person is no reason to come back sooner.
#[tokio::test(start_paused = true)]
async fn a_reload_does_not_ask_for_a_grant_before_auth0_said_to() {
    let world = World::reloadable("").await;
    let fault = Fault::EdgePage { status: 503, wait: WaitHint::Seconds(40) };
    world.tenant.fault_next(Endpoint::Token, 1, fault);
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.reload("").await.unwrap();
    tokio::time::sleep(Duration::from_secs(34)).await;
    assert_eq!(world.tenant.calls_to(Endpoint::Token).len(), 1);
    world.running.services().management.obtained().await;
}

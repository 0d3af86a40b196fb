//! What each answer of the vault becomes.

use std::collections::HashSet;
use std::time::Duration;

use cloakroom::domain::source::{SourceFailure, SourceFault};
use cloakroom::fake_auth0::{ConnectedAccount, Endpoint, ExpiresIn, Fault, Refreshing, WaitHint, users};

use super::{Exchanged, GITHUB, GOOGLE, HOUR, Outcome, World, outcome, token};

#[tokio::test(start_paused = true)]
async fn an_exchange_brings_the_stored_token_and_a_refreshed_one_after_it_has_expired() {
    let world = World::new("");
    let first = world.issued().await;
    assert_eq!(first.access_token.expose(), "vault-google-oauth2-1035-1");
    assert_eq!(first.expires_in, Some(HOUR));
    assert_eq!(first.scopes.as_deref(), Some("email calendar"));
    world.pass(HOUR - Duration::from_secs(3));
    let again = world.issued().await;
    assert_eq!(again.access_token, first.access_token);
    assert_eq!(again.expires_in, Some(Duration::from_secs(3)));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.exchange().await, token(2));
    assert_eq!(world.calls(), 3);

    let log = world.tenant.exchanges();
    let ids: HashSet<_> = log.iter().map(|exchange| exchange.jti.clone().unwrap()).collect();
    assert_eq!(ids.len(), 3, "each request has a subject token of its own");
    for exchange in log {
        assert_eq!(exchange.user_id.as_deref(), Some(users::GOOGLE));
        assert_eq!(exchange.audit_context.as_deref(), Some("cloakroom"));
        assert_eq!((exchange.connection.as_str(), exchange.error), (GOOGLE, None));
    }
    assert!(world.tenant.assertions().iter().all(|assertion| assertion.verdict == Some(Ok(()))));
    assert_eq!(world.counters.exchange_requests.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn scopes_may_be_separated_by_commas() {
    let world = World::new("");
    world.tenant.change_vault(|vault| vault.scope_separator = ",");
    assert_eq!(world.issued().await.scopes.as_deref(), Some("email calendar"));
}

#[tokio::test(start_paused = true)]
async fn the_hint_names_one_of_two_accounts() {
    let world = World::new("");
    let second = world.connect(users::GOOGLE, GOOGLE, "2046");
    let of = async |hint| outcome(world.exchange_for(users::GOOGLE, GOOGLE, hint).await);
    assert_eq!(of(Some("1035")).await, token(1));
    assert_eq!(of(Some("2046")).await, Outcome::Token(second.clone()));
    assert_eq!(of(None).await, Outcome::Token(second), "the vault chooses");
    assert_eq!(of(Some("3057")).await, Outcome::NotConnected);
    let hints: Vec<_> = world.tenant.exchanges().into_iter().map(|exchange| exchange.login_hint).collect();
    assert_eq!(hints, [Some("1035"), Some("2046"), None, Some("3057")].map(|hint| hint.map(str::to_owned)));
}

#[tokio::test(start_paused = true)]
async fn a_user_without_an_account_or_without_a_refresh_token_has_to_connect_one() {
    let world = World::new("");
    assert_eq!(outcome(world.exchange_for(users::GOOGLE, GITHUB, None).await), Outcome::NotConnected);
    assert_eq!(outcome(world.exchange_for(users::JOHN, GOOGLE, None).await), Outcome::NotConnected);
    let mut account = ConnectedAccount::new(users::GOOGLE, GITHUB, "9919", &["email"]);
    account.refreshing = Refreshing::Absent;
    world.tenant.connect_account(account);
    let github = async || outcome(world.exchange_for(users::GOOGLE, GITHUB, None).await);
    assert_eq!(github().await, Outcome::Token("vault-github-9919-2".into()));
    world.pass(HOUR);
    let (found, cost) = world.cost(github()).await;
    assert_eq!((found, cost), (Outcome::NotConnected, 1), "and that is not retried");
}

#[tokio::test(start_paused = true)]
async fn every_code_becomes_one_outcome() {
    let refused = |status: u16, code: &str| Fault::Status {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: format!(r#"{{"error":"{code}","error_description":"canary"}}"#),
    };
    for (status, code, expected) in [
        (401, "federated_connection_refresh_token_not_found", Outcome::NotConnected),
        (
            401,
            "federated_connection_refresh_token_flow_failed",
            Outcome::Failure(SourceFailure::NotRefreshed),
        ),
        (401, "invalid_client", Outcome::Fault(SourceFault::VaultClient)),
        (401, "access_denied", Outcome::Fault(SourceFault::VaultAccess)),
        (403, "access_denied", Outcome::Fault(SourceFault::VaultAccess)),
        (403, "unauthorized_client", Outcome::Fault(SourceFault::VaultGrant)),
        (400, "unsupported_grant_type", Outcome::Fault(SourceFault::VaultGrant)),
        (400, "invalid_request", Outcome::Fault(SourceFault::VaultRequest)),
        (403, "invalid_grant", Outcome::Fault(SourceFault::VaultRequest)),
        (403, "mfa_required", Outcome::Fault(SourceFault::VaultMfa)),
    ] {
        let world = World::new("");
        world.tenant.fault(Endpoint::Exchange, refused(status, code));
        let found = world.exchange().await;
        assert_eq!(found, expected, "{status} {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_retried_within_the_timeout_and_is_no_verdict_about_the_user() {
    let host = || "tenant.example".into();
    let (timed_out, status) = (
        || SourceFailure::TimedOut { host: host() },
        |status| SourceFailure::Status { host: host(), status },
    );
    let unreachable = |cause| SourceFailure::Unreachable { host: host(), cause };
    let malformed = |what| SourceFailure::Malformed { host: host(), what };
    let not_json = malformed("a body that is not JSON as documented");
    for (fault, expected, cost) in [
        (Fault::Edge503Html, status(503), 3),
        (Fault::EdgePage { status: 502, wait: WaitHint::None }, status(502), 3),
        (Fault::EdgePage { status: 403, wait: WaitHint::None }, status(403), 3),
        (Fault::GatewayJson { status: 401 }, status(401), 3),
        (Fault::EdgePage { status: 503, wait: WaitHint::Seconds(30) }, status(503), 1),
        (Fault::StallHeaders, timed_out(), 1),
        (Fault::StallBody, timed_out(), 1),
        (Fault::RefuseConnections, unreachable("nothing listens there"), 3),
        (Fault::ResetWhileReading, unreachable("it closed the connection before its answer was complete"), 3),
        (Fault::Html200, not_json.clone(), 3),
        (Fault::Empty200, malformed("an empty body"), 3),
        (
            Fault::Redirect("https://elsewhere.example/".into()),
            malformed("a redirect, which is never followed; check tenant.domain"),
            1,
        ),
        (Fault::ExpiresIn(ExpiresIn::Zero), malformed("a token that has expired"), 3),
        (Fault::ExpiresIn(ExpiresIn::Negative), malformed("a token that has expired"), 3),
        (Fault::TokenEndsIn(" x"), malformed("an access token that cannot be sent in a header"), 3),
    ] {
        let world = World::new("");
        world.tenant.fault(Endpoint::Exchange, fault.clone());
        let begun = tokio::time::Instant::now();
        let (found, calls) = world.cost(world.exchange()).await;
        assert_eq!((found, calls), (Outcome::Failure(expected), cost), "{fault:?}");
        assert!(begun.elapsed() <= world.config.tenant.request_timeout, "{fault:?}");
        world.tenant.clear(Endpoint::Exchange);
        assert_eq!(world.exchange().await, token(1), "{fault:?}");
        assert!(
            world.tenant.assertions().iter().all(|one| one.verdict.is_none_or(|verdict| verdict.is_ok()))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_costs_a_retry_with_tokens_of_its_own() {
    let world = World::new("");
    world.tenant.fault_next(Endpoint::Exchange, 2, Fault::Edge503Html);
    let (found, calls) = world.cost(world.exchange()).await;
    assert_eq!((found, calls), (token(1), 3));
    let ids: HashSet<_> = world.tenant.assertions().into_iter().map(|assertion| assertion.jti).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn lifetimes_in_every_form_are_read() {
    for (kind, expires_in) in [
        (ExpiresIn::Text, Some(3_600)),
        (ExpiresIn::Missing, None),
        (ExpiresIn::Huge, Some(1_000_000_000_000_000_000)),
    ] {
        let world = World::new("");
        world.tenant.fault(Endpoint::Exchange, Fault::ExpiresIn(kind));
        assert_eq!(world.issued().await.expires_in.map(|span| span.as_secs()), expires_in, "{kind:?}");
    }
}

/// The time that an answer takes may be the token's.
#[tokio::test(start_paused = true)]
async fn a_lifetime_counts_from_when_the_request_was_sent() {
    let world = World::new("");
    world.tenant.fault(Endpoint::Exchange, Fault::LateAnswer(Duration::from_secs(2)));
    assert_eq!(world.issued().await.expires_in, Some(HOUR - Duration::from_secs(2)));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_is_tried_once_more_and_passes() {
    let world = World::new("");
    world.issued().await;
    world.pass(HOUR);
    world.tenant.set_refreshing(GOOGLE, Refreshing::Fails);
    let (found, calls) = world.cost(world.exchange()).await;
    assert_eq!((found, calls), (Outcome::Failure(SourceFailure::NotRefreshed), 2));
    world.tenant.set_refreshing(GOOGLE, Refreshing::Works);
    assert_eq!(world.exchange().await, token(2));
}

/// Asks for a user at each of these minutes, and returns the one at which the user has to connect an account.
async fn until_over(
    world: &World,
    user: &str,
    minutes: impl Iterator<Item = u64>,
    mut also: impl AsyncFnMut(u64),
) -> Option<u64> {
    let mut now = 0;
    for minute in minutes {
        world.pass(Duration::from_secs(60 * (minute - std::mem::replace(&mut now, minute))));
        also(minute).await;
        match world.exchange_for(user, GOOGLE, None).await {
            Exchanged::NotConnected => return Some(minute),
            Exchanged::Failed { failure: SourceFailure::NotRefreshed, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn a_user_whose_refreshes_fail_for_minutes_while_others_succeed_has_to_connect() {
    let world = World::new("");
    let (revoked, other) = (world.enrol(1), world.enrol(2));
    for user in [&revoked, &other] {
        assert!(matches!(world.exchange_for(user, GOOGLE, None).await, Exchanged::Issued(_)));
    }
    world.pass(HOUR);
    let mut account = ConnectedAccount::new(&revoked, GOOGLE, "1", &[]);
    (account.refreshing, account.lifetime) = (Refreshing::Fails, Duration::ZERO);
    world.tenant.connect_account(account);
    let over = until_over(&world, &revoked, 0..30, async |minute| {
        if minute == 2 {
            assert!(matches!(world.exchange_for(&other, GOOGLE, None).await, Exchanged::Issued(_)));
        }
    });
    assert_eq!(over.await, Some(5));
    world.connect(&revoked, GOOGLE, "1");
    assert!(
        matches!(world.exchange_for(&revoked, GOOGLE, None).await, Exchanged::Issued(_)),
        "connected again"
    );
}

/// An operator's mistake, such as a wrong client secret of the connection, asks nothing of users.
#[tokio::test(start_paused = true)]
async fn where_refreshes_fail_for_all_users_none_has_to_connect() {
    let world = World::new("");
    let users = [world.enrol(1), world.enrol(2), world.enrol(3)];
    for user in &users {
        assert!(matches!(world.exchange_for(user, GOOGLE, None).await, Exchanged::Issued(_)));
    }
    world.pass(HOUR);
    world.tenant.set_refreshing(GOOGLE, Refreshing::Fails);
    let [first, others @ ..] = &users;
    let over = until_over(&world, first, (0..24 * 60).step_by(5), async |_| {
        for user in others {
            let exchanged = world.exchange_for(user, GOOGLE, None).await;
            assert!(matches!(exchanged, Exchanged::Failed { .. }), "{exchanged:?}");
        }
    });
    assert_eq!(over.await, None);
    world.tenant.set_refreshing(GOOGLE, Refreshing::Works);
    for user in &users {
        assert!(matches!(world.exchange_for(user, GOOGLE, None).await, Exchanged::Issued(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_only_user_has_to_connect_after_an_hour() {
    let world = World::new("");
    world.issued().await;
    world.pass(HOUR);
    world.tenant.set_refreshing(GOOGLE, Refreshing::Fails);
    assert_eq!(until_over(&world, users::GOOGLE, 0..120, async |_| {}).await, Some(60));
}

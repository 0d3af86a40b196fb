//! What a misconfiguration costs, and how it ends.

use std::time::Duration;

use crate::support::futures::join_all;
use cloakroom::domain::source::SourceFault;
use cloakroom::fake_auth0::{ClientKeyPair, Endpoint, Fault, KeyUse, VaultSettings, users};

use super::{Exchanged, GITHUB, GOOGLE, Outcome, World, outcome, signing_key, token};

type Change = fn(&mut VaultSettings);

/// Settings that an operator gets wrong, each with the fault that names it.
const MISTAKES: [(Change, SourceFault); 7] = [
    (|vault| vault.grant_type_allowed = false, SourceFault::VaultGrant),
    (|vault| vault.oidc_conformant = false, SourceFault::VaultGrant),
    (|vault| vault.first_party = false, SourceFault::VaultGrant),
    (|vault| vault.ip_allowlist = vec!["198.51.100.0/24".into()], SourceFault::VaultAccess),
    (|vault| vault.grants.clear(), SourceFault::VaultAccess),
    (|vault| vault.enabled.clear(), SourceFault::VaultAccess),
    (|vault| vault.always_mfa = true, SourceFault::VaultMfa),
];

fn allow(vault: &mut VaultSettings) {
    *vault = VaultSettings::default();
    vault.allow(&[GOOGLE, GITHUB], &["email", "calendar"]);
}

#[tokio::test(start_paused = true)]
async fn a_misconfiguration_costs_a_few_requests_however_many_users_ask() {
    let world = World::new("");
    let users: Vec<_> = (0..1_000).map(|number| world.enrol(number)).collect();
    for (at, (change, fault)) in MISTAKES.into_iter().enumerate() {
        world.tenant.change_vault(change);
        let (outcomes, calls) =
            world.cost(join_all(users.iter().map(|user| world.exchange_for(user, GOOGLE, None)))).await;
        for exchanged in outcomes {
            assert_eq!(outcome(exchanged), Outcome::Fault(fault.clone()), "case {at}");
        }
        // Those that were under way when the first was refused.
        assert!(calls <= world.config.upstream.max_concurrency as usize, "case {at}: {calls} calls");
        // A day with a lookup every ten seconds.
        let mut later = 0;
        for second in (0..3_600).step_by(10) {
            let user = &users[second % users.len()];
            let (exchanged, calls) = world.cost(world.exchange_for(user, GOOGLE, None)).await;
            assert_eq!(outcome(exchanged), Outcome::Fault(fault.clone()), "case {at}");
            later += calls;
            world.pass(Duration::from_secs(10));
        }
        assert!((30..=120).contains(&later), "case {at}: {later} calls in an hour");
        // A fix at Auth0 is noticed within a minute, and then all are answered.
        world.tenant.change_vault(allow);
        world.pass(Duration::from_secs(60));
        for user in &users[..3] {
            let exchanged = world.exchange_for(user, GOOGLE, None).await;
            assert!(matches!(exchanged, Exchanged::Issued(_)), "case {at}: {exchanged:?}");
        }
        world.pass(Duration::from_secs(60));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_heals_at_once() {
    let world = World::new("");
    world.tenant.change_vault(|vault| vault.grant_type_allowed = false);
    for _ in 0..3 {
        assert_eq!(world.exchange().await, Outcome::Fault(SourceFault::VaultGrant));
    }
    world.tenant.change_vault(allow);
    assert_eq!(world.cost(world.exchange()).await, (Outcome::Fault(SourceFault::VaultGrant), 0));
    world.reload(&[0], None);
    assert_eq!(world.exchange().await, token(1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_granted_stops_no_other() {
    let world = World::new("");
    world.tenant.change_vault(|vault| drop(vault.grants.remove(GITHUB)));
    let users = [world.enrol(1), world.enrol(2), world.enrol(3)];
    for user in &users {
        let refused = outcome(world.exchange_for(user, GITHUB, None).await);
        assert_eq!(refused, Outcome::Fault(SourceFault::VaultAccess));
        assert!(matches!(world.exchange_for(user, GOOGLE, None).await, Exchanged::Issued(_)));
    }
    assert_eq!(world.cost(world.exchange_for(&users[0], GITHUB, None)).await.1, 0);
}

/// A user whom Auth0 refuses, because it has just blocked the user for example, stops nobody else.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_one_user_stops_no_other() {
    let world = World::new("");
    let (refused, other) = (world.enrol(1), world.enrol(2));
    let denied = || Fault::Status {
        status: 403,
        headers: vec![("content-type".into(), "application/json".into())],
        body: r#"{"error":"access_denied","error_description":"user is blocked"}"#.into(),
    };
    for _ in 0..20 {
        world.tenant.fault_next(Endpoint::Exchange, 1, denied());
        let exchanged = outcome(world.exchange_for(&refused, GOOGLE, None).await);
        assert_eq!(exchanged, Outcome::Fault(SourceFault::VaultAccess));
        world.pass(Duration::from_secs(1));
    }
    assert!(matches!(world.exchange_for(&other, GOOGLE, None).await, Exchanged::Issued(_)));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_the_clients_fault_and_a_reload_with_the_right_one_heals() {
    let world = World::new("");
    world.reload(&[1], None);
    for user in [users::GOOGLE, users::JOHN, users::LINKED] {
        let exchanged = outcome(world.exchange_for(user, GOOGLE, None).await);
        assert_eq!(exchanged, Outcome::Fault(SourceFault::VaultClient));
    }
    assert_eq!(world.calls(), 1);
    // Registered for authentication, and not for the privileged access.
    let public = &ClientKeyPair::shared(1).unwrap().public_pem;
    world.tenant.register_key(KeyUse::Authentication, public, "RS256").unwrap();
    world.reload(&[1], None);
    assert_eq!(world.exchange().await, Outcome::Fault(SourceFault::VaultRequest));
    for keys in [[1, 2], [2, 1]] {
        world.reload(&keys, None);
        assert_eq!(world.exchange().await, Outcome::Fault(SourceFault::VaultRequest), "{keys:?}");
    }
    world.tenant.remove_key(KeyUse::TokenVault, signing_key(0).kid());
    world.tenant.register_key(KeyUse::TokenVault, public, "RS256").unwrap();
    world.reload(&[1], None);
    assert_eq!(world.exchange().await, token(1));
}

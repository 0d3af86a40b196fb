//! The order of sources: another one is asked only where the one before has no token.

use cloakroom::fake_auth0::provider::Refused;
use cloakroom::fake_auth0::{ClientAuth, ClientKeyPair, ConnectedAccount, KeyUse};

use super::*;

const VAULT: &str = "[tenant.client]\nid = \"demo-client\"\nauth = \"private_key_jwt\"\n\
                     key_file = \"{dir}/key.pem\"\n[vault]\n";

/// A connection at Google with these sources, and a tenant with Token Vault.
async fn with_vault(sources: &str) -> Desk {
    let (client_auth, domain) = (ClientAuth::PrivateKeyJwt, Some("tenant.example".to_owned()));
    let tenant = in_memory::tenant(TenantOptions { domain, client_auth, ..TenantOptions::default() });
    for purpose in [KeyUse::Authentication, KeyUse::TokenVault] {
        tenant.0.register_key(purpose, &ClientKeyPair::shared(0).unwrap().public_pem, "RS256").unwrap();
    }
    tenant.0.change_vault(|vault| vault.allow(&[GOOGLE], &["calendar"]));
    let settings = format!("{VAULT}{}", connection(GOOGLE, sources, Dialect::Google));
    Desk::before(tenant, GOOGLE, Dialect::Google, &settings).await
}

/// Connects the account of the user's first identity, and returns its token in the vault.
fn connect(desk: &Desk, user: &str) {
    let account = user.split_once('|').unwrap().1;
    desk.world.tenant.connect_account(ConnectedAccount::new(user, GOOGLE, account, &["calendar"]));
}

/// How often each source is asked by a lookup: Auth0 for the user, the provider, and the vault.
async fn asked(desk: &Desk, user: &str) -> (Got, [usize; 3]) {
    let exchanges = || desk.world.tenant.calls_to(Endpoint::Exchange).len();
    let before = exchanges();
    let (got, [reads, redemptions]) = desk.cost(desk.get(user)).await;
    (got, [reads, redemptions, exchanges() - before])
}

/// The source of the answer, or the code of the problem.
fn source(got: &Got) -> String {
    if got.status == 200 { text(got, "source") } else { got.problem().1 }
}

const ALL: &str = "[\"identities\", \"refresh\", \"vault\"]";

#[tokio::test(start_paused = true)]
async fn a_source_is_asked_only_where_the_one_before_has_no_token() {
    let desk = with_vault(ALL).await;
    for user in [users::GOOGLE, users::EXPIRED, users::NO_REFRESH_TOKEN] {
        connect(&desk, user);
    }
    for (user, from, calls) in [
        (users::GOOGLE, "identities", [1, 0, 0]),
        (users::EXPIRED, "refresh", [1, 1, 0]),
        (users::NO_REFRESH_TOKEN, "vault", [1, 0, 1]),
    ] {
        let (got, cost) = asked(&desk, user).await;
        assert_eq!((source(&got), cost), (from.into(), calls), "{user}");
        let (got, cost) = asked(&desk, user).await;
        assert_eq!((source(&got), cost), (from.into(), [0, 0, 0]), "{user}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_is_refused_leads_to_the_vault_after_auth0_was_asked() {
    let desk = with_vault(ALL).await;
    connect(&desk, users::EXPIRED);
    desk.provider.revoke(users::EXPIRED);
    let (got, cost) = asked(&desk, users::EXPIRED).await;
    assert_eq!((source(&got), cost), ("vault".into(), [2, 1, 1]));
    // Once the vault's token has expired, the refusal is still known.
    sleep(2 * HOUR).await;
    let (got, cost) = asked(&desk, users::EXPIRED).await;
    assert_eq!((source(&got), cost), ("vault".into(), [1, 0, 1]));
}

/// The configuration wants the token of that source, and an outage of a minute must not change what services get.
#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_asked_is_not_passed_over() {
    for (fault, code) in [
        (ProviderFault::Before(Breakdown::Status(503, WaitHint::None)), "provider_unavailable"),
        (ProviderFault::Before(Breakdown::Stall), "provider_timeout"),
        (ProviderFault::Refused(Refused::InvalidClient), "source_misconfigured"),
        (ProviderFault::Refused(Refused::InvalidScope), "source_misconfigured"),
    ] {
        for sources in [ALL, "[\"refresh\", \"identities\"]"] {
            let desk = with_vault(sources).await;
            connect(&desk, users::EXPIRED);
            desk.provider.fault(fault.clone());
            let (got, [_, redemptions, exchanges]) = asked(&desk, users::EXPIRED).await;
            assert_eq!(source(&got), code, "{fault:?} {sources}");
            assert!(redemptions >= 1 && exchanges == 0, "{fault:?} {sources}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_source_has_a_token_the_first_that_had_one_says_what_to_do() {
    let desk = with_vault(ALL).await;
    desk.provider.revoke(users::EXPIRED);
    let (got, cost) = asked(&desk, users::EXPIRED).await;
    assert_eq!((refusal(&got), cost), (login_required("refresh_refused"), [2, 1, 1]));
    let (got, cost) = asked(&desk, users::NO_REFRESH_TOKEN).await;
    assert_eq!((source(&got), cost), ("connect_required".into(), [1, 0, 1]));
    for user in [users::EXPIRED, users::NO_REFRESH_TOKEN] {
        let (got, cost) = asked(&desk, user).await;
        assert_eq!((got.status.as_u16(), cost), (410, [0, 0, 0]), "{user}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_auth0_stores_is_used_where_its_turn_comes() {
    // A valid token of Auth0, and a source before it.
    let desk = with_vault("[\"refresh\", \"identities\"]").await;
    let (got, cost) = asked(&desk, users::GOOGLE).await;
    assert_eq!((source(&got), cost), ("refresh".into(), [1, 1, 0]));
    desk.provider.revoke(users::JOHN);
    let (got, cost) = asked(&desk, users::JOHN).await;
    assert_eq!((source(&got), cost), ("identities".into(), [2, 1, 0]));
    let (got, cost) = asked(&desk, users::JOHN).await;
    assert_eq!((source(&got), cost), ("identities".into(), [0, 0, 0]));

    let desk = with_vault("[\"vault\", \"refresh\"]").await;
    connect(&desk, users::EXPIRED);
    let (got, cost) = asked(&desk, users::EXPIRED).await;
    assert_eq!((source(&got), cost), ("vault".into(), [1, 0, 1]));
    let (got, cost) = asked(&desk, users::GOOGLE).await;
    assert_eq!((source(&got), cost), ("refresh".into(), [1, 1, 1]), "what Auth0 stores is no source");
}

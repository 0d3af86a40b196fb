//! A daemon with a state file: its answers while the file cannot be used, and its end.

use std::fs;

use cloakroom::app::transports::Transports;
use cloakroom::cache::LookupOptions;
use cloakroom::domain::user::Selector;
use cloakroom::fake_auth0::TenantOptions;
use cloakroom::fake_auth0::provider::{Dialect, FakeProvider, ProviderFault, ProviderOptions};
use serde_json::json;

use crate::support::configuration::write_private;
use crate::support::in_memory::{self, InMemory};
use crate::support::providers::ProvidersInMemory;
use crate::support::world::{FLOW, World, query};

use super::*;

const USER: &str = "oauth2|gitlab|1";

/// A daemon whose user's token has expired, and whose provider invalidates refresh tokens. The state file is `state`.
async fn renewing(further: &str) -> (World, FakeProvider) {
    let (tenant, clocks) = in_memory::tenant(TenantOptions::default());
    let provider = FakeProvider::beside(&tenant, ProviderOptions::of(Dialect::Gitlab));
    let refresh_token = provider.consent(USER).refresh_token;
    assert!(tenant.put_user(json!({
        "user_id": USER, "last_login": "2026-11-22T02:00:00.000Z", "identities": [{
            "provider": "oauth2", "connection": "gitlab", "user_id": "1", "isSocial": true,
            "access_token": "expired", "expires_in": 7200, "refresh_token": refresh_token,
        }],
    })));
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        write_private(&path, text);
        path
    };
    let settings = format!(
        "[state]\npath = {:?}\nkey_file = {:?}\n\
         [[connection]]\nname = \"gitlab\"\nsources = [\"identities\", \"refresh\"]\n\
         [connection.refresh]\nprovider = \"gitlab\"\nclient_id = {:?}\nsecret_file = {:?}\n\
         token_endpoint = \"https://{}{}\"\n{further}",
        directory.path().join("state"),
        file("state-key", &"07".repeat(32)),
        provider.client().0,
        file("connection-secret", provider.client().1.expose()),
        Dialect::Gitlab.host(),
        Dialect::Gitlab.path(),
    );
    (World::before_provider(directory, (tenant, clocks), &provider, &settings).await, provider)
}

#[tokio::test(start_paused = true)]
async fn a_lookup_and_a_purge_are_told_that_the_state_is_unavailable() {
    let (world, provider) = renewing("").await;
    world.ready().await;
    let state = world.directory.path().join("state");
    let away = world.directory.path().join("away");
    fs::rename(&state, &away).unwrap();

    let looked_up = world.get(&World::path(USER)).await;
    assert_eq!(looked_up.problem(), (503, "state_unavailable".to_owned()));
    assert!(looked_up.retry_after().is_some());
    assert!(provider.redemptions().is_empty(), "no refresh token is spent");
    let user = World::path(USER).replace("/token", "?credentials=true");
    let purged = world.send("DELETE", &user, &[("cloakroom-request", "true")]).await;
    assert_eq!(purged.problem(), (503, "state_unavailable".to_owned()));

    fs::rename(&away, &state).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.get(&World::path(USER)).await.status, 200);
    let purged = world.send("DELETE", &user, &[("cloakroom-request", "true")]).await;
    assert_eq!(purged.status, 204);
}

/// A redemption that is cut short loses its refresh token.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_daemon_waits_for_a_provider_as_long_as_requests_to_it_do() {
    let limits = "[providers]\nrequest_timeout = \"20s\"\n[shutdown]\ndeadline = \"1s\"\n";
    let (world, provider) = renewing(limits).await;
    world.ready().await;
    let user = UserId::parse(USER).unwrap();
    let query = || query(&user, &Selector::default(), LookupOptions::default());
    provider.fault(ProviderFault::Latency(Duration::from_secs(15)));
    let services = Arc::clone(world.running.services());
    let World { running, config, tenant, clock, directory: _directory, .. } = world;
    tokio::join!(services.cache.look_up(query(), FLOW), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        running.stop().await;
    })
    .0
    .unwrap();
    provider.clear();

    let providers = ProvidersInMemory::of(&[&provider], config.providers.request_timeout);
    let transports =
        Transports { auth0: InMemory::to(&tenant, &config), providers, management_api: None, apis: None };
    let running = in_memory::start_through(&config, transports, &clock).await;
    running.services().management.bearer().await.unwrap();
    running.services().cache.look_up(query(), FLOW).await.unwrap();
    assert_eq!((provider.redemptions().len(), provider.most_presented()), (2, 1));
}

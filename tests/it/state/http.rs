//! What clients are answered while the state file cannot be used.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cloakroom::fake_auth0::TenantOptions;
use cloakroom::fake_auth0::provider::{Dialect, FakeProvider, ProviderOptions};
use serde_json::json;

use crate::support::in_memory;
use crate::support::world::World;

use super::*;

const USER: &str = "oauth2|gitlab|1";

/// A daemon whose user's token has expired, and whose provider invalidates refresh tokens. The state file is `state`.
async fn renewing() -> (World, FakeProvider) {
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
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    };
    let settings = format!(
        "[state]\npath = {:?}\nkey_file = {:?}\n\
         [[connection]]\nname = \"gitlab\"\nsources = [\"identities\", \"refresh\"]\n\
         [connection.refresh]\nprovider = \"gitlab\"\nclient_id = {:?}\nsecret_file = {:?}\n\
         token_endpoint = \"https://{}{}\"\n",
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
    let (world, provider) = renewing().await;
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

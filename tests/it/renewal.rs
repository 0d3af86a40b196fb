//! Token renewal through a whole daemon, between a simulated tenant and simulated providers, in virtual time.

mod answers;
mod clocks;
mod crowds;
mod failures;
mod life;
mod order;
mod purges;
mod refusals;
mod secrecy;
mod unconfigured;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::fake_auth0::provider::{
    Answered, Breakdown, Dialect, FakeProvider, LoginRefreshToken, ProviderFault, ProviderOptions,
};
use cloakroom::fake_auth0::{Endpoint, Fault, Tenant, TenantOptions, WaitHint, users};
use cloakroom::secret::Secret;
use cloakroom::transport::Transport;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::support::configuration::write_private;
use crate::support::futures::join_all;
use crate::support::in_memory;
use crate::support::providers::ProvidersInMemory;
use crate::support::world::{Got, World};

const GOOGLE: &str = "google-oauth2";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// How long a provider's answer may take, as by default.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(5);

/// A daemon that renews tokens, and the provider of its first connection.
struct Desk {
    world: World,
    provider: FakeProvider,
}

/// A connection that asks these sources, and its client at a provider.
fn connection(name: &str, sources: &str, dialect: Dialect) -> String {
    let endpoint = match dialect {
        Dialect::Microsoft | Dialect::OAuth2 => {
            format!("token_endpoint = \"https://{}{}\"\n", dialect.host(), dialect.path())
        }
        _ => String::new(),
    };
    format!(
        "[[connection]]\nname = {name:?}\nsources = {sources}\n[connection.refresh]\nprovider = {:?}\n\
         client_id = \"demo-connection\"\nsecret_file = \"{{dir}}/connection-secret\"\n{endpoint}",
        dialect.name()
    )
}

/// A file for refresh tokens that rotate.
const STATE: &str = "[state]\npath = \"{dir}/state\"\nkey_file = \"{dir}/state-key\"\n";

const REFRESHED: &str = "[\"identities\", \"refresh\"]";

/// A connection at Google that asks what Auth0 stores, and then Google.
fn google() -> String {
    connection(GOOGLE, REFRESHED, Dialect::Google)
}

impl Desk {
    /// A connection at Google. `settings` are further tables.
    async fn new(settings: &str) -> Self {
        Self::of(GOOGLE, Dialect::Google, &format!("{}{settings}", google())).await
    }

    /// A connection of this name at a provider. `settings` are all tables, those of the connection among them.
    async fn of(connection: &str, dialect: Dialect, settings: &str) -> Self {
        Self::before(in_memory::tenant(TenantOptions::default()), connection, dialect, settings).await
    }

    /// The same before a tenant that was made before.
    async fn before(
        tenant: (Tenant, [Clock; 2]),
        connection: &str,
        dialect: Dialect,
        settings: &str,
    ) -> Self {
        let provider = FakeProvider::beside(&tenant.0, ProviderOptions::of(dialect));
        provider.adopt(&tenant.0, connection);
        let transport = ProvidersInMemory::of(&[&provider], PROVIDER_TIMEOUT);
        let world = world_beside(tenant, settings, transport).await;
        Self { world, provider }
    }

    async fn get(&self, user: &str) -> Got {
        self.world.get(&World::path(user)).await
    }

    async fn get_with(&self, user: &str, parameters: &str) -> Got {
        self.world.get(&format!("{}?{parameters}", World::path(user))).await
    }

    /// The user's token.
    async fn token(&self, user: &str) -> String {
        let got = self.get(user).await;
        assert_eq!(got.status, 200, "{got:?}");
        text(&got, "access_token")
    }

    /// How often Auth0 was asked for a user, and the provider for a token.
    fn counts(&self) -> [usize; 2] {
        [self.world.user_calls(), self.provider.redemptions().len()]
    }

    /// How often `action` asks Auth0 for a user, and the provider for a token.
    async fn cost<T>(&self, action: impl Future<Output = T>) -> (T, [usize; 2]) {
        let before = self.counts();
        let outcome = action.await;
        let after = self.counts();
        (outcome, [after[0] - before[0], after[1] - before[1]])
    }

    /// The user logs in, and the tenant stores what the provider issues.
    fn log_in(&self, user: &str, refresh_token: LoginRefreshToken) -> String {
        self.provider.log_in(&self.world.tenant, user, GOOGLE, refresh_token).unwrap().access_token
    }
}

/// A daemon in front of `tenant` that reaches providers by `transport`, and has its Management token.
async fn world_beside(tenant: (Tenant, [Clock; 2]), settings: &str, transport: Arc<dyn Transport>) -> World {
    let directory: TempDir = tempfile::tempdir().unwrap();
    write_private(&directory.path().join("connection-secret"), "demo-connection-secret");
    write_private(&directory.path().join("state-key"), &"07".repeat(32));
    let world = World::reloadable_beside(directory, tenant, settings, Some(transport)).await;
    world.ready().await;
    world
}

/// A member of an answer, which is a text.
fn text(got: &Got, member: &str) -> String {
    got.json()[member].as_str().unwrap_or_else(|| panic!("{member}: {got:?}")).to_owned()
}

/// Status, code and reason of a problem.
fn refusal(got: &Got) -> (u16, String, String) {
    let (status, code) = got.problem();
    (status, code, got.json()["reason"].as_str().unwrap_or("-").to_owned())
}

fn login_required(reason: &str) -> (u16, String, String) {
    (410, "login_required".into(), reason.into())
}

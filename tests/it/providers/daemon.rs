//! Redemptions by a whole daemon: what a client that its provider refuses costs the state file.

use std::fs;

use cloakroom::app::transports::Transports;
use cloakroom::cache::LookupOptions;
use cloakroom::domain::error::LookupError;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::provider::{Dialect, FakeProvider, ProviderFault, ProviderOptions, Refused};
use cloakroom::fake_auth0::{TenantOptions, users};

use super::settings;
use crate::support::configuration::write_private;
use crate::support::in_memory::{self, InMemory, configure_in};
use crate::support::providers::ProvidersInMemory;
use crate::support::world::{FLOW, query};

const GITLAB: &str = "[[connection]]\nname = \"gitlab\"\nsources = [\"identities\", \"refresh\"]\n\
     [connection.refresh]\nprovider = \"gitlab\"\nclient_id = \"demo-connection\"\n\
     secret_file = \"{dir}/connection-secret\"\n[state]\npath = \"{dir}/state\"\nkey_file = \"{dir}/state-key\"\n";

/// An intent that is stored and withdrawn is two syncs of the disk for each lookup.
#[tokio::test(start_paused = true)]
async fn a_refused_client_that_is_held_back_costs_the_state_file_nothing() {
    let (tenant, clocks) = in_memory::tenant(TenantOptions::default());
    let provider = FakeProvider::beside(&tenant, ProviderOptions::of(Dialect::Gitlab));
    provider.adopt(&tenant, "gitlab");
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("connection-secret", "demo-connection-secret"), ("state-key", &"07".repeat(32))] {
        write_private(&directory.path().join(name), text);
    }
    let config = configure_in(&directory, "tenant.example", &tenant, None, GITLAB);
    let transports = Transports {
        auth0: InMemory::to(&tenant, &config),
        providers: ProvidersInMemory::of(&[&provider], settings().request_timeout),
        management_api: None,
        apis: None,
    };
    let running = in_memory::start_through(&config, transports, &clocks[0]).await;
    let user = UserId::parse(users::EXPIRED_GITLAB).unwrap();
    let look_up = async || {
        let query = query(&user, &Selector::default(), LookupOptions::default());
        running.services().cache.look_up(query, FLOW).await
    };
    let stored = || fs::read(directory.path().join("state")).unwrap();

    let untouched = stored();
    provider.fault(ProviderFault::Refused(Refused::InvalidClient));
    assert!(matches!(look_up().await, Err(LookupError::Source(_))));
    let after_the_first = stored();
    assert_ne!(after_the_first, untouched, "an intent, and its withdrawal");
    for _ in 0..20 {
        assert!(matches!(look_up().await, Err(LookupError::Source(_))));
    }
    assert!(stored() == after_the_first, "the state file was written for a redemption that was not sent");
    assert_eq!(provider.redemptions().len(), 1);
}

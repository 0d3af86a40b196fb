//! `[[connection]]`: sources, clients of identity providers, and what a reload makes of them.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::config::{Config, Connection, Refresh};
use cloakroom::domain::provider::ProviderAuth;
use cloakroom::domain::source::{Rotation, Source};

use super::{CANARY, load};

fn refresh<'a>(config: &'a Config, name: &str) -> &'a Arc<Refresh> {
    let connection = config.connections.iter().find(|connection| *connection.name == *name).unwrap();
    connection.refresh.as_ref().unwrap()
}

#[test]
fn a_provider_fills_in_what_a_connection_leaves_out() {
    let loaded = load("good", "connections").unwrap();
    let config = loaded.config;
    assert!(loaded.warnings.iter().all(|warning| !warning.contains("connection.")), "{:?}", loaded.warnings);
    let google = refresh(&config, "google-oauth2");
    assert_eq!(google.token_endpoint.url(), "https://oauth2.googleapis.com/token");
    assert_eq!((google.client_auth, google.rotation), (ProviderAuth::Post, Rotation::None));
    assert_eq!((google.grace, google.scope.as_deref()), (Duration::ZERO, None));
    assert_eq!(google.secret.expose(), CANARY);
    assert_eq!(google.previous_secret.as_ref().unwrap().expose(), "hunter2-canary-previous");

    let waad = refresh(&config, "waad");
    assert_eq!(&**waad.token_endpoint.host(), "login.microsoftonline.com");
    assert_eq!((waad.client_auth, waad.rotation), (ProviderAuth::Basic, Rotation::None));
    assert_eq!(waad.grace, Duration::from_secs(60));
    assert_eq!(waad.scope.as_deref(), Some("https://graph.microsoft.com/Mail.Read offline_access"));

    let [_, waad, github] = config.connections.as_slice() else { panic!("{:?}", config.connections) };
    assert_eq!(waad.sources.iter().collect::<Vec<_>>(), [Source::Refresh, Source::Identities]);
    assert_eq!(waad.assumed_ttl, Some(Duration::from_secs(600)));
    assert_eq!(github.sources.iter().collect::<Vec<_>>(), [Source::Identities]);
    assert!(github.refresh.is_none());
    for file in ["client-secret", "previous-client-secret", "corp-ca.pem"] {
        assert!(loaded.files.iter().any(|read| read.ends_with(file)), "{file} is read again by a reload");
    }
}

#[test]
fn without_connections_no_provider_is_known_and_no_proxy_variable_is_read() {
    let config = load("good", "env-only").unwrap().config;
    assert!(config.connections.is_empty());
    assert_eq!((config.providers.requests_per_second, config.providers.burst), (20.0, 40));
    assert_eq!(config.providers.connect_timeout, Duration::from_secs(2));
    assert!(config.tenant.proxy.url.is_some() && config.providers.proxy.url.is_none());
}

/// A secret is in memory once, however often the configuration is read.
#[test]
fn a_reload_keeps_the_clients_and_secrets_that_did_not_change() {
    let [running, wanted] = [(); 2].map(|()| load("good", "connections").unwrap().config);
    let unchanged = running.reread(wanted.clone()).unwrap();
    assert!(unchanged.changed.is_empty() && unchanged.needs_restart.is_empty());
    let (before, after) = (refresh(&running, "waad"), refresh(&unchanged.config, "waad"));
    assert!(Arc::ptr_eq(before, after));

    let mut wanted = wanted;
    let waad = Arc::make_mut(wanted.connections[1].refresh.as_mut().unwrap());
    waad.client_id = "another".to_owned();
    let changed = running.reread(wanted).unwrap().config;
    let (before, after) = (refresh(&running, "waad"), refresh(&changed, "waad"));
    assert_eq!(after.client_id, "another");
    assert!(!Arc::ptr_eq(before, after));
    // Two clients have this secret.
    let known = [before, refresh(&running, "google-oauth2")];
    assert!(known.iter().any(|known| Arc::ptr_eq(&known.secret, &after.secret)));
}

#[test]
fn a_reload_names_connections_that_come_go_or_move() {
    let running = load("good", "connections").unwrap().config;
    let mut wanted = running.clone();
    // Nothing of a connection that moves has changed.
    wanted.connections.reverse();
    let gone = wanted.connections.remove(1);
    wanted.connections.push(Connection { name: "new".into(), ..gone });
    let keys: Vec<_> = running
        .reread(wanted)
        .unwrap()
        .changed
        .into_iter()
        .map(|change| (change.key, change.values.unwrap_or_default()))
        .collect();
    let change = |key: &str, old: &str, new: &str| (key.to_owned(), (old.to_owned(), new.to_owned()));
    assert!(keys.contains(&change("connection.2", "none", "new")), "{keys:?}");
    assert!(keys.contains(&change("connection.1", "waad", "none")), "{keys:?}");
}

//! `[[proxy]]`: where APIs are, whose refusals they have, and what a reload makes of them.

use std::time::Duration;

use cloakroom::config::{Config, Env, parse};
use cloakroom::domain::policy::Operation;
use cloakroom::domain::verdict::Dialect;

use super::load;

#[test]
fn an_api_has_a_place_limits_and_the_dialect_of_its_host() {
    let config = load("good", "proxied-apis").unwrap().config;
    assert!(config.has_calls() && !load("good", "minimal").unwrap().config.has_calls());
    let [gmail, drive, api, local] = config.proxied_apis.as_slice() else {
        panic!("{:?}", config.proxied_apis)
    };
    assert_eq!((&*gmail.connection, &*gmail.name), ("google-oauth2", "gmail"));
    assert_eq!((&*gmail.authority, &*gmail.prefix), ("gmail.googleapis.com", ""));
    assert_eq!((gmail.dialect, gmail.allow_private), (Dialect::Google, false));
    assert_eq!((gmail.request_bytes, gmail.response_bytes), (8 << 20, 64 << 20));
    assert_eq!((gmail.head_timeout, gmail.idle_timeout), (Duration::from_secs(30), Duration::from_secs(600)));
    assert_eq!((&*drive.authority, &*drive.prefix), ("www.googleapis.com", "/drive"));
    assert_eq!((drive.request_bytes, drive.idle_timeout), (1 << 20, Duration::from_secs(30)));
    assert_eq!((&*api.authority, &*api.prefix), ("github.corp.example:8443", "/api/v3"));
    assert_eq!((api.dialect, api.allow_private), (Dialect::GitHub, true));
    assert_eq!((&*local.authority, local.dialect), ("[::1]", Dialect::Standard));

    let listener = &config.listeners[0];
    assert_eq!(listener.max_streams, 16);
    let calls: Vec<_> = listener.allow[0].calls.iter().map(ToString::to_string).collect();
    assert_eq!(calls, ["GET gmail/gmail/v1/users/me/messages/**", "POST drive/files"]);
    assert_eq!(listener.allow[0].operations, [Operation::Proxy, Operation::MeProxy]);
    assert_eq!(load("good", "minimal").unwrap().config.listeners[0].max_streams, 256);
}

fn with(apis: &[(&str, &str)]) -> Config {
    let mut text =
        "[tenant]\ndomain = \"acme.eu.auth0.com\"\n[tenant.client]\nid = \"x\"\nsecret = \"x\"\n".to_owned();
    for (name, url) in apis {
        text.push_str(&format!("[[proxy]]\nconnection = \"github\"\nname = {name:?}\nurl = {url:?}\n"));
    }
    parse("f.toml", &text, &Env::default()).unwrap().config
}

#[test]
fn a_reload_takes_over_apis_at_once_and_names_what_differs() {
    let (here, there) = ("https://api.github.com", "https://github.example");
    let running = with(&[("api", here), ("uploads", there)]);
    let changed = |apis: &[(&str, &str)]| -> Vec<_> {
        let reread = running.reread(with(apis)).unwrap();
        assert!(reread.needs_restart.is_empty());
        assert_eq!(reread.config.proxied_apis.len(), apis.len());
        reread.changed.into_iter().map(|change| change.key).collect()
    };
    assert_eq!(changed(&[("uploads", there), ("api", here)]), [""; 0], "the order is no difference");
    assert_eq!(changed(&[("uploads", here), ("api", here)]), ["proxy.0.url"]);
    assert_eq!(changed(&[("api", here)]), ["proxy.1"]);
    assert_eq!(changed(&[("api", here), ("uploads", there), ("more", here)]), ["proxy.2"]);
}

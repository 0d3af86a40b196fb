//! A tenant that goes away and comes back, and many clients at once, over real TLS and in real time.

use std::time::Duration;

use cloakroom::fake_auth0::{CertificateKind, Endpoint, Fault, TenantOptions, users};
use serde_json::json;

use crate::support::world::World;

/// The tenant goes away and comes back, over real connections.
#[tokio::test]
async fn a_tenant_that_goes_away_leaves_valid_tokens_servable_and_misses_answer_503() {
    let mut world = World::over_tls(TenantOptions::default(), "connect_timeout = \"1s\"").await;
    world.ready().await;
    let (held, unknown) = (World::path(users::GOOGLE), World::path(users::JOHN));
    assert_eq!(world.get(&held).await.status, 200);
    let port = world.listening.as_ref().unwrap().port();
    world.listening = None;
    assert_eq!(world.get(&held).await.header("cloakroom-cache"), Some("hit"));
    let begun = tokio::time::Instant::now();
    let miss = world.get(&unknown).await;
    assert_eq!(miss.problem(), (503, "upstream_unavailable".into()));
    assert!(miss.retry_after().is_some());
    assert!(begun.elapsed() < world.config.tenant.request_timeout);
    world.listening = Some(world.tenant.listen_on(port, CertificateKind::Good).unwrap());
    assert_eq!(world.get(&unknown).await.status, 200);
}

/// A thousand callers over a thousand sockets, two hundred of whom hang up: one request, one grant.
#[tokio::test]
async fn a_thousand_callers_of_one_user_are_one_request_over_real_sockets() {
    let world = World::over_tls(TenantOptions::default(), "").await;
    world.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_millis(300)));
    let path = World::path(users::GOOGLE);
    let mut callers = tokio::task::JoinSet::new();
    let world = std::sync::Arc::new(world);
    for n in 0..1000 {
        let (world, path) = (std::sync::Arc::clone(&world), path.clone());
        callers.spawn(async move {
            let lookup = world.get(&path);
            if n < 200 {
                tokio::time::timeout(Duration::from_millis(1), lookup).await.ok().map(|got| got.status)
            } else {
                Some(lookup.await.status)
            }
        });
    }
    let mut answered = 0;
    while let Some(status) = callers.join_next().await {
        if let Some(status) = status.unwrap() {
            assert_eq!(status, 200);
            answered += 1;
        }
    }
    assert!(answered >= 800, "{answered}");
    assert_eq!(world.tenant.calls_to(Endpoint::User).len(), 1);
    assert_eq!(world.tenant.calls_to(Endpoint::Token).len(), 1);
}

/// What Auth0 holds besides the tokens never comes near a caller.
#[tokio::test]
async fn refresh_tokens_never_leave() {
    let world = World::over_tls(TenantOptions::default(), "").await;
    world.ready().await;
    world
        .tenant
        .put_user(json!({"user_id": "oauth2|r", "identities": [{"connection": "c", "provider": "oauth2",
        "user_id": "r", "access_token": "t", "refresh_token": "canary-refresh"}]}));
    for path in [World::path("oauth2|r"), World::path("oauth2|r").replace("/token", "/identities")] {
        let got = world.get(&path).await;
        assert_eq!(got.status, 200);
        assert!(!String::from_utf8_lossy(&got.body).contains("canary-refresh"));
    }
}

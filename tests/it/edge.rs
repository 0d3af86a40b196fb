//! The network and the edge in front of Auth0, over real TLS: connections that end silently, content encodings, slow
//! answers.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault, Tenant, TenantOptions};
use serde_json::json;
use tokio::time::Instant;

use crate::support::world::World;

/// Gives the tenant users by these names, each with a token.
fn put_users(tenant: &Tenant, names: impl IntoIterator<Item = String>) {
    for name in names {
        let identity = json!({"connection": "c", "provider": "oauth2", "user_id": "1", "access_token": "t"});
        tenant.put_user(json!({"user_id": name, "identities": [identity]}));
    }
}

/// Looks users up at once; their statuses.
async fn at_once(world: &Arc<World>, names: &[String]) -> Vec<u16> {
    let mut lookups = tokio::task::JoinSet::new();
    for name in names {
        let (world, path) = (Arc::clone(world), World::path(name));
        lookups.spawn(async move { world.get(&path).await.status.as_u16() });
    }
    lookups.join_all().await
}

async fn user_requests(world: &World) -> u64 {
    world.get("/v1/status").await.json()["upstream"]["user_requests"].as_u64().unwrap()
}

/// A NAT or a load balancer forgets its connections: nothing closes them, and nothing passes.
#[tokio::test]
async fn pooled_connections_that_have_died_silently_cost_no_lookup_its_answer() {
    let names: Vec<String> = (0..20).map(|n| format!("oauth2|{n}")).collect();
    let world = Arc::new(World::over_tls(TenantOptions::default(), "").await);
    world.ready().await;
    put_users(&world.tenant, names.clone());
    // As many connections as lookups at once.
    world.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_millis(300)));
    assert_eq!(at_once(&world, &names[..6]).await, [200; 6]);
    world.tenant.clear_all();
    world.tenant.fault(Endpoint::User, Fault::DeadConnections);

    let before = user_requests(&world).await;
    world.tenant.forget_calls();
    assert_eq!(at_once(&world, &names[6..9]).await, [200; 3]);
    let (sent, arrived) = (user_requests(&world).await - before, world.tenant.calls_to(Endpoint::User).len());
    assert!(arrived >= 3 && sent <= 6, "each is asked for once more at most: {sent} {arrived}");
    // The others are gone as well, so that none is waited for again.
    let patience = world.config.tenant.request_timeout / 2;
    for name in &names[9..14] {
        let begun = Instant::now();
        assert_eq!(world.get(&World::path(name)).await.status, 200);
        assert!(begun.elapsed() < patience, "{:?}", begun.elapsed());
    }
    // The Management token's renewal does not depend on them either.
    assert_eq!(at_once(&world, &names[14..17]).await, [200; 3]);
    world.tenant.fault(Endpoint::User, Fault::DeadConnections);
    world.tenant.revoke_management_tokens();
    assert_eq!(world.get(&World::path(&names[18])).await.status, 200);
}

/// Slow is not dead: what is answered late is answered.
#[tokio::test]
async fn a_tenant_that_is_slow_on_a_connection_used_before_is_waited_for() {
    let names: Vec<String> = (0..2).map(|n| format!("oauth2|{n}")).collect();
    let world = World::over_tls(TenantOptions::default(), "").await;
    put_users(&world.tenant, names.clone());
    assert_eq!(world.get(&World::path(&names[0])).await.status, 200);
    let before = user_requests(&world).await;
    world.tenant.fault(Endpoint::User, Fault::LateAnswer(Duration::from_secs(4)));
    assert_eq!(world.get(&World::path(&names[1])).await.status, 200);
    assert!(user_requests(&world).await - before <= 2);
}

#[tokio::test]
async fn harmless_content_encodings_are_no_encoding() {
    let world = World::over_tls(TenantOptions::default(), "").await;
    world.ready().await;
    let cases = [
        ("identity", 200),
        ("Identity", 200),
        ("IDENTITY", 200),
        ("", 200),
        (" ", 200),
        ("identity, identity", 200),
        (" identity ,", 200),
        ("none", 200),
        ("utf-8", 200),
        ("UTF-8", 200),
        ("gzip", 502),
        ("identity, gzip", 502),
        ("br", 502),
        ("x-unknown", 502),
    ];
    for (n, (encoding, status)) in cases.into_iter().enumerate() {
        let name = format!("oauth2|{n}");
        put_users(&world.tenant, [name.clone()]);
        world.tenant.clear_all();
        world.tenant.fault(Endpoint::User, Fault::Encoding(encoding.into()));
        let got = world.get(&World::path(&name)).await;
        assert_eq!(got.status, status, "{encoding:?} {got:?}");
        if status == 502 {
            assert!(got.detail().contains("a compressed body that was not asked for"), "{got:?}");
        }
    }
    // Without a word about it, any encoding would be right.
    for endpoint in [Endpoint::User, Endpoint::Token] {
        world.tenant.fault(endpoint, Fault::GzipByDefault);
    }
    world.tenant.revoke_management_tokens();
    put_users(&world.tenant, ["oauth2|by-default".to_owned()]);
    assert_eq!(world.get(&World::path("oauth2|by-default")).await.status, 200);
}

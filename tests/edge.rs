//! What the way to Auth0 and the edge before it do to connections and answers, over real TLS: connections that die
//! silently, odd encodings, answers in too many pieces.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests stop at the first surprise, and use the part of the support that they need"
)]

mod support {
    pub mod caller;
    pub mod deployment;
    pub mod process;
    pub mod world;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault, Tenant, TenantOptions};
use serde_json::json;
use support::caller::{Caller, token_path};
use support::deployment::Deployment;
use support::process::memory;
use support::world::World;
use tokio::time::Instant;

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

/// As many bytes as an answer may have, each in a chunk of its own.
#[test]
fn answers_in_crumbs_take_no_more_memory_than_their_bytes() {
    const AT_ONCE: usize = 16;
    let deployment = Deployment::new("request_timeout = \"60s\"\nconnect_timeout = \"20s\"");
    let daemon = deployment.start();
    put_users(&deployment.tenant, (0..3 * AT_ONCE).map(|n| format!("oauth2|{n}")));
    let ask = |from: usize| -> Vec<u16> {
        let lookups = (from..from + AT_ONCE).map(|n| {
            let socket = daemon.socket.clone();
            std::thread::spawn(move || Caller::new(&socket).get(&token_path(&format!("oauth2|{n}"))).status)
        });
        lookups.collect::<Vec<_>>().into_iter().map(|lookup| lookup.join().unwrap()).collect()
    };
    // The same bytes as they usually come.
    deployment.tenant.fault(Endpoint::User, Fault::Body((1 << 20) - 100));
    assert_eq!(ask(0), [200; AT_ONCE]);
    let whole = memory(daemon.pid(), "VmHWM:");
    deployment.tenant.clear_all();
    deployment.tenant.fault(Endpoint::User, Fault::Crumbs((1 << 20) - 100));
    // More pieces than any answer comes in: their number costs time, whatever is in them.
    assert_eq!(ask(AT_ONCE), [502; AT_ONCE]);
    let crumbs = memory(daemon.pid(), "VmHWM:");
    println!("{} KiB for whole answers, {} KiB for crumbs", whole >> 10, crumbs >> 10);
    assert!(crumbs <= whole + (8 << 20), "{whole} {crumbs}");
    // So many are read, and are one.
    deployment.tenant.clear_all();
    deployment.tenant.fault(Endpoint::User, Fault::Crumbs(16_000));
    assert_eq!(ask(2 * AT_ONCE), [200; AT_ONCE]);
}

/// What 95 hits of 100 take at most.
fn hits(caller: &mut Caller, path: &str) -> Duration {
    let ask = |_| {
        let asked = Instant::now();
        assert_eq!(caller.get(path).status, 200);
        asked.elapsed()
    };
    let mut took: Vec<_> = (0..4000).map(ask).collect();
    took.sort_unstable();
    took[took.len() * 95 / 100]
}

/// Each answer takes a moment of the thread that hits are answered by.
#[test]
fn interim_answers_without_end_slow_no_hit_down() {
    let deployment = Deployment::new("");
    let daemon = deployment.start();
    put_users(&deployment.tenant, (0..40).map(|n| format!("oauth2|{n}")));
    let path = token_path("oauth2|0");
    let mut caller = Caller::new(&daemon.socket);
    // A few are as HTTP has them.
    deployment.tenant.fault(Endpoint::User, Fault::Interim(Some(3)));
    assert_eq!(caller.get(&path).status, 200);
    deployment.tenant.clear_all();
    let calm = hits(&mut caller, &path);

    deployment.tenant.fault(Endpoint::User, Fault::Interim(None));
    let over = Arc::new(AtomicBool::new(false));
    let abusers: Vec<_> = (1..9)
        .map(|n| {
            let (socket, over) = (daemon.socket.clone(), Arc::clone(&over));
            std::thread::spawn(move || {
                let (mut caller, mut last) = (Caller::new(&socket), None);
                while !over.load(Ordering::Relaxed) {
                    last = Some(caller.get(&token_path(&format!("oauth2|{n}"))));
                    std::thread::sleep(Duration::from_millis(20));
                }
                last.unwrap()
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let attacked = hits(&mut caller, &path);
    over.store(true, Ordering::Relaxed);
    let last: Vec<_> = abusers.into_iter().map(|abuser| abuser.join().unwrap()).collect();
    println!("95 hits of 100 take {calm:?} in calm, {attacked:?} meanwhile");
    assert!(attacked < 50 * calm, "{calm:?} {attacked:?}");
    // That is refused, or the budget is spent on it: no lookup is kept waiting by it.
    assert!(last.iter().all(|heard| matches!(heard.status, 502 | 503)), "{last:?}");
    let refused = last.iter().find(|heard| heard.status == 502).unwrap();
    let text = refused.body["detail"].as_str().unwrap();
    assert!(
        text.contains("too many interim responses") || text.contains("headers or framing beyond the limit"),
        "{text}"
    );
}

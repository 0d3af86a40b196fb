//! Guarantee 8, by the kernel's word: what the cache says it weighs is what the process grows by.

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
    pub mod world;
}

use cloakroom::fake_auth0::TenantOptions;
use serde_json::json;
use support::world::World;

/// A process of its own (each file of tests is one), so that nothing else grows it meanwhile.
#[tokio::test(start_paused = true)]
async fn memory_grows_by_no_more_than_the_cache_weighs() {
    const USERS: usize = 25_000;
    let settings = "[cache]\nmax_bytes = \"16MiB\"\n[upstream]\nrequests_per_second = 5000\nburst = 10000";
    let world = World::simulated(TenantOptions::default(), settings).await;
    world.ready().await;
    // The tenant's own memory of calls and users must not be taken for the daemon's: one user at a time.
    let ask = async |n: usize| {
        let (id, token) = (format!("auth0|{n:0>24}"), "t".repeat(40 + n % 400));
        world.tenant.put_user(json!({"user_id": id, "identities": [
            {"connection": "google-oauth2", "provider": "google-oauth2", "user_id": "1", "access_token": token}]}));
        world.look_up(&id).await.unwrap();
        world.tenant.remove_user(&id);
        if n.is_multiple_of(500) {
            world.tenant.forget_calls();
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    };
    for n in 0..500 {
        ask(n).await;
    }
    world.cache().purge_all();
    world.cache().size();
    let before = resident();
    for n in 0..USERS {
        ask(n).await;
    }
    let ((entries, bytes), grown) = (world.cache().size(), resident().saturating_sub(before));
    println!("{entries} users weigh {bytes} bytes; the process grew by {grown}");
    assert!(bytes <= 16 << 20, "{bytes}");
    // The allocator's slack and what churns besides, in a debug build.
    assert!(grown <= bytes + bytes / 4 + (4 << 20), "{entries} users weigh {bytes}, and took {grown}");
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

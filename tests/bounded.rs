//! Guarantee 8, by the kernel's word: what the cache says it weighs is what the process grows by.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod support {
    pub mod configuration;
    pub mod exchange;
    pub mod in_memory;
}

use cloakroom::cache::{LookupOptions, Query};
use cloakroom::domain::priority::Flow;
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::TenantOptions;
use serde_json::json;
use support::in_memory;

/// A process of its own, so that nothing else grows it meanwhile.
#[tokio::test(start_paused = true)]
async fn memory_grows_by_no_more_than_the_cache_weighs() {
    const USERS: usize = 25_000;
    let settings = "[cache]\nmax_bytes = \"16MiB\"\n[upstream]\nrequests_per_second = 5000\nburst = 10000";
    let (tenant, [clock, _]) = in_memory::tenant(TenantOptions::default());
    let (_directory, config) = in_memory::configure("tenant.example", &tenant, None, settings);
    let running = in_memory::start(&config, &tenant, &clock).await;
    running.services().management.bearer().await.unwrap();
    let cache = &running.services().cache;
    // The tenant's own memory of calls and users must not be taken for the daemon's: one user at a time.
    let ask = async |n: usize| {
        let (id, token) = (format!("auth0|{n:0>24}"), "t".repeat(40 + n % 400));
        tenant.put_user(json!({"user_id": id, "identities": [
            {"connection": "google-oauth2", "provider": "google-oauth2", "user_id": "1", "access_token": token}]}));
        let (user, options) = (UserId::parse(&id).unwrap(), LookupOptions::default());
        let query = Query { user, selector: Selector::default(), options };
        cache.look_up(query, Flow::Uid(1000)).await.unwrap();
        tenant.remove_user(&id);
        if n.is_multiple_of(500) {
            tenant.forget_calls();
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    };
    for n in 0..500 {
        ask(n).await;
    }
    cache.purge_all();
    cache.size();
    let before = resident();
    for n in 0..USERS {
        ask(n).await;
    }
    let ((entries, bytes), grown) = (cache.size(), resident().saturating_sub(before));
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

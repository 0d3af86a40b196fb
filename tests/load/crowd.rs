//! Guarantee 8 where it is hard to keep: many callers fill the cache of the real binary at once.

use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault};

use crate::alone;
use crate::memory::memory;
use crate::support::caller::{Caller, token_path};
use crate::support::deployment::{Deployment, logged_in};

/// Long-lived entries come to lie between the short-lived buffers of the requests that bring them, and an allocator that
/// lets one take the other's place is left with pieces.
#[test]
fn a_cache_that_many_fill_at_once_takes_no_more_than_it_weighs() {
    const USERS: usize = 6_000;
    const CALLERS: usize = 50;
    let _alone = alone();
    let settings = "[upstream]\nrequests_per_second = 5000\nburst = 10000\nmax_concurrency = 16\n";
    let deployment = Deployment::new(settings);
    let id = |n: usize| format!("google-oauth2|{n:0>21}");
    let now = cloakroom::clock::Clock::system().now().wall;
    for n in 0..USERS {
        let token = "t".repeat(2_000);
        let (profile, _) = logged_in(&id(n), &[("google-oauth2", &token)], 80_000, now);
        assert!(deployment.tenant.put_user(profile));
    }
    let daemon = deployment.start();
    // So that as many are under way as there are callers.
    deployment.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_millis(2)));
    let before = memory(daemon.pid(), "VmRSS:");
    std::thread::scope(|scope| {
        for first in 0..CALLERS {
            let mut caller = Caller::new(&daemon.socket);
            scope.spawn(move || {
                for n in (first..USERS).step_by(CALLERS) {
                    let heard = caller.get(&token_path(&id(n)));
                    assert_eq!(heard.status, 200, "{}", heard.body);
                }
            });
        }
    });
    let status = Caller::new(&daemon.socket).get("/v1/status");
    let bytes = status.body["cache"]["bytes"].as_u64().unwrap();
    let grown = memory(daemon.pid(), "VmRSS:").saturating_sub(before);
    println!("{USERS} users weigh {bytes} bytes; the process grew by {grown}");
    // Besides the entries: a connection to the tenant and one to each caller, with their buffers, in a debug build.
    assert!(bytes > 2_000 * USERS as u64);
    assert!(grown <= bytes + bytes / 4 + (6 << 20), "{USERS} users weigh {bytes}, and took {grown}");
}

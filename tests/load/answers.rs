//! Answers of the tenant that could take memory and time: in too many pieces, or without an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloakroom::fake_auth0::{Endpoint, Fault, Tenant};
use serde_json::json;
use tokio::time::Instant;

use crate::alone;
use crate::memory::memory;
use crate::support::caller::{Caller, token_path};
use crate::support::deployment::Deployment;

/// Gives the tenant users by these names, each with a token.
fn put_users(tenant: &Tenant, names: impl IntoIterator<Item = String>) {
    for name in names {
        let identity = json!({"connection": "c", "provider": "oauth2", "user_id": "1", "access_token": "t"});
        tenant.put_user(json!({"user_id": name, "identities": [identity]}));
    }
}

/// As many bytes as an answer may have, each in a chunk of its own.
#[test]
fn answers_in_crumbs_take_no_more_memory_than_their_bytes() {
    const AT_ONCE: usize = 16;
    let _alone = alone();
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
    let _alone = alone();
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

//! Renewal with the real binary, real TLS and a real state file, at a provider that ends a family of tokens whose
//! refresh token it sees twice.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cloakroom::fake_auth0::TenantOptions;
use cloakroom::fake_auth0::provider::{Dialect, ProviderOptions};
use nix::sys::signal::Signal;

use crate::support::caller::{Caller, token_path};
use crate::support::configuration::write_private;
use crate::support::deployment::Deployment;
use crate::support::renewing::{Providers, expired, user};

const USERS: usize = 8;

fn user_id(number: usize) -> String {
    format!("oauth2|gitlab|{number}")
}

/// Auth0 with users whose tokens have expired, and a provider whose refresh tokens are for a single use and whose access
/// tokens live for three seconds.
fn deploy() -> (Deployment, Providers) {
    let mut options = ProviderOptions::of(Dialect::Gitlab);
    options.rules.lifetime = Some(Duration::from_secs(3));
    options.rules.reuse_ends_family = true;
    let providers = Providers::listen(vec![("gitlab", options)]);
    let settings = format!(
        "[cache]\nmax_ttl = \"10m\"\nmin_ttl = \"1s\"\n[upstream]\nrequests_per_second = 5000\nburst = 1000\n\
         [state]\npath = \"{{dir}}/state\"\nkey_file = \"{{dir}}/state_key\"\n{}",
        providers.tables("requests_per_second = 1000\nburst = 1000\n")
    );
    let deployment = Deployment::with_files(TenantOptions::default(), &settings, |tenant, directory| {
        for number in 0..USERS {
            let identity = expired("gitlab", &number.to_string(), "expired", &format!("first-{number}"));
            assert!(tenant.put_user(user(&user_id(number), &[identity])));
        }
        providers.prepare(tenant, directory);
        write_private(&directory.join("state_key"), &"07".repeat(32));
    });
    (deployment, providers)
}

/// Guarantee 10. The provider ends a family whose refresh token is presented twice, so that one wrong redemption would be
/// 410 for the rest of the test.
#[test]
fn two_hundred_reloads_and_restarts_under_load_redeem_no_token_twice() {
    let (deployment, providers) = deploy();
    let good = fs::read_to_string(deployment.config()).unwrap();
    let mut daemon = deployment.start();
    let (is_done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let socket = deployment.socket();
    let look_up = |number: usize| {
        let path = token_path(&user_id(number));
        while !is_done.load(Ordering::Relaxed) {
            // Between two daemons nobody listens.
            let Ok(mut caller) = Caller::connect(&socket) else { continue };
            while let Some(heard) = caller.get_unless_closed(&path) {
                let draining = (heard.status, heard.code()) == (503, "draining");
                assert!(heard.status == 200 || draining, "{number}: {heard:?}");
                answered.fetch_add(usize::from(!draining), Ordering::Relaxed);
                if draining || is_done.load(Ordering::Relaxed) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    };
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..USERS).map(|number| scope.spawn(move || look_up(number))).collect();
        for number in 0..200 {
            if number % 5 == 0 {
                daemon.signal(Signal::SIGTERM);
                assert!(daemon.wait().success(), "{number}: {}", daemon.log());
                daemon = deployment.start();
            } else {
                let text = match number % 2 {
                    0 => good.replace("\"10m\"", "\"soon\""),
                    _ => good.replace("burst = 1000", &format!("burst = {}", 1000 + number)),
                };
                fs::write(deployment.config(), text).unwrap();
                assert_eq!(daemon.run(&["reload"]).0, if number % 2 == 0 { 78 } else { 0 }, "{number}");
                fs::write(deployment.config(), &good).unwrap();
            }
        }
        is_done.store(true, Ordering::Relaxed);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
    let provider = providers.of("gitlab");
    let redemptions = provider.redemptions();
    assert_eq!(provider.most_presented(), 1, "{redemptions:?}");
    assert!(redemptions.len() > 2 * USERS, "{}", redemptions.len());
    assert!(answered.load(Ordering::Relaxed) > 40 * USERS, "{answered:?}");
}

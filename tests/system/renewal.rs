//! Renewal with the real binary, real TLS and a real state file, at a provider that ends a family of tokens whose
//! refresh token it sees twice.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::domain::freshness::Timestamp;
use cloakroom::fake_auth0::provider::{Dialect, FakeProvider, ProviderOptions};
use cloakroom::fake_auth0::{CertificateKind, Listening};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::caller::{Caller, token_path};
use crate::support::deployment::{Deployment, write_private};

const USERS: usize = 8;

/// A daemon's surroundings: Auth0, and a provider whose refresh tokens are for a single use.
struct Scene {
    deployment: Deployment,
    provider: FakeProvider,
    _listening: Listening,
}

fn user(number: usize) -> String {
    format!("oauth2|gitlab|{number}")
}

impl Scene {
    /// Users whose tokens have expired, and a provider whose access tokens live for three seconds.
    fn new() -> Self {
        let deployment = Deployment::new("");
        let provider = FakeProvider::beside(&deployment.tenant, ProviderOptions::of(Dialect::Gitlab));
        provider.set_rules(|rules| {
            rules.lifetime = Some(Duration::from_secs(3));
            rules.reuse_ends_family = true;
        });
        let guard = deployment.runtime.enter();
        let listening = provider.listen(CertificateKind::Good).unwrap();
        drop(guard);
        let login = Timestamp::from_secs(Clock::system().now().wall.as_secs() - 10_000);
        for number in 0..USERS {
            let issued = provider.consent(&user(number));
            assert!(deployment.tenant.put_user(json!({
                "user_id": user(number), "last_login": login.to_string(), "identities": [{
                    "provider": "oauth2", "connection": "gitlab", "user_id": number.to_string(), "isSocial": true,
                    "access_token": "expired", "expires_in": 7200, "refresh_token": issued.refresh_token,
                }],
            })));
        }
        let path = |name: &str| deployment.directory.path().join(name);
        write_private(&path("connection-secret"), provider.client().1.expose());
        write_private(&path("state_key"), &"07".repeat(32));
        let settings = format!(
            "[cache]\nmax_ttl = \"10m\"\nmin_ttl = \"1s\"\n[upstream]\nrequests_per_second = 5000\nburst = 1000\n\
             [providers]\nca_file = {:?}\nrequests_per_second = 1000\nburst = 1000\n\
             [state]\npath = {:?}\nkey_file = {:?}\n\
             [[connection]]\nname = \"gitlab\"\nsources = [\"identities\", \"refresh\"]\n\
             [connection.refresh]\nprovider = \"gitlab\"\nclient_id = \"demo-connection\"\nsecret_file = {:?}\n\
             token_endpoint = \"https://{}{}\"\n",
            path("ca.pem"),
            path("state"),
            path("state_key"),
            path("connection-secret"),
            listening.domain(),
            Dialect::Gitlab.path(),
        );
        let mut text = fs::read_to_string(deployment.config()).unwrap();
        text.push_str(&settings);
        fs::write(deployment.config(), text).unwrap();
        Self { deployment, provider, _listening: listening }
    }
}

/// Guarantee 10. The provider ends a family whose refresh token is presented twice, so that one wrong redemption would be
/// 410 for the rest of the test.
#[test]
fn two_hundred_reloads_and_restarts_under_load_redeem_no_token_twice() {
    let scene = Scene::new();
    let good = fs::read_to_string(scene.deployment.config()).unwrap();
    let mut daemon = scene.deployment.start();
    let (is_done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let socket = scene.deployment.socket();
    let look_up = |number: usize| {
        let path = token_path(&user(number));
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
                daemon = scene.deployment.start();
            } else {
                let text = match number % 2 {
                    0 => good.replace("\"10m\"", "\"soon\""),
                    _ => good.replace("burst = 1000", &format!("burst = {}", 1000 + number)),
                };
                fs::write(scene.deployment.config(), text).unwrap();
                assert_eq!(daemon.run(&["reload"]).0, if number % 2 == 0 { 78 } else { 0 }, "{number}");
                fs::write(scene.deployment.config(), &good).unwrap();
            }
        }
        is_done.store(true, Ordering::Relaxed);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
    let redemptions = scene.provider.redemptions();
    assert_eq!(scene.provider.most_presented(), 1, "{redemptions:?}");
    assert!(redemptions.len() > 2 * USERS, "{}", redemptions.len());
    assert!(answered.load(Ordering::Relaxed) > 40 * USERS, "{answered:?}");
}

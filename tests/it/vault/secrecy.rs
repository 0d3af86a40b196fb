//! Subject tokens, assertions and keys reach Auth0 and nothing else, and connections that stay silent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cloakroom::fake_auth0::{ClientKeyPair, Endpoint, ExpiresIn, Fault, Refreshing, WaitHint, users};
use cloakroom::transport::{Sending, Transport};
use http_body_util::{BodyExt, Full};
use hyper::Request;

use super::{GOOGLE, HOUR, World, client, token};
use crate::support::log::Log;

/// A transport that keeps the secrets of each request.
struct Overhearing {
    inner: Arc<dyn Transport>,
    secrets: Arc<Mutex<Vec<String>>>,
}

impl Overhearing {
    fn hear(&self, request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
        let (head, body) = request.into_parts();
        // The body is in memory, so that it is complete when it is polled once.
        let collected = std::pin::pin!(body.clone().collect());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Ok(bytes)) = collected.poll(&mut context) else { panic!("no body") };
        let bytes = bytes.to_bytes();
        let found = form_urlencoded::parse(&bytes)
            .filter(|(name, _)| name == "subject_token" || name == "client_assertion")
            .map(|(_, value)| value.into_owned());
        self.secrets.lock().unwrap().extend(found);
        Request::from_parts(head, body)
    }
}

impl Transport for Overhearing {
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        self.inner.send(self.hear(request))
    }

    fn send_anew(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        self.inner.send_anew(self.hear(request))
    }

    fn retire(&self) {
        self.inner.retire();
    }
}

#[tokio::test(start_paused = true)]
async fn no_token_and_no_key_is_in_any_text_at_any_level() {
    let secrets = Arc::<Mutex<Vec<String>>>::default();
    let (log, _listening) = Log::of_everything();
    let world = World::with("", |tenant, config| {
        let inner = crate::support::in_memory::InMemory::to(tenant, config);
        Arc::new(Overhearing { inner, secrets: Arc::clone(&secrets) })
    });
    let mut texts = Vec::new();
    let echo = Fault::Status {
        status: 403,
        headers: vec![("content-type".into(), "application/json".into())],
        body: r#"{"error":"access_denied","error_description":"canary-description"}"#.into(),
    };
    let faults = [
        None,
        Some(echo),
        Some(Fault::Edge503Html),
        Some(Fault::StallBody),
        Some(Fault::ResetWhileReading),
        Some(Fault::RateLimited(WaitHint::Seconds(1))),
        Some(Fault::TokenEndsIn(" canary-suffix")),
        Some(Fault::ExpiresIn(ExpiresIn::Zero)),
    ];
    for fault in faults {
        fault.into_iter().for_each(|fault| world.tenant.fault(Endpoint::Exchange, fault));
        for user in [users::GOOGLE, users::JOHN] {
            texts.push(format!("{:?}", world.exchange_for(user, GOOGLE, Some("1035")).await));
        }
        world.tenant.clear_all();
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    world.pass(HOUR);
    world.tenant.set_refreshing(GOOGLE, Refreshing::Fails);
    texts.push(format!("{:?}", world.exchange_for(users::GOOGLE, GOOGLE, None).await));
    world.reload(&[1], None);
    texts.push(format!("{:?} {:?}", world.exchange_for(users::GOOGLE, GOOGLE, None).await, client(&[0, 1])));
    texts.push(format!("{:?}", world.counters));

    let secrets = secrets.lock().unwrap();
    assert!(secrets.len() >= 30 && secrets.iter().all(|secret| secret.split('.').count() == 3));
    texts.push(log.text());
    let keys = [0, 1].map(|index| ClientKeyPair::shared(index).unwrap());
    let lines = keys.iter().flat_map(|key| key.private_pem.expose().lines().filter(|line| line.len() == 64));
    let signatures = secrets.iter().flat_map(|secret| secret.split('.').skip(1));
    let canaries = ["vault-google-oauth2-1035", "canary-description", "canary-suffix"].into_iter();
    for canary in canaries.chain(lines).chain(signatures) {
        let holder = texts.iter().find(|text| text.contains(canary));
        assert_eq!(holder, None, "{canary}");
    }
    assert!(log.lines("Token Vault") > 3, "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn an_outage_and_a_misconfiguration_have_one_line_each_at_their_beginning_and_end() {
    let (log, _listening) = Log::of_everything();
    let world = World::new("");
    let users: Vec<_> = (0..100).map(|number| world.enrol(number)).collect();
    let all = async || {
        for user in &users {
            world.exchange_for(user, GOOGLE, None).await;
        }
    };
    all().await;
    assert_eq!(log.lines("Token Vault"), 0);
    world.tenant.fault(Endpoint::Exchange, Fault::Edge503Html);
    all().await;
    assert_eq!((log.lines("WARN"), log.lines("Token Vault cannot be asked")), (1, 1), "{}", log.text());
    world.tenant.clear_all();
    all().await;
    assert_eq!(log.lines("Token Vault can be asked again"), 1);

    world.tenant.change_vault(|vault| vault.ip_allowlist.clear());
    all().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    all().await;
    let refused = "Token Vault refuses exchanges until this is fixed";
    assert_eq!((log.lines("ERROR"), log.lines(refused)), (1, 1), "{}", log.text());
    assert!(log.text().contains("privileged access has to name this connection"), "{}", log.text());
    world.tenant.change_vault(|vault| vault.ip_allowlist = vec![vault.caller.to_string()]);
    world.pass(Duration::from_secs(60));
    all().await;
    assert_eq!(log.lines("Token Vault accepts exchanges again"), 1);

    world.pass(HOUR);
    world.tenant.set_refreshing(GOOGLE, Refreshing::Fails);
    all().await;
    all().await;
    assert_eq!(log.lines("cannot refresh the tokens of several users"), 1, "{}", log.text());
    world.tenant.set_refreshing(GOOGLE, Refreshing::Works);
    all().await;
    assert_eq!(log.lines("Token Vault refreshes tokens again"), 1);
    assert_eq!(log.lines("Token Vault"), 6, "{}", log.text());
}

/// A refusal of a single user is logged only if it lasts.
#[tokio::test(start_paused = true)]
async fn an_only_user_who_is_refused_is_logged_too() {
    let (log, _listening) = Log::of_everything();
    let world = World::new("");
    world.tenant.change_vault(|vault| vault.grants.clear());
    for lines in [0, 0, 1, 1, 1] {
        world.exchange().await;
        assert_eq!(log.lines("ERROR"), lines, "{}", log.text());
    }
}

/// Over real connections, in real time. The request on the connection that lost its way is sent again through another,
/// with tokens of its own: Auth0 would refuse the first ones if both arrived.
#[tokio::test]
async fn a_connection_on_which_nothing_arrives_any_more_costs_half_the_timeout() {
    let (world, _listening) = World::over_tls("request_timeout = \"2s\"\nconnect_timeout = \"1s\"");
    assert_eq!(world.exchange().await, token(1));
    world.tenant.fault(Endpoint::Exchange, Fault::DeadConnections);
    let begun = tokio::time::Instant::now();
    assert_eq!(world.exchange().await, token(1));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(world.tenant.assertions().iter().all(|one| one.verdict == Some(Ok(()))));
    assert_eq!(world.counters.exchange_requests.get(), 3);
}

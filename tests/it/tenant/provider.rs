//! The simulated identity providers, over real TLS beside the tenant.

use std::time::Duration;

use bytes::Bytes;
use cloakroom::clock::Clock;
use cloakroom::domain::error::Failure;
use cloakroom::fake_auth0::provider::{
    Answered, Breakdown, Dialect, FakeProvider, LoginRefreshToken, ProviderFault, ProviderOptions,
};
use cloakroom::fake_auth0::{CertificateKind, Handshake, Listening, WaitHint, users};
use cloakroom::transport::Transport;
use http_body_util::Full;
use hyper::Request;
use serde_json::json;

use crate::support::providers::ProvidersInMemory;

use super::https::{Https, Outcome};
use super::{START, World, world};

/// A provider's listener and a client that trusts it.
struct Side {
    provider: FakeProvider,
    listening: Listening,
    https: Https,
}

fn beside(world: &World, dialect: Dialect) -> Side {
    let provider = FakeProvider::beside(&world.tenant, ProviderOptions::of(dialect));
    let listening = provider.listen(CertificateKind::Good).unwrap();
    let https = Https::new(listening.domain(), listening.ca_pem());
    Side { provider, listening, https }
}

impl Side {
    async fn redeem(&self, refresh_token: &str) -> Outcome {
        redeem(&self.https, &self.provider, refresh_token).await
    }
}

async fn redeem(client: &Https, provider: &FakeProvider, refresh_token: &str) -> Outcome {
    let (id, secret) = provider.client();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
        ("client_id", &id),
        ("client_secret", secret.expose()),
    ];
    client.post_form(provider.dialect().path(), &form).await
}

#[tokio::test(start_paused = true)]
async fn a_stored_refresh_token_is_redeemed_beside_the_tenant() {
    let world = world();
    let google = beside(&world, Dialect::Google);
    assert_eq!(google.listening.ca_pem(), world.listening.ca_pem(), "one authority for both");
    assert_ne!(google.listening.port(), world.listening.port());
    google.provider.adopt(&world.tenant, "google-oauth2");

    let user = world.user(&world.bearer().await, &users::EXPIRED.replace('|', "%7C")).await.json();
    let stored = user["identities"][0]["refresh_token"].as_str().unwrap();
    let answer = google.redeem(stored).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("date"), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
    let body = answer.json();
    assert!(google.provider.is_alive(body["access_token"].as_str().unwrap()));
    assert_eq!((&body["expires_in"], body.get("refresh_token")), (&json!(3_599), None));

    let record = google.provider.redemptions().pop().unwrap();
    assert_eq!((record.user.as_deref(), record.answer), (Some(users::EXPIRED), Answered::Token));
    assert_eq!((record.position.unwrap().generation, record.secret), (0, Some(0)));
    assert_eq!(record.at.wall, START);
    let printed = format!("{record:?}");
    assert!(!printed.contains(stored) && !printed.contains(google.provider.client().1.expose()));
    assert!(world.tenant.calls().iter().all(|call| !call.path.contains(stored)), "the tenant is not asked");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_is_hidden_from_a_token_without_the_scope() {
    let world = world();
    let google = beside(&world, Dialect::Google);
    google.provider.log_in(&world.tenant, users::JOHN, "google-oauth2", LoginRefreshToken::New).unwrap();
    let shown = async || {
        let bearer = world.bearer().await;
        let user = world.user(&bearer, &users::JOHN.replace('|', "%7C")).await.json();
        ["access_token", "refresh_token", "expires_in"].map(|name| user["identities"][0].get(name).is_some())
    };
    assert_eq!(shown().await, [true; 3]);
    world.tenant.grant_scopes(&["read:users"]);
    assert_eq!(shown().await, [false; 3]);
}

#[tokio::test]
async fn an_answer_is_lost_on_the_wire_before_or_after_the_redemption() {
    let world = world();
    let side = beside(&world, Dialect::OAuth2);
    for (breakdown, expected) in [
        (Breakdown::Close, "SendRequest"),
        (Breakdown::Reset, "ConnectionReset"),
        (Breakdown::Truncate, "UnexpectedEof"),
        (Breakdown::Stall, ""),
        (Breakdown::StallBody, ""),
    ] {
        let consent = side.provider.consent("auth0|1");
        for (fault, processed) in [
            (ProviderFault::Before(breakdown.clone()), false),
            (ProviderFault::After(breakdown.clone()), true),
        ] {
            side.provider.fault_next(1, fault);
            let redemption = side.redeem(&consent.refresh_token);
            match tokio::time::timeout(Duration::from_millis(100), redemption).await {
                Ok(outcome) => {
                    let error = outcome.err().unwrap();
                    assert!(format!("{error:?}").contains(expected), "{breakdown:?}: {error:?}");
                }
                Err(_) => assert_eq!(expected, "", "{breakdown:?}"),
            }
            let record = side.provider.redemptions().pop().unwrap();
            assert_eq!((record.processed, record.answer), (processed, Answered::Nothing), "{breakdown:?}");
            assert_eq!(side.provider.is_redeemable(&consent.refresh_token), !processed, "{breakdown:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_early_has_redeemed_nothing_and_a_late_one_has() {
    let world = world();
    let side = beside(&world, Dialect::OAuth2);
    let (wait, soon) = (Duration::from_millis(300), Duration::from_millis(50));
    for (fault, processed) in [(ProviderFault::Latency(wait), false), (ProviderFault::LateAnswer(wait), true)]
    {
        let consent = side.provider.consent("auth0|1");
        side.provider.fault_next(1, fault);
        // A client whose connection is closed with it.
        let client = Https::new(side.listening.domain(), side.listening.ca_pem());
        let begun = side.provider.redemptions().len();
        tokio::select! {
            biased;
            _ = redeem(&client, &side.provider, &consent.refresh_token) => panic!("the answer is late"),
            () = side.provider.until(|records| records.len() > begun) => tokio::time::sleep(soon).await,
        }
        drop(client);
        tokio::time::sleep(2 * wait).await;
        let record = side.provider.redemptions().pop().unwrap();
        assert_eq!((record.processed, record.answer), (processed, Answered::Nothing));
        assert_eq!(side.provider.is_redeemable(&consent.refresh_token), !processed);
    }
}

#[tokio::test]
async fn a_body_drips_and_arrives_whole() {
    let world = world();
    let side = beside(&world, Dialect::Google);
    let consent = side.provider.consent("auth0|1");
    side.provider.fault_next(1, ProviderFault::After(Breakdown::Drip(Duration::from_micros(10))));
    let answer = side.redeem(&consent.refresh_token).await.unwrap();
    assert!(answer.json()["access_token"].is_string());
    side.provider.fault_next(1, ProviderFault::After(Breakdown::Drip(Duration::from_millis(50))));
    let slow = tokio::time::timeout(Duration::from_millis(200), side.redeem(&consent.refresh_token));
    assert!(slow.await.is_err());
    side.provider.fault_next(1, ProviderFault::After(Breakdown::Padded(1 << 20)));
    assert_eq!(side.redeem(&consent.refresh_token).await.unwrap().body.len(), 1 << 20);
    side.provider.fault_next(1, ProviderFault::After(Breakdown::Crumbs(1_000)));
    assert!(side.redeem(&consent.refresh_token).await.unwrap().json()["access_token"].is_string());
}

#[tokio::test]
async fn connections_fail_before_anything_is_sent() {
    let world = world();
    let side = beside(&world, Dialect::Google);
    let fresh = || Https::new(side.listening.domain(), side.listening.ca_pem());
    side.provider.refuse_connections(true);
    let error = fresh().get("/", &[]).await.err().unwrap();
    assert!(format!("{error:?}").contains("ConnectionRefused"), "{error:?}");
    side.provider.clear();
    side.provider.set_handshake(Handshake::Closed);
    let error = fresh().get("/", &[]).await.err().unwrap();
    assert!(format!("{error:?}").contains("Connect"), "{error:?}");
    side.provider.set_handshake(Handshake::Stalled);
    let waited = tokio::time::timeout(Duration::from_millis(100), fresh().get("/", &[])).await;
    assert!(waited.is_err());
    side.provider.clear();
    assert_eq!(fresh().get("/", &[]).await.unwrap().status, 404);
    assert_eq!((side.provider.strays(), side.provider.redemptions().len()), (1, 0));

    let wrong = side.provider.listen(CertificateKind::WrongName).unwrap();
    let error = Https::new(wrong.domain(), wrong.ca_pem()).get("/", &[]).await.err().unwrap();
    assert!(format!("{error:?}").contains("NotValidForName"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn two_providers_fail_apart_and_an_authority_may_be_its_own() {
    let world = world();
    let (google, gitlab) = (beside(&world, Dialect::Google), beside(&world, Dialect::Gitlab));
    let (one, other) = (google.provider.consent("auth0|1"), gitlab.provider.consent("auth0|1"));
    google.provider.fault(ProviderFault::Before(Breakdown::Status(429, WaitHint::Seconds(60))));
    assert_eq!(google.redeem(&one.refresh_token).await.unwrap().status, 429);
    assert_eq!(gitlab.redeem(&other.refresh_token).await.unwrap().status, 200);
    assert_eq!(world.https.get("/.well-known/jwks.json", &[]).await.unwrap().status, 200);

    let options = ProviderOptions::of(Dialect::Google);
    let apart = FakeProvider::new(Clock::simulated(START), options).unwrap();
    let listening = apart.listen(CertificateKind::Good).unwrap();
    assert!(Https::new(listening.domain(), world.listening.ca_pem()).get("/", &[]).await.is_err());
    assert_eq!(Https::new(listening.domain(), listening.ca_pem()).get("/", &[]).await.unwrap().status, 404);
}

/// A redemption as a client in the daemon's process would send it.
fn request(provider: &FakeProvider, host: &str, refresh_token: &str) -> Request<Full<Bytes>> {
    let (id, secret) = provider.client();
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", refresh_token)
        .append_pair("client_id", &id)
        .append_pair("client_secret", secret.expose())
        .finish();
    Request::post(format!("https://{host}{}", provider.dialect().path()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::from(form))
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn providers_are_joined_in_memory_by_their_hosts() {
    let limit = Duration::from_secs(5);
    let of = |dialect| FakeProvider::new(Clock::simulated(START), ProviderOptions::of(dialect)).unwrap();
    let (google, other) = (of(Dialect::Google), of(Dialect::OAuth2));
    let transport = ProvidersInMemory::of(&[&google, &other], limit);
    let (one, two) = (google.consent("auth0|1"), other.consent("auth0|1"));
    let to_google = || transport.send(request(&google, "oauth2.googleapis.com", &one.refresh_token));
    let to_other = || transport.send(request(&other, "idp.example", &two.refresh_token));
    assert_eq!(to_google().await.unwrap().status, 200);
    assert_eq!((google.redemptions().len(), other.redemptions().len()), (1, 0));

    let begun = tokio::time::Instant::now();
    other.fault_next(1, ProviderFault::After(Breakdown::Stall));
    assert!(matches!(to_other().await, Err(Failure::TimedOut { host }) if &*host == "idp.example"));
    assert_eq!(begun.elapsed(), limit);
    assert!(!other.is_redeemable(&two.refresh_token), "the answer is lost, the token is redeemed");

    google.fault_next(1, ProviderFault::Before(Breakdown::Close));
    assert!(matches!(to_google().await, Err(Failure::Broken { .. })), "the request was sent");
    google.refuse_connections(true);
    assert!(matches!(to_google().await, Err(Failure::Refused { .. })), "the request was not sent");
    google.clear();
    let begun = tokio::time::Instant::now();
    google.fault_next(1, ProviderFault::After(Breakdown::Drip(Duration::from_millis(10))));
    let answer = to_google().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_millis(10) * u32::try_from(answer.body.len()).unwrap());
    google.fault_next(1, ProviderFault::After(Breakdown::Drip(Duration::from_millis(100))));
    assert!(matches!(to_google().await, Err(Failure::TimedOut { .. })));
}

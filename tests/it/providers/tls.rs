//! Providers over real TLS: certificates, redirects, broken connections, and bodies without end. What a provider has
//! certainly not processed is told from what it may have.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::config::{self, Connection, Refresh, TokenEndpoint};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::domain::source::{Redemption, Rotation};
use cloakroom::fake_auth0::provider::{Breakdown, Dialect, FakeProvider, ProviderFault, ProviderOptions};
use cloakroom::fake_auth0::{CertificateKind, Handshake, Listening};
use cloakroom::providers::Providers;
use cloakroom::secret::Secret;
use cloakroom::transport::{self, Transport, TransportSettings};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{connection, rotating, said, settings};
use crate::support::futures::join_all;

/// A provider on loopback, and the daemon's client of it.
struct Stage {
    provider: FakeProvider,
    listening: Listening,
    providers: Providers,
    client: Arc<Refresh>,
    connection: Connection,
    token: Secret,
}

fn transport(settings: &config::Providers, ca_pem: Option<&str>) -> Arc<dyn Transport> {
    let roots: Vec<_> =
        ca_pem.iter().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).collect();
    let built = transport::build(&TransportSettings {
        table: "providers",
        extra_roots: &roots,
        proxy: &settings.proxy,
        is_absolute: false,
        connect_timeout: settings.connect_timeout,
        request_timeout: settings.request_timeout,
    });
    built.unwrap()
}

impl Stage {
    /// A provider whose refresh tokens are valid once.
    fn new(kind: CertificateKind) -> Self {
        let settings = config::Providers {
            connect_timeout: Duration::from_millis(500),
            request_timeout: Duration::from_secs(2),
            ..settings()
        };
        let clock = Clock::simulated(Timestamp::parse("2026-11-29T12:00:00Z").unwrap());
        let provider = FakeProvider::new(clock.clone(), ProviderOptions::of(Dialect::Github)).unwrap();
        let listening = provider.listen(kind).unwrap();
        let (id, secret) = provider.client();
        let url = format!("https://{}{}", listening.domain(), provider.dialect().path());
        let client = Arc::new(Refresh {
            client_id: id,
            secret: Arc::new(secret),
            token_endpoint: TokenEndpoint::parse(&url).unwrap(),
            ..rotating("github", Rotation::Single)
        });
        let transport = transport(&settings, Some(listening.ca_pem()));
        let providers = Providers::new(&settings, transport, clock, Arc::default(), 7);
        let token = Secret::new(provider.consent("auth0|1").refresh_token);
        Self { connection: connection(&client), provider, listening, providers, client, token }
    }

    async fn redeem(&self) -> Redemption {
        self.providers.redeem(&self.connection, &self.client, &self.token).await
    }

    /// What one redemption under each of these faults means, and whether the provider then has a successor of the token.
    async fn under_each(faults: Vec<ProviderFault>) -> Vec<(String, bool)> {
        join_all(faults.into_iter().map(Self::under)).await
    }

    /// What one redemption under this fault means, and whether the provider then has a successor of the token.
    async fn under(fault: ProviderFault) -> (String, bool) {
        let stage = Self::new(CertificateKind::Good);
        stage.provider.fault_next(1, fault);
        let said = said(&stage.redeem().await);
        (said.split(" wait").next().unwrap().to_owned(), !stage.provider.is_redeemable(stage.token.expose()))
    }
}

#[tokio::test]
async fn a_token_is_redeemed_once_and_its_successor_next() {
    let stage = Stage::new(CertificateKind::Good);
    let Redemption::Issued { token, refresh_token: Some(next) } = stage.redeem().await else { panic!() };
    assert!(token.expires_in.is_some());
    assert_eq!(said(&stage.redeem().await), "over refresh_refused", "the first is over");
    let again = stage.providers.redeem(&stage.connection, &stage.client, &next).await;
    assert!(matches!(again, Redemption::Issued { .. }), "{again:?}");
    assert_eq!(stage.provider.redemptions().len(), 3);
}

#[tokio::test]
async fn nothing_is_sent_to_a_host_whose_certificate_is_not_right() {
    for kind in [
        CertificateKind::WrongName,
        CertificateKind::Expired,
        CertificateKind::UnknownIssuer,
        CertificateKind::OnlyCommonName,
        CertificateKind::NotForServers,
    ] {
        let stage = Stage::new(kind);
        let meant = said(&stage.redeem().await);
        assert!(meant.starts_with("failed unreachable, processed No"), "{kind:?} {meant}");
        assert_eq!(stage.provider.redemptions().len(), 0, "{kind:?}");
    }
    let meant = Stage::new(CertificateKind::WrongName).redeem().await;
    let text = format!("{meant:?}");
    assert!(
        text.contains("its certificate is not trusted; providers.ca_file can name an authority"),
        "{text}"
    );
}

#[tokio::test]
async fn a_connection_that_is_never_there_leaves_the_token_as_it_is() {
    for handshake in [Handshake::Closed, Handshake::Stalled] {
        let stage = Stage::new(CertificateKind::Good);
        stage.provider.set_handshake(handshake);
        let meant = said(&stage.redeem().await);
        assert!(meant.contains(", processed No"), "{handshake:?} {meant}");
        stage.provider.set_handshake(Handshake::Done);
        assert!(stage.provider.is_redeemable(stage.token.expose()));
    }
    let stage = Stage::new(CertificateKind::Good);
    stage.provider.refuse_connections(true);
    let meant = said(&stage.redeem().await);
    assert!(meant.starts_with("failed unreachable, processed No"), "{meant}");
}

/// The provider may or may not have replaced the refresh token by then.
#[tokio::test]
async fn an_answer_that_does_not_arrive_leaves_open_what_the_provider_did() {
    let cases = [
        (Breakdown::Stall, "failed timed out, processed Unknown"),
        (Breakdown::Close, "failed unreachable, processed Unknown"),
        (Breakdown::Reset, "failed unreachable, processed Unknown"),
        (Breakdown::Truncate, "failed unreachable, processed Unknown"),
        (Breakdown::StallBody, "failed timed out, processed Unknown"),
    ];
    for (moment, is_replaced) in [(ProviderFault::Before as fn(_) -> _, false), (ProviderFault::After, true)]
    {
        let faults = cases.iter().map(|(breakdown, _)| moment(breakdown.clone())).collect();
        let expected: Vec<_> = cases.iter().map(|(_, meant)| ((*meant).to_owned(), is_replaced)).collect();
        assert_eq!(Stage::under_each(faults).await, expected);
    }
}

#[tokio::test]
async fn bodies_are_bounded_in_size_frames_and_time() {
    let cases = [
        (Breakdown::Padded(2 << 20), "failed malformed: a body of more than 1 MiB, processed Unknown"),
        (
            Breakdown::Crumbs(64 << 10),
            "failed malformed: a body in more than 16384 chunks, processed Unknown",
        ),
        (Breakdown::Drip(Duration::from_millis(100)), "failed timed out, processed Unknown"),
        (Breakdown::Empty200, "failed malformed: an empty body, processed Unknown"),
        (Breakdown::Html200, "failed malformed: no access token, processed Unknown"),
    ];
    let faults = cases.iter().map(|(breakdown, _)| ProviderFault::After(breakdown.clone())).collect();
    for ((breakdown, meant), (said, _)) in cases.iter().zip(Stage::under_each(faults).await) {
        assert_eq!(said, *meant, "{breakdown:?}");
    }
    let (said, _) = Stage::under(ProviderFault::After(Breakdown::Padded(64 << 10))).await;
    assert!(said.starts_with("issued "), "{said}");
}

/// The secret and the refresh token go to the configured host alone.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Stage::new(CertificateKind::Good);
    let location = elsewhere.client.token_endpoint.url().to_owned();
    let (said, is_replaced) = Stage::under(ProviderFault::Before(Breakdown::Redirect(location))).await;
    let what = "a redirect, which is never followed; check token_endpoint";
    assert_eq!((said, is_replaced), (format!("failed malformed: {what}, processed No"), false));
    assert_eq!(elsewhere.provider.redemptions().len(), 0);
}

/// No configuration has an http URL, and no transport would take one.
#[tokio::test]
async fn plain_text_is_refused() {
    assert!(TokenEndpoint::parse("http://localhost/token").is_err());
    let stage = Stage::new(CertificateKind::Good);
    let transport = transport(&settings(), Some(stage.listening.ca_pem()));
    let url = stage.client.token_endpoint.url().replacen("https", "http", 1);
    let request = hyper::Request::post(url).body(http_body_util::Full::default()).unwrap();
    assert!(transport.send(request).await.is_err());
    assert_eq!(stage.provider.redemptions().len(), 0);
}

//! An application that authenticates with a certificate: its subject tokens are signed all the same, and its requests
//! go to the host that the tenant names.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::config::{self, Config, Env};
use cloakroom::domain::source::SourceFault;
use cloakroom::fake_auth0::{
    CertificateKind, ClientAuth, ClientCertificateKind, ClientKeyPair, Endpoint, Fault, KeyUse, Listening,
    Tenant, TenantOptions,
};
use cloakroom::transport::Transport;
use cloakroom::upstream::transport_to;
use tempfile::TempDir;

use super::{Outcome, World, signing_key, token};
use crate::support::configuration::configuration;
use crate::support::configuration::write_private;
use crate::support::in_memory::{self, InMemory};

/// A configuration whose client has a certificate of this kind, for the RSA key of this number or for an EC key, and
/// whose `[vault]` has these lines.
fn configured(
    tenant: &Tenant,
    (domain, ca_pem): (&str, Option<&str>),
    (kind, key): (ClientCertificateKind, Option<usize>),
    vault: &str,
) -> (TempDir, Config) {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| write_private(&directory.path().join(name), content);
    let key = key.map(|index| ClientKeyPair::shared(index).unwrap());
    let files = tenant.issue_client_certificate(kind, key.as_deref()).unwrap();
    put("client.pem", &files.certificate_pem);
    put("client-key.pem", files.key_pem.expose());
    put("vault-key.pem", ClientKeyPair::shared(0).unwrap().private_pem.expose());
    let settings = format!(
        "[tenant.client]\nid = \"demo-client\"\nauth = \"tls_client_auth\"\ncertificate_file = \"{{dir}}/client.pem\"\n\
         key_file = \"{{dir}}/client-key.pem\"\n[vault]\naudit_context = \"cloakroom\"\n{vault}\
         [[connection]]\nname = \"google-oauth2\"\nsources = [\"vault\"]\n"
    );
    let text = configuration(domain, tenant, ca_pem, &directory, &settings);
    let config = config::parse("test.toml", &text, &Env::default()).unwrap().config;
    (directory, config)
}

fn options() -> TenantOptions {
    TenantOptions { client_auth: ClientAuth::TlsClientAuth, ..TenantOptions::default() }
}

fn assembled(
    tenant: Tenant,
    clocks: [Clock; 2],
    (directory, config): (TempDir, Config),
    transport: Arc<dyn Transport>,
) -> World {
    let (client, settings) = (config.client.clone(), config.vault.clone().unwrap());
    let world = World::assemble(tenant, clocks, (directory, config), transport, &client, settings);
    // An assertion would be refused.
    world.tenant.remove_key(KeyUse::Authentication, signing_key(0).kid());
    world
}

/// A world over TLS with such a configuration.
fn world(kind: ClientCertificateKind, key: Option<usize>, vault: &str) -> (World, [Listening; 2]) {
    let clock = Clock::system();
    let tenant = Tenant::new(clock.clone(), options()).unwrap();
    let (plain, mtls) = (tenant.listen(CertificateKind::Good).unwrap(), tenant.listen_mtls().unwrap());
    let configured = configured(&tenant, (plain.domain(), Some(plain.ca_pem())), (kind, key), vault);
    let transport = transport_to(&configured.1.tenant).unwrap();
    (assembled(tenant, [clock.clone(), clock], configured, transport), [plain, mtls])
}

/// A world in virtual time, whose discovery document names the host that asks for certificates.
fn simulated() -> World {
    let domain = "tenant.example";
    let (tenant, clocks) = in_memory::tenant(TenantOptions { domain: Some(domain.into()), ..options() });
    tenant.set_mtls_host("mtls.tenant.example");
    let configured = configured(&tenant, (domain, None), (ClientCertificateKind::Good, Some(0)), "");
    let transport = InMemory::to(&tenant, &configured.1);
    assembled(tenant, clocks, configured, transport)
}

/// The document says nothing new in an outage, and lookups of users need the budget that reading it takes from.
#[tokio::test(start_paused = true)]
async fn exchanges_that_fail_have_the_discovery_document_read_once_a_minute() {
    let world = simulated();
    let reads = || world.tenant.calls_to(Endpoint::Discovery).len();
    assert_eq!((world.exchange().await, reads()), (token(1), 1));
    world.tenant.fault(Endpoint::Exchange, Fault::Edge503Html);
    for minute in 1..=3 {
        world.pass(Duration::from_secs(60));
        for _ in 0..20 {
            assert!(matches!(world.exchange().await, Outcome::Failure(_)));
        }
        assert!(reads() <= 2 + minute, "{} reads after {minute} minutes", reads());
    }
    // What was read before counts while the document cannot be read.
    world.tenant.clear_all();
    world.tenant.fault(Endpoint::Discovery, Fault::Edge503Html);
    let before = reads();
    world.pass(Duration::from_secs(60));
    assert_eq!((world.exchange().await, reads() - before), (token(1), 1));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_has_moved_is_found_again() {
    let world = simulated();
    assert_eq!(world.exchange().await, token(1));
    world.tenant.set_mtls_host("mtls.elsewhere.example");
    world.tenant.fault_next(Endpoint::Exchange, 3, Fault::RefuseConnections);
    world.pass(Duration::from_secs(60));
    world.exchange().await;
    assert_eq!(world.exchange().await, token(1));
    assert_eq!(world.tenant.calls_to(Endpoint::Discovery).len(), 2);
}

#[tokio::test]
async fn the_certificates_rsa_key_signs_subject_tokens() {
    let (world, _hosts) = world(ClientCertificateKind::Good, Some(0), "");
    assert_eq!(world.cost(world.exchange()).await, (token(1), 1));
    assert_eq!(world.cost(world.exchange()).await, (token(1), 1));
    assert!(world.tenant.assertions().is_empty());
}

#[tokio::test]
async fn beside_an_ec_certificate_a_key_of_its_own_does() {
    let (world, _hosts) = world(ClientCertificateKind::Good, None, "key_file = \"{dir}/vault-key.pem\"\n");
    assert_eq!(world.exchange().await, token(1));
}

#[tokio::test]
async fn a_certificate_that_is_refused_is_the_clients_fault() {
    for kind in [ClientCertificateKind::Expired, ClientCertificateKind::UnknownIssuer] {
        let (world, _hosts) = world(kind, Some(0), "");
        assert_eq!(world.exchange().await, Outcome::Fault(SourceFault::VaultClient), "{kind:?}");
    }
}

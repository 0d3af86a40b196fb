//! An application that authenticates with a certificate, over real TLS: its subject tokens are signed all the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cloakroom::clock::Clock;
use cloakroom::config::{self, Env};
use cloakroom::domain::source::SourceFault;
use cloakroom::fake_auth0::{
    CertificateKind, ClientAuth, ClientCertificateKind, ClientKeyPair, KeyUse, Listening, Tenant,
    TenantOptions,
};
use cloakroom::upstream::transport_to;

use super::{Outcome, World, signing_key, token};
use crate::support::configuration::configuration;

/// A world whose client has a certificate of this kind, for the RSA key of this number or for an EC key, and whose
/// `[vault]` has these lines.
fn world(kind: ClientCertificateKind, key: Option<usize>, vault: &str) -> (World, [Listening; 2]) {
    let clock = Clock::system();
    let options = TenantOptions { client_auth: ClientAuth::TlsClientAuth, ..TenantOptions::default() };
    let tenant = Tenant::new(clock.clone(), options).unwrap();
    let (plain, mtls) = (tenant.listen(CertificateKind::Good).unwrap(), tenant.listen_mtls().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
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
    let text = configuration(plain.domain(), &tenant, Some(plain.ca_pem()), &directory, &settings);
    let config = config::parse("test.toml", &text, &Env::default()).unwrap().config;
    let (transport, client) = (transport_to(&config.tenant).unwrap(), config.client.clone());
    let settings = config.vault.clone().unwrap();
    let clocks = [clock.clone(), clock];
    let world = World::assemble(tenant, clocks, (directory, config), transport, &client, settings);
    // An assertion would be refused.
    world.tenant.remove_key(KeyUse::Authentication, signing_key(0).kid());
    (world, [plain, mtls])
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

//! Authentication with a certificate: where it is presented, where the token endpoint is, and what is said when it is
//! refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::domain::error::{Failure, LookupError, Refusal};
use cloakroom::fake_auth0::{
    CertificateKind, ClientAuth, ClientCertificateFiles, ClientCertificateKind, ClientKeyPair, Endpoint,
    Fault, Listening, Tenant, TenantOptions, users,
};

use crate::support::in_memory;
use crate::support::world::World;

/// `[tenant.client]` with a certificate.
const CERTIFICATE: &str = "[tenant.client]\nid = \"demo-client\"\nauth = \"tls_client_auth\"\n\
                           certificate_file = \"{dir}/client.pem\"\nkey_file = \"{dir}/client-key.pem\"\n";

fn options() -> TenantOptions {
    TenantOptions { client_auth: ClientAuth::TlsClientAuth, ..TenantOptions::default() }
}

fn put(directory: &Path, files: &ClientCertificateFiles) {
    fs::write(directory.join("client.pem"), &files.certificate_pem).unwrap();
    let key = directory.join("client-key.pem");
    fs::write(&key, files.key_pem.expose()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A tenant with both of its hosts, each behind real TLS.
struct Hosts {
    tenant: Tenant,
    plain: Listening,
    mtls: Listening,
}

impl Hosts {
    fn new() -> Self {
        let tenant = Tenant::new(Clock::system(), options()).unwrap();
        let (plain, mtls) = (tenant.listen(CertificateKind::Good).unwrap(), tenant.listen_mtls().unwrap());
        Self { tenant, plain, mtls }
    }

    /// A daemon with a certificate of this kind. The second host is kept beside it.
    async fn daemon(
        self,
        kind: ClientCertificateKind,
        key: Option<&ClientKeyPair>,
        more: &str,
    ) -> (World, Listening) {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), &self.tenant.issue_client_certificate(kind, key).unwrap());
        let settings = format!("{CERTIFICATE}{}", more.replace("{mtls}", self.mtls.domain()));
        (World::over_tls_before(self.tenant, self.plain, directory, &settings).await, self.mtls)
    }
}

/// Paths and statuses in the order of the calls.
fn calls(tenant: &Tenant) -> Vec<(Endpoint, Option<u16>)> {
    let status = |call: &cloakroom::fake_auth0::Call| call.status.map(|status| status.as_u16());
    tenant.calls().iter().map(|call| (call.endpoint, status(call))).collect()
}

#[tokio::test]
async fn the_alias_is_asked_for_tokens_and_the_tenants_domain_for_everything_else() {
    // An EC key is rustls' own, an RSA key is the one that could sign JWTs as well.
    let rsa = ClientKeyPair::shared(0).unwrap();
    for key in [None, Some(&*rsa)] {
        let (world, _mtls) = Hosts::new().daemon(ClientCertificateKind::Good, key, "").await;
        world.ready().await;
        assert!(world.look_up(users::GITHUB).await.is_ok());
        // On the port that asks for certificates, every other path is a 404.
        let expected = [Endpoint::Discovery, Endpoint::Token, Endpoint::User].map(|at| (at, Some(200)));
        assert_eq!(calls(&world.tenant), expected);
    }
}

#[tokio::test]
async fn a_configured_host_is_asked_and_discovery_is_not() {
    let hosts = Hosts::new();
    hosts.tenant.set_mtls_aliases(false);
    let more = "token_host = \"{mtls}\"\n";
    let (world, _mtls) = hosts.daemon(ClientCertificateKind::Good, None, more).await;
    world.ready().await;
    assert_eq!(calls(&world.tenant), [(Endpoint::Token, Some(200))]);
}

#[tokio::test]
async fn without_aliases_the_tenants_own_endpoint_is_asked() {
    let hosts = Hosts::new();
    hosts.tenant.set_mtls_aliases(false);
    let (world, _mtls) = hosts.daemon(ClientCertificateKind::Good, None, "").await;
    // It does not ask for a certificate, so none is presented.
    let failure = failure(&world).await;
    assert_eq!(failure, Failure::Denied(Refusal::Certificate { status: 401 }));
    assert!(failure.to_string().contains("mTLS endpoint aliases"), "{failure}");
    assert_eq!(calls(&world.tenant)[..2], [(Endpoint::Discovery, Some(200)), (Endpoint::Token, Some(401))]);
}

#[tokio::test]
async fn a_certificate_that_is_refused_is_said_to_be() {
    for (kind, in_tls) in [
        (ClientCertificateKind::Expired, true),
        (ClientCertificateKind::UnknownIssuer, true),
        (ClientCertificateKind::AnotherSubject, false),
    ] {
        let (world, mtls) = Hosts::new().daemon(kind, None, "").await;
        let failure = failure(&world).await;
        let expected = match in_tls {
            true => Failure::CertificateRefused { host: mtls.domain().into() },
            false => Failure::Denied(Refusal::Certificate { status: 401 }),
        };
        assert_eq!(failure, expected, "{kind:?}");
        assert!(failure.to_string().contains("the client's certificate"), "{failure}");
    }
}

/// Why there is no Management token.
async fn failure(world: &World) -> Failure {
    match world.look_up(users::GITHUB).await.unwrap_err() {
        LookupError::Unavailable(unavailable) => unavailable.failure,
        other => panic!("{other:?}"),
    }
}

/// In virtual time, with a host that asks for certificates by its name.
async fn simulated() -> World {
    let domain = Some("tenant.example".to_owned());
    let (tenant, clocks) = in_memory::tenant(TenantOptions { domain, ..options() });
    tenant.set_mtls_host("mtls.tenant.example");
    let files = tenant.issue_client_certificate(ClientCertificateKind::Good, None).unwrap();
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), &files);
    World::reloadable_in(directory, (tenant, clocks), CERTIFICATE).await
}

impl World {
    fn times(&self, endpoint: Endpoint) -> usize {
        self.tenant.calls_to(endpoint).len()
    }

    async fn renewed(&self) {
        self.tenant.revoke_management_tokens();
        self.cache().purge_all();
        drop(self.look_up(users::GITHUB).await);
        tokio::time::sleep(Duration::from_secs(900)).await;
        assert!(self.look_up(users::GITHUB).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn discovery_is_read_once_and_again_after_a_failure() {
    let world = simulated().await;
    world.ready().await;
    world.renewed().await;
    world.renewed().await;
    assert_eq!((world.times(Endpoint::Discovery), world.times(Endpoint::Token)), (1, 3));

    // The host moves, and the old one is gone.
    world.tenant.fault_next(Endpoint::Token, 1, Fault::RefuseConnections);
    world.tenant.set_mtls_host("mtls.elsewhere.example");
    world.renewed().await;
    assert_eq!(world.times(Endpoint::Discovery), 2);
    world.renewed().await;
    assert_eq!(world.times(Endpoint::Discovery), 2);

    // A refusal may mean another host as well, and a reload asks anew.
    world.tenant.set_client_auth(ClientAuth::SecretPost);
    world.tenant.revoke_management_tokens();
    world.cache().purge_all();
    assert!(world.look_up(users::GITHUB).await.is_err());
    world.tenant.set_client_auth(ClientAuth::TlsClientAuth);
    world.renewed().await;
    assert_eq!(world.times(Endpoint::Discovery), 3);
    world.reload(CERTIFICATE).await.unwrap();
    world.renewed().await;
    assert_eq!(world.times(Endpoint::Discovery), 4);
}

#[tokio::test(start_paused = true)]
async fn a_discovery_document_that_cannot_be_read_is_a_failure_that_passes() {
    for fault in [
        Fault::Edge503Html,
        Fault::Html200,
        Fault::Empty200,
        Fault::Redirect("https://elsewhere.example/".to_owned()),
        Fault::StallHeaders,
        Fault::RefuseConnections,
        Fault::Status {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: r#"{"issuer":"https://elsewhere.example/","mtls_endpoint_aliases":{"token_endpoint":"https://elsewhere.example/"}}"#
                .to_owned(),
        },
    ] {
        let world = simulated().await;
        world.ready().await;
        world.reload(CERTIFICATE).await.unwrap();
        world.tenant.fault(Endpoint::Discovery, fault.clone());
        let before = world.times(Endpoint::Token);
        world.tenant.revoke_management_tokens();
        world.cache().purge_all();
        let LookupError::Unavailable(unavailable) = world.look_up(users::GITHUB).await.unwrap_err() else {
            panic!("{fault:?}");
        };
        assert!(!unavailable.failure.to_string().contains("elsewhere"), "{:?}", unavailable.failure);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(world.times(Endpoint::Token), before, "{fault:?}: nothing is asked elsewhere");
        world.tenant.clear_all();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(world.look_up(users::GITHUB).await.is_ok(), "{fault:?}");
    }
}

/// A new certificate that is refused does not cost the one before, which is presented again.
#[tokio::test(start_paused = true)]
async fn a_new_certificate_that_is_refused_does_not_cost_the_old_one() {
    let world = simulated().await;
    world.ready().await;
    let another = world.tenant.issue_client_certificate(ClientCertificateKind::AnotherSubject, None).unwrap();
    put(world.directory.path(), &another);
    let [changed, _] = world.reload(CERTIFICATE).await.unwrap();
    assert_eq!(changed, ["tenant.client.certificate_file"]);
    world.renewed().await;
    let statuses = || -> Vec<_> {
        let calls = world.tenant.calls_to(Endpoint::Token);
        calls.iter().map(|call| call.status.unwrap().as_u16()).collect()
    };
    assert_eq!(statuses(), [200, 401, 200]);

    let renewed = world.tenant.issue_client_certificate(ClientCertificateKind::Good, None).unwrap();
    put(world.directory.path(), &renewed);
    world.reload(CERTIFICATE).await.unwrap();
    world.renewed().await;
    assert_eq!(statuses(), [200, 401, 200, 200]);
}

/// A pair that does not belong together, as between the replacement of one file and of the other.
#[tokio::test(start_paused = true)]
async fn half_of_a_new_pair_is_refused_and_the_old_one_serves() {
    let world = simulated().await;
    world.ready().await;
    let renewed = world.tenant.issue_client_certificate(ClientCertificateKind::Good, None).unwrap();
    fs::write(world.directory.path().join("client.pem"), &renewed.certificate_pem).unwrap();
    let problems = world.reload(CERTIFICATE).await.unwrap_err();
    assert!(problems[0].contains("does not belong to the private key"), "{problems:?}");
    world.renewed().await;
    put(world.directory.path(), &renewed);
    world.reload(CERTIFICATE).await.unwrap();
    world.renewed().await;
}

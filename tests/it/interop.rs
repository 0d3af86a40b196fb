//! A client that others wrote: PyPI's `auth0-python` against the simulated tenant.
//!
//! Our own client and our own tenant could share a mistake. Auth0's SDK shares none of our code, so what it can
//! read was written as Auth0 writes it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use cloakroom::clock::Clock;
use cloakroom::fake_auth0::{
    CertificateKind, ClientAuth, ClientKeyPair, Endpoint, KeyUse, Tenant, TenantOptions, users,
};
use serde_json::{Value, json};

use crate::support::required::everything_is_required;

/// The Python that has the SDK; `None` where it is missing and may be.
#[expect(clippy::disallowed_methods, reason = "another Python may be named")]
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = env::var_os("CLOAKROOM_INTEROP_PYTHON")
        .map_or_else(|| root.join("target/interop-venv/bin/python"), PathBuf::from);
    if python.exists() {
        return Some(python);
    }
    assert!(!everything_is_required(), "{} is missing; run tests/install.sh", python.display());
    eprintln!("skipped: {} is missing; run tests/install.sh", python.display());
    None
}

/// What a script in `tests/support` prints.
async fn run(python: PathBuf, script: &str, ca: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(python);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(script))
        .args(arguments)
        .env("SSL_CERT_FILE", ca)
        .env("REQUESTS_CA_BUNDLE", ca)
        .env("NO_PROXY", "*");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth0s_own_sdk_reads_the_simulated_tenant() {
    let Some(python) = python() else { return };
    let tenant = Tenant::new(Clock::system(), TenantOptions::default()).unwrap();
    let listening = tenant.listen(CertificateKind::Good).unwrap();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), listening.ca_pem()).unwrap();

    let arguments = [listening.domain(), "demo-client", "demo-client-secret"];
    let users = [users::JOHN, users::SLASH, users::GITHUB, "auth0|nobody"];
    let seen = run(python, "auth0_client.py", ca.path(), &[&arguments[..], &users].concat()).await;

    assert_eq!(
        seen["grant"],
        json!({ "expires_in": 86_400, "scope": "read:users read:user_idp_tokens", "token_type": "Bearer" })
    );
    assert_eq!(seen["refusal"], json!({ "status": 401, "code": "access_denied", "message": "Unauthorized" }));
    let john = &seen["users"][users::JOHN];
    assert_eq!((&john["user_id"], &john["email"]), (&json!(users::JOHN), &Value::Null));
    assert_eq!(john["identities"][0]["access_token"], "ya29.demo-doe");
    assert_eq!(seen["users"][users::SLASH]["user_id"], users::SLASH, "its `/` and `@` survive the way");
    assert_eq!(seen["users"][users::GITHUB]["identities"][0]["access_token"], "gho_demo-octo");
    let nobody = &seen["users"]["auth0|nobody"];
    assert_eq!((&nobody["status"], &nobody["body"]["errorCode"]), (&json!(404), &json!("inexistent_user")));

    let paths: Vec<_> = tenant.calls_to(Endpoint::User).into_iter().map(|call| call.path).collect();
    assert!(paths[1].starts_with("/api/v2/users/oidc%7Ccorp%2Fjane%40corp.example?fields="), "{paths:?}");
    assert_eq!(tenant.calls_to(Endpoint::Token).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth0s_own_sdk_authenticates_with_a_key() {
    let Some(python) = python() else { return };
    for alg in ["RS256", "RS384", "PS256"] {
        let options = TenantOptions { client_auth: ClientAuth::PrivateKeyJwt, ..TenantOptions::default() };
        let tenant = Tenant::new(Clock::system(), options).unwrap();
        let listening = tenant.listen(CertificateKind::Good).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
            directory.path().join(name).to_str().unwrap().to_owned()
        };
        let ca = write("ca.pem", listening.ca_pem());
        let keys = [0, 1].map(|index| ClientKeyPair::shared(index).unwrap());
        tenant.register_key(KeyUse::Authentication, &keys[0].public_pem, alg).unwrap();
        let files = [("one.pem", &keys[0]), ("two.pem", &keys[1])];
        let files = files.map(|(name, key)| write(name, key.private_pem.expose()));

        let arguments =
            [listening.domain(), "demo-client", users::JOHN, alg, &files[0], &files[0], &files[1]];
        let seen = run(python.clone(), "auth0_client_with_key.py", Path::new(&ca), &arguments).await;
        let good = json!({ "token_type": "Bearer", "user_id": users::JOHN });
        let refused =
            json!({ "status": 401, "code": "invalid_client", "message": "Client authentication failed" });
        assert_eq!(seen, json!([good, good, refused]), "{alg}: {:?}", tenant.assertions());
    }
}

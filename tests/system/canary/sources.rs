//! The secrets of sources: refresh tokens, clients of connections, keys, what the daemon signs, and the state file.

use std::fs;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom::fake_auth0::provider::{Breakdown, Dialect, ProviderFault, ProviderOptions, Refused};
use cloakroom::fake_auth0::{
    ClientAuth, ClientKeyPair, ConnectedAccount, Endpoint, Fault, KeyUse, Refreshing, TenantOptions, WaitHint,
};
use cloakroom::secret::Secret;
use nix::sys::signal::Signal;

use super::*;
use crate::support::configuration::write_private;
use crate::support::renewing::{IMPATIENT, Providers, expired, user};

const STORED: &str = "canary-stored-refresh-0c7b";
const EXPIRED: &str = "canary-expired-access-5e19";
const MARK: &str = "canary-issued-83d4";
const GOOGLE_SECRET: &str = "canary-google-secret-f1a2";
const PREVIOUS_SECRET: &str = "canary-previous-secret-6b3c";
/// With characters that a form and a header encode.
const ZOOM_SECRET: &str = "canary+zoom/secret=9d";
const STATE_KEY: &[u8; 32] = b"canary-state-key-of-32-bytes-1f7";
/// The account in the vault, of whose tokens it is a part.
const ACCOUNT: &str = "canary-vault-account";

const JANE: &str = "auth0|canary-jane";
const SETTINGS: &str = "\
[tenant.client]
id = \"demo-client\"
auth = \"private_key_jwt\"
key_file = \"{dir}/key.pem\"
[vault]
audit_context = \"cloakroom\"
[state]
path = \"{dir}/state\"
key_file = \"{dir}/state.key\"
[log]
level = \"trace\"
[audit]
events = \"all\"
output = \"{dir}/audit.log\"
[[connection]]
name = \"slack\"
sources = [\"vault\"]
";

/// A daemon with every source.
struct Scene {
    deployment: Deployment,
    providers: Providers,
}

fn scene() -> Scene {
    let options = |dialect, id: &str, secrets: &[&str]| ProviderOptions {
        client_id: id.into(),
        client_secrets: secrets.iter().map(|secret| Secret::new(*secret)).collect(),
        mark: MARK.into(),
        ..ProviderOptions::of(dialect)
    };
    let providers = Providers::listen(vec![
        ("zoom", options(Dialect::Zoom, "zoom-client", &[ZOOM_SECRET])),
        ("google-oauth2", options(Dialect::Google, "google-client", &[GOOGLE_SECRET])),
    ]);
    let tables = providers.tables(IMPATIENT);
    let settings = format!("{SETTINGS}{tables}previous_secret_file = \"{{dir}}/previous.secret\"\n");
    let options = TenantOptions { client_auth: ClientAuth::PrivateKeyJwt, ..TenantOptions::default() };
    let deployment = Deployment::with_files(options, &settings, |tenant, directory| {
        let stored = |connection: &str| identity(connection, &format!("{STORED}-{connection}"));
        assert!(tenant.put_user(user(JANE, &[stored("google-oauth2"), stored("zoom")])));
        providers.prepare(tenant, directory);
        write_private(&directory.join("previous.secret"), PREVIOUS_SECRET);
        write_private(&directory.join("state.key"), &STANDARD.encode(STATE_KEY));
        let key = &ClientKeyPair::shared(0).unwrap().public_pem;
        for purpose in [KeyUse::Authentication, KeyUse::TokenVault] {
            tenant.register_key(purpose, key, "RS256").unwrap();
        }
        tenant.change_vault(|vault| vault.allow(&["slack"], &["users:read"]));
        tenant.connect_account(ConnectedAccount::new(JANE, "slack", ACCOUNT, &["users:read"]));
    });
    Scene { deployment, providers }
}

fn identity(connection: &str, refresh_token: &str) -> Value {
    expired(connection, &format!("canary-{connection}-account"), EXPIRED, refresh_token)
}

/// A purge of the user.
fn delete(query: &str) -> String {
    get(&format!("/v1/users/auth0%7Ccanary-jane{query}"), "").replacen("GET", "DELETE", 1)
}

/// What may show nowhere, in the forms in which it travels and is stored.
fn secrets() -> Vec<String> {
    let form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let plain =
        [STORED, EXPIRED, MARK, GOOGLE_SECRET, PREVIOUS_SECRET, ZOOM_SECRET, PASTED].map(str::to_owned);
    let basic = |id: &str, secret: &str| STANDARD.encode(format!("{id}:{secret}"));
    let state_key = [
        str::from_utf8(STATE_KEY).unwrap().to_owned(),
        STANDARD.encode(STATE_KEY),
        STATE_KEY.iter().map(|byte| format!("{byte:02x}")).collect(),
        STATE_KEY.map(|byte| byte.to_string()).join(", "),
    ];
    // What the daemon signs begins with `{"alg":"RS256","kid":"`, be it an assertion or a subject token.
    let signed = URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256","kid":"#);
    let key = ClientKeyPair::shared(0).unwrap();
    let key = key.private_pem.expose().lines().filter(|line| line.len() == 64).map(str::to_owned);
    let travelling = [
        form(ZOOM_SECRET),
        basic("zoom-client", ZOOM_SECRET),
        basic("zoom-client", &form(ZOOM_SECRET)),
        format!("vault-slack-{ACCOUNT}"),
        signed,
    ];
    plain.into_iter().chain(state_key).chain(travelling).chain(key).collect()
}

fn path(connection: &str) -> String {
    format!("/v1/users/auth0%7Ccanary-jane/token?connection={connection}")
}

/// Asks for a token, which has to come from this source.
fn expect_token(socket: &Path, connection: &str, source: &str) {
    let answer = String::from_utf8(send(socket, &get(&path(connection), ""))).unwrap();
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["source"], body["access_token"].is_string()), (&json!(source), true), "{answer}");
}

impl Scene {
    /// What a provider does wrong: what it says holds secrets, and what it was sent.
    fn upset_provider(&self, socket: &Path, connection: &str, found: &mut Found) {
        let provider = self.providers.of(connection);
        let says = |status| {
            let quoted = format!("{STORED}-{connection} {ZOOM_SECRET} {PASTED}");
            let body = json!({"error": PASTED, "error_description": quoted, "access_token": {"token": MARK}});
            ProviderFault::Before(Breakdown::Says(status, body.to_string()))
        };
        let refusals = Refused::ALL.into_iter().map(ProviderFault::Refused);
        let faults = refusals.chain([
            says(200),
            says(400),
            says(403),
            says(500),
            ProviderFault::Before(Breakdown::Says(400, format!("<{PASTED}"))),
            ProviderFault::Before(Breakdown::Redirect(format!("https://{PASTED}.example/"))),
            ProviderFault::Before(Breakdown::Reset),
            ProviderFault::Before(Breakdown::Close),
            ProviderFault::After(Breakdown::Truncate),
            ProviderFault::Before(Breakdown::Status(429, WaitHint::Seconds(1))),
        ]);
        for (number, fault) in faults.enumerate() {
            // A refusal is kept, but not across a login.
            let identity = identity(connection, &provider.consent(JANE).refresh_token);
            assert!(self.deployment.tenant.put_user(user(JANE, &[identity])));
            send(socket, &delete(""));
            provider.fault(fault);
            let answer = send(socket, &get(&path(connection), ""));
            assert!(
                !answer.starts_with(b"HTTP/1.1 200"),
                "{connection} {number}: {}",
                String::from_utf8_lossy(&answer)
            );
            found.add(format!("{connection}, fault {number}"), answer);
            provider.clear();
        }
    }

    /// What the vault does wrong, with bodies that hold secrets.
    fn upset_vault(&self, socket: &Path, found: &mut Found) {
        let tenant = &self.deployment.tenant;
        let says = |status| Fault::Status {
            status,
            headers: vec![
                ("content-type".into(), "application/json".into()),
                ("x-canary".into(), PASTED.into()),
            ],
            body: json!({"error": PASTED, "error_description": PASTED, "access_token": [PASTED]}).to_string(),
        };
        let body = r#"{"error":"access_denied","error_description":"canary-pasted-c06d"}"#.to_owned();
        let denied = Fault::Status { status: 403, headers: Vec::new(), body };
        for (number, fault) in
            [says(200), says(400), says(401), says(403), says(500), denied, Fault::Truncate]
                .into_iter()
                .enumerate()
        {
            tenant.fault(Endpoint::Exchange, fault);
            found.add(
                format!("vault, fault {number}"),
                send(socket, &get(&(path("slack") + "&fresh=true"), "")),
            );
            tenant.clear_all();
        }
        tenant.set_refreshing("slack", Refreshing::Fails);
        tenant.disconnect_account(JANE, "slack", None);
        found.add("vault, not connected", send(socket, &get(&(path("slack") + "&fresh=true"), "")));
    }
}

/// Every door but a token's own route, with good answers and bad ones, a reload, a restart and a purge of everything.
#[test]
fn no_secret_of_a_source_appears_in_any_output() {
    let scene = scene();
    let directory = scene.deployment.directory.path();
    let mut found = Found::default();
    let mut daemon = scene.deployment.start();
    let socket = daemon.socket.clone();
    for (connection, source) in [("google-oauth2", "refresh"), ("zoom", "refresh"), ("slack", "vault")] {
        expect_token(&socket, connection, source);
    }
    let state = || fs::read(directory.join("state")).unwrap();
    found.add("the state file", state());
    // The provider accepts the previous secret alone.
    scene.providers.of("google-oauth2").set_client_secrets([Secret::new(PREVIOUS_SECRET)]);
    daemon.run(&["purge", JANE]);
    expect_token(&socket, "google-oauth2", "refresh");
    scene.providers.of("google-oauth2").set_client_secrets([Secret::new(GOOGLE_SECRET)]);

    for connection in ["google-oauth2", "zoom"] {
        scene.upset_provider(&socket, connection, &mut found);
    }
    scene.upset_vault(&socket, &mut found);
    found.add("the state file after faults", state());
    for command in
        [&["check"][..], &["check", "--online"], &["--help"], &["check", "--help"], &["serve", "--help"]]
    {
        let mut process = cloakroom(command);
        if command[0] == "check" && command.last() != Some(&"--help") {
            process.arg("--config").arg(scene.deployment.config());
        }
        let (exit, out, why) = finish(process.output().unwrap());
        assert_eq!(exit, 0, "{command:?}: {out}{why}");
        found.add(format!("{command:?}"), out + &why);
    }
    for path in ["/metrics", "/v1/status", "/v1/users/auth0%7Ccanary-jane/identities"] {
        found.add(path, send(&socket, &get(path, "")));
    }
    for args in [&["status"][..], &["status", "--output", "json"], &["identities", JANE], &["reload"]] {
        let (exit, out, why) = daemon.run(args);
        assert_eq!(exit, 0, "{args:?}: {out}{why}");
        found.add(format!("{args:?}"), out + &why);
    }
    proc_files(&daemon, &mut found);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    found.add("the log", daemon.log());

    // Another key: the file cannot be opened with it, and the one before is named no more than this one.
    let wrong = b"canary-wrong-key-of-32-bytes-7c2";
    write_private(&directory.join("state.key"), &STANDARD.encode(wrong));
    let (exit, out, why) =
        finish(cloakroom(&["serve", "--config"]).arg(scene.deployment.config()).output().unwrap());
    assert!(exit == 1 && why.contains("sealed with a key that is not in the file"), "{out}{why}");
    found.add("a wrong key", out + &why);
    write_private(&directory.join("state.key"), &STANDARD.encode(STATE_KEY));
    let mut daemon = scene.deployment.start();
    found.add("the purge", send(&socket, &delete("?credentials=true")));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    found.add("the log of the second run", daemon.log());
    found.add("the state file after the purge", state());
    let audit = fs::read_to_string(directory.join("audit.log")).unwrap();
    assert!(audit.lines().count() > 40, "{audit}");
    found.add("the audit log", audit);

    let wrong = [str::from_utf8(wrong).unwrap().to_owned(), STANDARD.encode(wrong)];
    let secrets: Vec<_> = secrets().into_iter().chain(wrong).collect();
    let hits = found.hits(&secrets);
    println!("{} outputs searched for {} secrets: {} hits", found.0.len(), secrets.len(), hits.len());
    assert!(hits.is_empty(), "{hits:#?}");
    // Nor does the file name anybody.
    let names = [JANE, "canary-jane", "canary-zoom-account", "zoom-client", "demo-client"].map(str::to_owned);
    let files: Vec<_> = found.0.into_iter().filter(|(door, _)| door.starts_with("the state file")).collect();
    assert!(files.len() == 3 && files.iter().all(|(_, bytes)| bytes.len() > 1_000));
    let hits = Found(files).hits(&names);
    assert!(hits.is_empty(), "{hits:#?}");
}

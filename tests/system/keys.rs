//! Keys and certificates of the client: replaced on disk, in memory once, and in no output.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cloakroom::fake_auth0::{
    ClientAuth, ClientCertificateFiles, ClientCertificateKind, ClientKeyPair, ConnectedAccount, Endpoint,
    KeyUse, TenantOptions, users,
};
use nix::sys::signal::Signal;

use crate::support::deployment::Deployment;
use crate::support::memory::{Canary, Memory};
use crate::support::process::{Daemon, cloakroom, finish, is_root};

const KEY: &str =
    "[tenant.client]\nid = \"demo-client\"\nauth = \"private_key_jwt\"\nkey_file = \"{dir}/key.pem\"\n";

const CERTIFICATE: &str = "[tenant.client]\nid = \"demo-client\"\nauth = \"tls_client_auth\"\n\
                           certificate_file = \"{dir}/client.pem\"\nkey_file = \"{dir}/client-key.pem\"\n";

/// A tenant that knows these keys, and a configuration with the first of them.
fn with_keys(registered: &[usize], settings: &str) -> Deployment {
    let options = TenantOptions { client_auth: ClientAuth::PrivateKeyJwt, ..TenantOptions::default() };
    let deployment = Deployment::with(options, &format!("{KEY}{settings}"));
    for index in registered {
        let public = &ClientKeyPair::shared(*index).unwrap().public_pem;
        deployment.tenant.register_key(KeyUse::Authentication, public, "RS256").unwrap();
    }
    deployment
}

/// Puts a file in the place of another, at once.
fn put(directory: &Path, name: &str, content: &str) {
    let new = directory.join(format!(".{name}.new"));
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, PermissionsExt::from_mode(0o400)).unwrap();
    fs::rename(new, directory.join(name)).unwrap();
}

fn put_key(deployment: &Deployment, name: &str, index: usize) {
    put(deployment.directory.path(), name, ClientKeyPair::shared(index).unwrap().private_pem.expose());
}

/// Has the daemon obtain another Management token.
fn renew(deployment: &Deployment, daemon: &mut Daemon) {
    let before = deployment.tenant.calls_to(Endpoint::Token).len();
    deployment.tenant.revoke_management_tokens();
    daemon.until("there is another Management token", |daemon| {
        daemon.run(&["purge", "--all"]);
        daemon.run(&["token", users::GITHUB]).0 == 0
            && deployment.tenant.calls_to(Endpoint::Token).len() > before
    });
}

fn reloads(daemon: &Daemon, key: &str) -> usize {
    daemon.log().matches(&format!("\"changed\":\"tenant.client.{key}\"")).count()
}

#[test]
fn keys_that_are_replaced_on_disk_are_used_without_a_reload() {
    let deployment = with_keys(&[0, 1], "next_key_file = \"{dir}/next-key.pem\"\n");
    put_key(&deployment, "next-key.pem", 2);
    let mut daemon = deployment.start();
    let kid = || deployment.tenant.assertions().pop().unwrap().kid.unwrap();
    let first = kid();
    assert!(daemon.log().contains("Auth0 refuses the client's next key, and accepts the present one"));
    let statuses = || -> Vec<_> {
        deployment.tenant.calls_to(Endpoint::Token).iter().map(|call| call.status.unwrap().as_u16()).collect()
    };
    assert_eq!(statuses(), [401, 200]);

    put_key(&deployment, "next-key.pem", 1);
    daemon.until("the next key is noticed", |daemon| reloads(daemon, "next_key_file") == 1);
    assert_eq!(statuses(), [401, 200], "what was granted is kept");
    renew(&deployment, &mut daemon);
    assert_ne!(kid(), first);
    assert_eq!(statuses(), [401, 200, 200]);
    // The tool that rotates keys moves the next one into the place of the first.
    put_key(&deployment, "key.pem", 1);
    daemon.until("the key is noticed", |daemon| reloads(daemon, "key_file") == 1);
    assert!(!daemon.log().contains("refused; the old one"), "{}", daemon.log());
}

/// The key of subject tokens may be another one than the client's. Its file is watched as the client's is.
#[test]
fn the_key_of_token_vault_is_used_as_soon_as_it_is_replaced_on_disk() {
    let settings = "[vault]\nkey_file = \"{dir}/next-key.pem\"\n[[connection]]\nname = \"github\"\nsources = [\"vault\"]\n";
    let deployment = with_keys(&[0], settings);
    let register = |index: usize| {
        let public = &ClientKeyPair::shared(index).unwrap().public_pem;
        deployment.tenant.register_key(KeyUse::TokenVault, public, "RS256").unwrap()
    };
    deployment.tenant.change_vault(|vault| vault.allow(&["github"], &["repo"]));
    let account = users::GITHUB.split_once('|').unwrap().1;
    deployment.tenant.connect_account(ConnectedAccount::new(users::GITHUB, "github", account, &["repo"]));
    let first = register(1);
    let mut daemon = deployment.start();
    let asks = |daemon: &mut Daemon| {
        daemon.run(&["purge", "--all"]);
        daemon.run(&["token", users::GITHUB])
    };
    assert_eq!(asks(&mut daemon).0, 0);
    register(2);
    deployment.tenant.remove_key(KeyUse::TokenVault, &first);
    let (exit, _, why) = asks(&mut daemon);
    assert!(exit != 0 && why.contains("Auth0 calls the exchange invalid"), "{why}");

    put(deployment.directory.path(), "next-key.pem", "no key\n");
    daemon.until("it is refused", |daemon| daemon.log().contains("The new configuration is refused"));
    put_key(&deployment, "next-key.pem", 2);
    daemon.until("the new key is noticed", |daemon| {
        daemon.log().matches("\"changed\":\"vault.key_file\"").count() == 1
    });
    let (exit, _, why) = asks(&mut daemon);
    assert_eq!(exit, 0, "{why}");
}

#[test]
fn a_key_file_that_is_no_key_is_said_to_be_what_it_is_and_the_old_one_serves() {
    let deployment = with_keys(&[0], "");
    let mut daemon = deployment.start();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/bad/files");
    for (number, (name, said)) in [
        ("key-ec.pem", "the file contains an EC key"),
        ("key-encrypted.pem", "the private key in the file is encrypted"),
        ("key-rsa-1024.pem", "has 1024 bits"),
        ("certificate-of-key-ec.pem", "a certificate and no private key"),
    ]
    .into_iter()
    .enumerate()
    {
        put(deployment.directory.path(), "key.pem", &fs::read_to_string(files.join(name)).unwrap());
        daemon.until(said, |daemon| daemon.log().contains(said));
        daemon.until("the old one serves", |daemon| {
            daemon.log().matches("The new configuration is refused").count() == number + 1
        });
        // Each is the same from the start.
        let (exit, out, why) = with_config(&deployment, &["serve"]);
        assert!(exit == 78 && why.contains(said), "{out}{why}");
        put_key(&deployment, "key.pem", 0);
        assert_eq!(daemon.run(&["reload"]).0, 0);
    }
    assert_eq!(daemon.run(&["token", users::GITHUB]).0, 0);
}

/// Certificates are renewed while lookups go on and Management tokens are renewed every few seconds. The files are
/// replaced one after the other, so that for a moment they do not belong together.
#[test]
fn a_certificate_is_rotated_under_load() {
    const ROTATIONS: usize = 4;
    let options = TenantOptions {
        client_auth: ClientAuth::TlsClientAuth,
        token_lifetime: Duration::from_secs(4),
        ..TenantOptions::default()
    };
    let deployment = with_certificate(options, "[cache]\nmax_ttl = \"6s\"\n");
    let mut daemon = deployment.start();
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut issued = vec![fs::read_to_string(deployment.directory.path().join("client.pem")).unwrap()];
    std::thread::scope(|scope| {
        let socket = daemon.socket.clone();
        let (done, asked) = (&done, &asked);
        let callers: Vec<_> = [users::GITHUB, users::JOHN, users::SLASH]
            .map(|user| {
                let socket = socket.clone();
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let mut command = cloakroom(&["token", user]);
                        let (exit, _, why) =
                            finish(command.env("CLOAKROOM_SOCKET", &socket).output().unwrap());
                        assert_eq!(exit, 0, "{why}");
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .into();
        for number in 1..=ROTATIONS {
            let files = issue(&deployment, ClientCertificateKind::Good, number % 2 == 0);
            put(deployment.directory.path(), "client.pem", &files.certificate_pem);
            std::thread::sleep(Duration::from_millis(500));
            put(deployment.directory.path(), "client-key.pem", files.key_pem.expose());
            daemon.until("the new pair is noticed", |daemon| reloads(daemon, "certificate_file") == number);
            issued.push(files.certificate_pem);
            let presented = || deployment.tenant.presented_certificates();
            daemon.until("it is presented", |_| same(presented().last().unwrap(), issued.last().unwrap()));
        }
        done.store(true, Ordering::Relaxed);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
    assert!(asked.load(Ordering::Relaxed) > 20, "{asked:?}");
    let grants = deployment.tenant.calls_to(Endpoint::Token);
    assert!(grants.len() > ROTATIONS && grants.iter().all(|call| call.status.unwrap() == 200));
    assert!(!daemon.log().contains("does not belong to the private key"), "half a pair is not an error yet");
}

/// An expired certificate is named at the start, and the daemon waits for another one.
#[test]
fn an_expired_certificate_is_told_at_the_start_and_replaced_while_it_runs() {
    let options = TenantOptions { client_auth: ClientAuth::TlsClientAuth, ..TenantOptions::default() };
    let deployment = with_certificate(options, "");
    let put_pair = |kind| {
        let files = issue(&deployment, kind, false);
        put(deployment.directory.path(), "client.pem", &files.certificate_pem);
        put(deployment.directory.path(), "client-key.pem", files.key_pem.expose());
    };
    put_pair(ClientCertificateKind::Expired);
    let mut daemon = Daemon::start(&deployment.config(), &deployment.socket());
    daemon.until("it is told", |daemon| daemon.log().contains("The client's certificate has expired"));
    daemon.until("it is refused", |daemon| daemon.log().contains("refuses the client's certificate"));
    let (_, status, _) = daemon.run(&["status"]);
    assert!(status.contains("CERTIFICATE EXPIRED"), "{status}");
    put_pair(ClientCertificateKind::Good);
    daemon.until("it is ready", |daemon| daemon.run(&["healthcheck", "--ready"]).0 == 0);
    let (_, status, _) = daemon.run(&["status"]);
    assert!(status.contains("certificate valid, expires in "), "{status}");
    let (_, json, _) = daemon.run(&["status", "--output", "json"]);
    assert!(json.contains("\"expires_at\": \"2099-01-01T00:00:00Z\""), "{json}");
}

fn with_certificate(options: TenantOptions, settings: &str) -> Deployment {
    let deployment =
        Deployment::with_files(options, &format!("{CERTIFICATE}{settings}"), |tenant, directory| {
            let files = tenant.issue_client_certificate(ClientCertificateKind::Good, None).unwrap();
            put(directory, "client.pem", &files.certificate_pem);
            put(directory, "client-key.pem", files.key_pem.expose());
        });
    let guard = deployment.runtime.enter();
    // For as long as the process: the port is closed when the runtime is.
    std::mem::forget(deployment.tenant.listen_mtls().unwrap());
    drop(guard);
    deployment
}

fn issue(deployment: &Deployment, kind: ClientCertificateKind, with_rsa: bool) -> ClientCertificateFiles {
    let rsa = ClientKeyPair::shared(0).unwrap();
    deployment.tenant.issue_client_certificate(kind, with_rsa.then_some(&*rsa)).unwrap()
}

fn same(one: &str, other: &str) -> bool {
    let text = |pem: &str| pem.split_whitespace().collect::<String>();
    text(one) == text(other)
}

/// What shows of a private key in memory: a prime as its file has it, as its file's text has it, and as aws-lc computes
/// with it.
struct Traces {
    der: Vec<u8>,
    text: Vec<Vec<u8>>,
    number: Vec<u8>,
}

impl Traces {
    fn of(index: usize) -> Self {
        let pem = ClientKeyPair::shared(index).unwrap();
        let lines: Vec<_> = pem.private_pem.expose().lines().filter(|line| !line.starts_with('-')).collect();
        let pkcs8 = STANDARD.decode(lines.concat()).unwrap();
        // A prime of a key of 2048 bits is 128 bytes after a zero; the first integer of that form is one.
        let at = pkcs8.windows(5).position(|window| window[..4] == [2, 0x81, 0x81, 0]).unwrap() + 4;
        let prime = &pkcs8[at..at + 128];
        let mut number = prime.to_vec();
        number.reverse();
        let text = lines[4..lines.len() - 2].iter().map(|line| line.as_bytes().to_vec()).collect();
        Self { der: prime[8..120].to_vec(), text, number: number[8..120].to_vec() }
    }

    /// How often each is there.
    fn count(&self, daemon: &Daemon) -> [usize; 3] {
        let memory = Memory::of(daemon.pid());
        let text = self.text.iter().map(|line| memory.count(line)).sum();
        [memory.count(&self.der), text, memory.count(&self.number)]
    }
}

/// The header of a JWT that the daemon signs, as it is sent: `{"alg":"RS256","kid":"`.
fn signed() -> Vec<u8> {
    URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256","kid":"#).into_bytes()
}

#[test]
fn a_key_is_in_memory_once_and_its_assertions_are_not() {
    if !is_root() {
        return;
    }
    let deployment = with_keys(&[0, 1], "");
    let mut daemon = deployment.start();
    let (first, second) = (Traces::of(0), Traces::of(1));
    let mut at_start = [0; 3];
    daemon.until("what was read is gone", |daemon| {
        at_start = first.count(daemon);
        at_start[..2] == [0, 0]
    });
    assert!(at_start[2] >= 1, "the key is found where it is in use");
    assert_eq!(Memory::of(daemon.pid()).count(&signed()), 0, "an assertion is left");
    // What a reload reads is the same once more, and is not kept.
    for number in 1..=3 {
        daemon.signal(Signal::SIGHUP);
        daemon.until("it is reloaded", |daemon| {
            daemon.log().matches("Configuration reloaded").count() == number
        });
    }
    daemon.until("what was read again is gone", |daemon| first.count(daemon) == at_start);

    put_key(&deployment, "key.pem", 1);
    daemon.until("the new key is noticed", |daemon| reloads(daemon, "key_file") == 1);
    renew(&deployment, &mut daemon);
    assert!(daemon.log().contains("Auth0 accepts the client's new credentials"));
    daemon.until("the old key is gone", |daemon| first.count(daemon) == [0, 0, 0]);
    daemon.until("the new one is there as often", |daemon| second.count(daemon) == at_start);
    assert_eq!(Memory::of(daemon.pid()).count(&signed()), 0, "an assertion is left");
}

/// Nor is what the vault has issued for it, after a purge.
#[test]
fn a_subject_token_is_not_left_in_memory() {
    if !is_root() {
        return;
    }
    let deployment = with_keys(&[0], "[vault]\n[[connection]]\nname = \"slack\"\nsources = [\"vault\"]\n");
    let (tenant, account) = (&deployment.tenant, Canary::new(b'V'));
    tenant.register_key(KeyUse::TokenVault, &ClientKeyPair::shared(0).unwrap().public_pem, "RS256").unwrap();
    tenant.change_vault(|vault| vault.allow(&["slack"], &["users:read"]));
    // A part of the token.
    tenant.connect_account(ConnectedAccount::new(users::JOHN, "slack", account.text(), &["users:read"]));
    let daemon = deployment.start();
    let (exit, token, why) = daemon.run(&["token", users::JOHN, "--connection", "slack"]);
    assert!(exit == 0 && token.contains(account.text()), "{token}{why}");
    assert_eq!(tenant.exchanges().len(), 1);
    let memory = Memory::of(daemon.pid());
    assert_eq!((memory.count(&signed()), memory.places(&account).len()), (0, 1));
    assert_eq!(daemon.run(&["purge", users::JOHN]).0, 0);
    assert_eq!(Memory::of(daemon.pid()).places(&account), []);
}

/// At TRACE: with a good key, with one that is refused, and with files that are no keys.
#[test]
fn no_key_and_no_assertion_appears_in_any_output() {
    let settings = "next_key_file = \"{dir}/next-key.pem\"\n[log]\nlevel = \"trace\"\n[audit]\nevents = \"all\"\n\
                    output = \"{dir}/audit.log\"\n";
    let deployment = with_keys(&[0], settings);
    let directory = deployment.directory.path();
    let pasted = "canary-pasted-key-3f70";
    let mut found = String::new();
    let mut daemon = deployment.start();
    // Refused at the tenant, and in the file: a secret that was pasted into it, a key that is cut off.
    put_key(&deployment, "next-key.pem", 2);
    daemon.run(&["reload"]);
    let good = ClientKeyPair::shared(0).unwrap().private_pem.expose().to_owned();
    let cut = &good[..good.len() / 2];
    for content in [pasted, cut, &good.replace("PRIVATE KEY", pasted), &good.replacen("MII", "M.I", 1)] {
        put(directory, "key.pem", content);
        for args in [&["reload"][..], &["status"], &["healthcheck"]] {
            let (_, out, why) = daemon.run(args);
            found += &(out + &why);
        }
        for command in ["check", "serve"] {
            let (exit, out, why) = with_config(&deployment, &[command]);
            assert_eq!(exit, 78, "{out}{why}");
            found += &(out + &why);
        }
    }
    put_key(&deployment, "key.pem", 0);
    let (_, out, why) = with_config(&deployment, &["check", "--online"]);
    found += &(out + &why);
    deployment.tenant.remove_key(KeyUse::Authentication, &kid_of(&deployment));
    let (_, out, why) = with_config(&deployment, &["check", "--online"]);
    assert!(why.contains("does not accept the client's key"), "{why}");
    found += &(out + &why);
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    assert!(daemon.log().contains("\"level\":\"TRACE\""));
    found += &daemon.log();
    found += &fs::read_to_string(directory.join("audit.log")).unwrap();

    let signed = String::from_utf8(signed()).unwrap();
    let mut canaries = vec![pasted.to_owned(), signed];
    for index in [0, 1, 2] {
        let key = ClientKeyPair::shared(index).unwrap();
        canaries.extend(key.private_pem.expose().lines().filter(|line| line.len() == 64).map(str::to_owned));
    }
    let hits: Vec<_> = canaries.iter().filter(|canary| found.contains(canary.as_str())).collect();
    assert!(hits.is_empty(), "{hits:#?}");
}

/// Runs a command that reads the configuration itself.
fn with_config(deployment: &Deployment, args: &[&str]) -> (i32, String, String) {
    let file = deployment.config();
    finish(cloakroom(args).arg("--config").arg(file).output().unwrap())
}

/// The id of the key that was accepted.
fn kid_of(deployment: &Deployment) -> String {
    let accepted = deployment.tenant.assertions().into_iter().find(|sent| sent.verdict == Some(Ok(())));
    accepted.unwrap().kid.unwrap()
}

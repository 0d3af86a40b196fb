//! The configuration as its user meets it: files and variables in, a configuration or exact messages out.
//!
//! `config/bad` has a wrong configuration per file, and beside it the expected problems; `NAME.env` is its
//! environment, one `NAME=value` per line. `{dir}` stands for the directory. After a wanted change of wording,
//! `UPDATE=1 cargo test --test it config` writes the messages anew, for the diff to be read.

mod connections;
mod files;
mod proxied_apis;
mod random;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cloakroom::config::{self, Client, Credential, Env, Loaded, LogFormat, Problems, UserIds};
use cloakroom::secret::Secret;
use cloakroom::signing::SigningAlg;

/// A secret that no message may hold, nor either half of it.
const CANARY: &str = "hunter2-canary";

#[test]
fn wrong_configurations_are_told_exactly_what_is_wrong() {
    let mut wrong = Vec::new();
    let names = fixtures("bad", &["toml", "env", "expected"]);
    assert!(names.len() >= 32, "only {} wrong configurations", names.len());
    for name in names {
        let problems = match load("bad", &name) {
            Ok(_) => panic!("{name}.toml is accepted"),
            Err(problems) => problems,
        };
        let said = format!("{problems}\n").replace(&dir("bad").display().to_string(), "{dir}");
        assert!(
            !said.contains("hunter2") && !said.contains("canary"),
            "{name}.toml: a secret is printed:\n{said}"
        );
        let expected = dir("bad").join(format!("{name}.expected"));
        if update() {
            fs::write(&expected, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_else(|_| "(no such file)\n".to_owned());
        if said != expected {
            wrong.push(format!("{name}.toml\n--- expected\n{expected}--- said\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_configurations_load() {
    for name in fixtures("good", &["toml", "env"]) {
        let loaded = load("good", &name);
        assert!(loaded.is_ok(), "{name}.toml: {}", loaded.unwrap_err());
        assert!(!format!("{loaded:?}").contains(CANARY), "{name}.toml");
    }
}

#[test]
fn the_least_configuration_takes_every_default() {
    let config = load("good", "minimal").unwrap().config;
    assert_eq!(&*config.tenant.audience, "https://acme.eu.auth0.com/api/v2/");
    assert!(config.tenant.proxy.url.is_none() && config.tenant.extra_roots.is_empty());
    assert_eq!(config.client.credential, Credential::SecretPost(Arc::new(Secret::new(CANARY))));
    assert_eq!(config.cache.max_bytes, 64 << 20);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].path, Path::new("/run/cloakroom/cloakroom.sock"));
    assert_eq!((config.listeners[0].mode, config.listeners[0].owner), (0o660, None));
    assert_eq!((config.log.format, config.log.user_ids), (LogFormat::Auto, UserIds::Hashed));
    assert_eq!(config.me.audiences, [""; 0]);
    assert_eq!(config.me.issuers, [""; 0]);
}

#[test]
fn a_client_may_have_keys_or_a_certificate() {
    let client = load("good", "private-key-jwt").unwrap().config.client;
    let bits = |credential: &Credential| match credential {
        Credential::PrivateKeyJwt(key) => (key.alg(), key.sign(None, &()).unwrap().len()),
        other => panic!("{other:?}"),
    };
    let (key, next) = (bits(&client.credential), bits(client.next.as_ref().unwrap()));
    assert_eq!((key.0, next.0), (SigningAlg::Ps256, SigningAlg::Ps256));
    assert!(key.1 < next.1, "the next key is the longer one");
    let dir = dir("good");
    let paths =
        |client: &Client| client.files.paths().iter().map(|path| path.to_path_buf()).collect::<Vec<_>>();
    assert_eq!(paths(&client), [dir.join("client-key.pem"), dir.join("next-client-key.pem")]);

    let client = load("good", "tls-client-auth").unwrap().config.client;
    let Credential::TlsClientAuth(certificate) = &client.credential else { panic!("{client:?}") };
    assert!(certificate.signing_key().is_none());
    assert!(certificate.not_after() > certificate.not_before().after(Duration::from_secs(1_000_000_000)));
    assert_eq!(client.token_host.as_deref(), Some("mtls.acme.example:8443"));
    assert_eq!(paths(&client), [dir.join("certificate.pem"), dir.join("certificate-key.pem")]);
}

#[test]
fn the_environment_alone_is_enough() {
    let Loaded { config, warnings, .. } = load("good", "env-only").unwrap();
    assert_eq!(warnings, [""; 0], "a secret from the environment is nothing to warn of");
    assert_eq!(&*config.tenant.domain, "login.acme.example:8443");
    assert_eq!(config.tenant.connect_timeout, Duration::from_millis(500));
    assert_eq!(config.tenant.proxy.url.unwrap().expose(), "http://proxy.corp:3128");
    assert_eq!(config.tenant.proxy.no_proxy, ".acme.example");
    assert_eq!(config.client.credential, Credential::SecretBasic(Arc::new(Secret::new(CANARY))));
    assert_eq!((config.management.refresh_at, config.cache.refresh_ahead), (0.5, 0.0));
    assert_eq!(config.listeners[0].path, Path::new("/run/cloakroom/web.sock"));
    assert_eq!((config.listeners[0].owner, config.listeners[0].require_request_header), (Some(0), false));
    assert_eq!(config.listeners[1].path, Path::new("/run/cloakroom/cloakroom.sock"));
    assert_eq!((config.listeners[1].mode, config.runtime.threads), (0o600, 4));
    assert_eq!(config.me.audiences, ["https://api.acme.example", "3Xk9"]);
    assert_eq!(config.me.issuers, ["https://login.acme.example/", "https://shop.acme.example:8443/"]);
}

#[test]
fn the_environment_wins_key_by_key() {
    let config = load("good", "env-over-file").unwrap().config;
    assert_eq!(
        config.cache.max_ttl,
        Duration::from_secs(5400),
        "what the file says wrongly no longer counts"
    );
    assert_eq!(config.listeners[0].path, Path::new("/run/cloakroom/c.sock"));
    assert_eq!((config.listeners[0].mode, config.listeners.len()), (0o600, 2));
    assert_eq!(config.me.audiences, ["from the environment"], "lists are replaced, not joined");
    assert_eq!(config.tenant.proxy.url.unwrap().expose(), "http://user:hunter2-canary@proxy.corp:3128");
    assert_eq!(
        config.tenant.proxy.no_proxy, "",
        "tenant.proxy is meant for Auth0, and nothing else is asked"
    );
}

#[test]
fn what_is_likely_not_meant_is_a_warning() {
    let text = r#"
        [tenant]
        domain = "acme.eu.auth0.com"
        audience = "https://acme-dev.eu.auth0.com/api/v2/"
        [tenant.client]
        id = "3Xk9"
        secret = "hunter2-canary"
        [[listener]]
        mode = "0666"
        [me]
        audiences = ["https://acme.eu.auth0.com/userinfo"]
    "#;
    let warnings = config::parse("f.toml", text, &Env::default()).unwrap().warnings;
    assert_eq!(
        warnings,
        [
            "f.toml, line 4: tenant.audience: names a different tenant than tenant.domain",
            "f.toml, line 7: tenant.client.secret: the secret is in the configuration itself; prefer \
             tenant.client.secret_file",
            "f.toml, line 9: listener.0.mode: every user of this machine can connect; only root and the daemon's own \
             user are answered",
            "f.toml, line 11: me.audiences: access tokens with the scope openid are valid for /userinfo as \
             well, whichever API they are for; use the identifier of your API",
        ]
    );
}

#[test]
fn issuers_without_audiences_are_likely_not_meant() {
    let text = "[tenant]\ndomain = \"acme.eu.auth0.com\"\n[tenant.client]\nid = \"3Xk9\"\nsecret = \"s\"\n[me]\n\
                issuers = [\"https://login.acme.example/\"]";
    let warnings = config::parse("f.toml", text, &Env::default()).unwrap().warnings;
    let text = "f.toml, line 7: me.issuers: without me.audiences no token is accepted, from any issuer";
    assert!(warnings.iter().any(|warning| warning == text), "{warnings:?}");
}

fn dir(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(kind)
}

/// The names of the configurations in a directory; whatever else is there must belong to one of them.
fn fixtures(kind: &str, extensions: &[&str]) -> BTreeSet<String> {
    let files: Vec<PathBuf> = fs::read_dir(dir(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
    let names = |extension: &str| -> BTreeSet<String> {
        let files = files.iter().filter(|file| file.extension().is_some_and(|found| found == extension));
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let all = names("toml");
    for extension in extensions {
        let strays: Vec<_> = names(extension).difference(&all).cloned().collect();
        assert!(strays.is_empty(), "{kind}: .{extension} without its .toml: {strays:?}");
    }
    all
}

/// What git does not keep.
const MODES: [(&str, u32); 15] = [
    ("good/client-secret", 0o600),
    ("good/previous-client-secret", 0o600),
    ("good/client-key.pem", 0o440),
    ("good/next-client-key.pem", 0o400),
    ("good/certificate-key.pem", 0o600),
    ("bad/files/secret", 0o440),
    ("bad/files/byte-order-mark", 0o440),
    ("bad/files/secret-for-all", 0o644),
    ("bad/files/secret-for-its-group-to-write", 0o660),
    ("bad/files/key-ec.pem", 0o400),
    ("bad/files/key-rsa.pem", 0o400),
    ("bad/files/key-rsa-1024.pem", 0o400),
    ("bad/files/key-encrypted.pem", 0o400),
    ("bad/files/key-public.pem", 0o400),
    ("bad/files/key-rsa-for-all.pem", 0o644),
];

fn load(kind: &str, name: &str) -> Result<Loaded, Problems> {
    for (file, mode) in MODES {
        fs::set_permissions(dir(".").join(file), fs::Permissions::from_mode(mode)).unwrap();
    }
    let dir = dir(kind);
    let read = |extension: &str| {
        let text = fs::read_to_string(dir.join(format!("{name}.{extension}")))?;
        Ok::<_, std::io::Error>(text.replace("{dir}", dir.to_str().unwrap()))
    };
    let env = read("env").unwrap_or_default();
    let env = env.lines().map(|line| line.split_once('=').unwrap());
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    config::parse(&format!("{name}.toml"), &read("toml").unwrap(), &env)
}

/// Whether the expected messages are to be written instead of compared. Never under CI, where it would make the
/// test say nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "a switch for the person who runs the tests, not for the program"
)]
fn update() -> bool {
    std::env::var_os("UPDATE").is_some() && std::env::var_os("CI").is_none()
}

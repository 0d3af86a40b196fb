//! The configuration as its user meets it: files and variables in, a configuration or exact messages out.
//!
//! `config/bad` has a wrong configuration per file, and beside it the expected problems; `NAME.env` is its
//! environment, one `NAME=value` per line. `{dir}` stands for the directory. After a wanted change of wording,
//! `UPDATE=1 cargo test --test config` writes the messages anew, for the diff to be read.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloakroom::config::schema::{self, Key, TABLES};
use cloakroom::config::{self, ClientAuth, Env, Loaded, LogFormat, Problems, UserIds};
use proptest::prelude::*;
use proptest::sample::select;

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
    assert_eq!(config.client.secret.expose(), CANARY);
    assert_eq!(config.client.auth, ClientAuth::SecretPost);
    assert_eq!(config.cache.max_bytes, 64 << 20);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].path, Path::new("/run/cloakroom/cloakroom.sock"));
    assert_eq!((config.listeners[0].mode, config.listeners[0].owner), (0o660, None));
    assert_eq!((config.log.format, config.log.user_ids), (LogFormat::Auto, UserIds::Hashed));
    assert_eq!(config.me.audiences, [""; 0]);
    assert_eq!(config.me.issuers, [""; 0]);
}

#[test]
fn the_environment_alone_is_enough() {
    let Loaded { config, warnings, .. } = load("good", "env-only").unwrap();
    assert_eq!(warnings, [""; 0], "a secret from the environment is nothing to warn of");
    assert_eq!(&*config.tenant.domain, "login.acme.example:8443");
    assert_eq!(config.tenant.connect_timeout, Duration::from_millis(500));
    assert_eq!(config.tenant.proxy.url.unwrap().expose(), "http://proxy.corp:3128");
    assert_eq!(config.tenant.proxy.no_proxy, ".acme.example");
    assert_eq!(config.client.secret.expose(), CANARY);
    assert_eq!(config.client.auth, ClientAuth::SecretBasic);
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

#[test]
fn a_secret_file_is_kept_from_others_and_small() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    fs::write(&path, CANARY).unwrap();
    for (mode, good) in [
        (0o400, true),
        (0o440, true),
        (0o600, true),
        (0o640, true),
        (0o444, false),
        (0o604, false),
        (0o644, false),
        (0o620, false),
        (0o602, false),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let outcome = with_secret_in(&path);
        assert_eq!(outcome.is_ok(), good, "{mode:o}");
        assert!(outcome.is_err() || outcome.unwrap().warnings.is_empty(), "{mode:o}");
    }
    fs::write(&path, CANARY.repeat(5000)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        with_secret_in(&path).unwrap_err().to_string(),
        "f.toml, line 1: tenant.client.secret_file: the file is larger than 64 KiB"
    );
}

fn with_secret_in(path: &Path) -> Result<Loaded, Problems> {
    let text =
        format!("tenant = {{ domain = \"a.auth0.com\", client = {{ id = \"x\", secret_file = {path:?} }} }}");
    config::parse("f.toml", &text, &Env::default())
}

/// The volume has the form of one that Kubernetes mounts, with the mode that its files have by default.
#[test]
fn a_secret_that_kubernetes_mounted_for_every_user_to_read_is_only_a_warning() {
    let volume = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = |name: &str| volume.path().join(name);
    fs::create_dir(path("..2026_11_22")).unwrap();
    fs::write(path("..2026_11_22/secret"), CANARY).unwrap();
    fs::set_permissions(path("..2026_11_22/secret"), fs::Permissions::from_mode(0o644)).unwrap();
    symlink("..2026_11_22", path("..data")).unwrap();
    symlink("..data/secret", path("secret")).unwrap();
    assert_eq!(
        with_secret_in(&path("secret")).unwrap().warnings,
        [
            "f.toml, line 1: tenant.client.secret_file: every process in this container can read the file; set \
             defaultMode of its volume to 0400, or to 0440 with fsGroup"
        ]
    );
    let past_the_links = with_secret_in(&path("..2026_11_22/secret")).unwrap_err().to_string();
    assert!(past_the_links.contains("every user of this machine can read the file"), "{past_the_links}");
}

/// A secret in the configuration makes the configuration's file one that has to be kept from others.
#[test]
fn a_configuration_with_a_secret_in_it_is_kept_from_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloakroom.toml");
    let said = |text: &str, mode: u32, env: &[(&str, &str)]| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let outcome = config::load(Some(&path), &env).map(|_| "good".to_owned());
        outcome.unwrap_or_else(|problems| problems.to_string()).replace(&path.display().to_string(), "f")
    };
    let secret =
        "[tenant]\ndomain = \"a.auth0.com\"\n[tenant.client]\nid = \"x\"\nsecret = \"hunter2-canary\"\n";
    assert_eq!(said(secret, 0o640, &[]), "good");
    assert_eq!(
        said(secret, 0o644, &[]),
        "f, line 5: tenant.client.secret: every user of this machine can read the configuration, which contains the \
             secret; set its mode to 0400 or 0440, or mount it with that mode"
    );
    assert_eq!(
        said(secret, 0o660, &[]),
        "f, line 5: tenant.client.secret: users other than its owner can change the configuration, which contains \
             the secret; set its mode to 0400 or 0440, or mount it with that mode"
    );
    // What is in the environment is not in the file.
    let variable = [("CLOAKROOM_TENANT__CLIENT__SECRET", CANARY)];
    let proxy =
        |proxy: &str| format!("[tenant]\ndomain = \"a.auth0.com\"\nproxy = {proxy:?}\nclient.id = \"x\"\n");
    assert_eq!(said(&proxy("http://proxy"), 0o644, &variable), "good");
    assert_eq!(said(&proxy("http://u:canary@proxy"), 0o600, &variable), "good");
    assert_eq!(
        said(&proxy("http://u:canary@proxy"), 0o644, &variable),
        "f, line 3: tenant.proxy: every user of this machine can read the configuration, which contains the proxy's \
             password; set its mode to 0400 or 0440, or mount it with that mode"
    );
}

#[test]
fn a_key_file_for_users_makes_the_same_key_with_and_without_a_line_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let outcome = |content: &str, mode: u32| {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let text = format!(
            "tenant = {{ domain = \"a.auth0.com\", client = {{ id = \"x\", secret_file = {path:?} }} }}\n\
             log = {{ user_key_file = {path:?} }}"
        );
        config::parse("f.toml", &text, &Env::default())
    };
    let name = |content: &str| {
        let loaded = outcome(content, 0o600).unwrap();
        assert_eq!(loaded.warnings, [""; 0]);
        assert!(!format!("{loaded:?}").contains("sixteen"));
        loaded.config.log.user_key.unwrap().tag("user", "auth0|jane")
    };
    assert_eq!(name("sixteen bytes and more"), name("sixteen bytes and more\n"));
    assert_ne!(name("sixteen bytes and more"), name("sixteen bytes and More"));
    assert_eq!(
        outcome("sixteen bytes and more", 0o644).unwrap_err().to_string().lines().last().unwrap(),
        "f.toml, line 2: log.user_key_file: every user of this machine can read the file; set its mode to 0400 or \
             0440, or mount it with that mode"
    );
}

#[test]
fn a_file_that_is_named_must_be_there_and_be_text() {
    let dir = tempfile::tempdir().unwrap();
    let said = |path: &Path| {
        let problems = config::load(Some(path), &Env::default()).unwrap_err();
        assert_eq!(problems.iter().next().unwrap().key, None);
        problems.to_string().replace(&dir.path().display().to_string(), "{dir}")
    };
    let path = dir.path().join("cloakroom.toml");
    assert_eq!(said(&path), "{dir}/cloakroom.toml: file not found");
    assert_eq!(said(dir.path()), "{dir}: is a directory, not a file");
    fs::write(&path, b"[tenant]\ndomain = \"\xff\"\n").unwrap();
    assert_eq!(said(&path), "{dir}/cloakroom.toml: the file is not UTF-8 text");
    fs::write(&path, b"tenant = 5").unwrap();
    assert!(
        config::load(Some(&path), &Env::default())
            .unwrap_err()
            .to_string()
            .starts_with(&format!("{}, line 1: tenant: must be a table", path.display()))
    );
}

proptest! {
    /// Whatever stands in a file or in the environment, the answer is a configuration or problems, and neither
    /// shows a value. Keys are shown, so the canary is never put where TOML takes it for one.
    #[test]
    fn nothing_panics_and_no_value_is_printed(
        lines in prop::collection::vec(line(), 0..24),
        noise in prop::option::weighted(0.3, (any::<prop::sample::Index>(), "[\\PC\n\"'=\\[\\]{}]{1,3}")),
        variables in prop::collection::vec((variable(), value()), 0..6),
    ) {
        let mut text = lines.join("\n");
        if let Some((at, noise)) = noise {
            let at = (0..=at.index(text.len() + 1)).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            text.insert_str(at, &noise);
        }
        let env: Env = variables.into_iter().collect();
        let said = match config::parse("f.toml", &text, &env) {
            Ok(loaded) => loaded.warnings.join("\n"),
            Err(problems) => format!("{problems}\n{problems:?}"),
        };
        prop_assert!(!said.contains(CANARY), "{said}");
    }

    /// Text that is hardly TOML at all does not panic either.
    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,200}", name in "CLOAKROOM_[A-Z_0-9\\PC]{0,30}", value in "\\PC{0,30}") {
        let env: Env = [(name, value)].into_iter().collect();
        prop_assert!(config::parse("f.toml", &text, &env).is_err(), "nothing that strange names a tenant");
    }
}

/// Names of keys, and some that are none.
fn key() -> impl Strategy<Value = &'static str> {
    select(schema::keys().map(Key::name).chain(["secrets", "nonsense"]).collect::<Vec<_>>())
}

/// Paths of tables, and one that is none.
fn table() -> impl Strategy<Value = &'static str> {
    select(TABLES.iter().map(|table| table.path).chain(["nonsense"]).collect::<Vec<_>>())
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => table().prop_map(|table| format!("[{table}]")),
        1 => Just("[[listener]]".to_owned()),
        5 => (key(), toml_value()).prop_map(|(key, value)| format!("{key} = {value}")),
        2 => (table(), key(), toml_value())
            .prop_map(|(table, key, value)| format!("{table}.{key} = {value}")),
    ]
}

fn toml_value() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => value().prop_map(|value| format!("{value:?}")),
        1 => value().prop_map(|value| format!("'''{value}'''")),
        1 => value().prop_map(|value| format!("[{value:?}]")),
        1 => value().prop_map(|value| format!("{{ id = {value:?} }}")),
        1 => value(),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| format!("{number:?}")),
        1 => select(&["true", "2026-11-22", "0x7f", "[[]]", "{}", "\""][..]).prop_map(str::to_owned),
    ]
}

/// Values of every kind that some key takes or nearly takes, with the canary wherever text can stand.
fn value() -> impl Strategy<Value = String> {
    let around = [
        "@",
        "/@",
        "/run/@",
        "https://@",
        "http://u:@@proxy:1",
        "http://@:1",
        "https://@/api/v2/",
        "@.auth0.com",
        "10@",
        "@s",
        "64@",
        "a b @",
        "\n@",
        "@\u{0}",
        "0660",
        "acme.eu.auth0.com",
        "10m",
        "64MiB",
        "5",
        "0.5",
        "root",
        "",
    ];
    select(around.map(|around| around.replacen('@', CANARY, 1)).to_vec())
}

fn variable() -> impl Strategy<Value = String> {
    (table(), key(), select(&["__", "_", "__0__", "__63__", "__64__"][..])).prop_map(
        |(table, key, between)| {
            let table = table.replace('.', "__");
            format!("CLOAKROOM_{table}{between}{key}").to_ascii_uppercase()
        },
    )
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
const MODES: [(&str, u32); 5] = [
    ("good/client-secret", 0o600),
    ("bad/files/secret", 0o440),
    ("bad/files/byte-order-mark", 0o440),
    ("bad/files/secret-for-all", 0o644),
    ("bad/files/secret-for-its-group-to-write", 0o660),
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

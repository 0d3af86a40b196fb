//! Files that a configuration names, or is read from: who may read them, and what they hold.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use cloakroom::config::{self, Env, Loaded, Problems};

use super::CANARY;

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

//! The configuration by example, held to the program's keys and defaults.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use cloakroom::config::{self, Env};

use super::block;
use crate::repository::read;

// README's configuration.

#[test]
fn the_configuration_by_example_is_right_and_its_values_are_the_defaults() {
    let place = Files::new();
    let example = place.at_home(&block("README.md", "toml"));
    let shown = loaded(&example, &Env::default());
    let required = ["tenant.domain", "tenant.client.id", "tenant.client.secret_file"];
    let minimal: Vec<_> = settings(&example)
        .into_iter()
        .filter(|setting| required.contains(&&*setting.path))
        .map(|setting| format!("{} = {}", setting.path, setting.value))
        .collect();
    assert_eq!(minimal.len(), required.len());
    assert_eq!(shown, loaded(&minimal.join("\n"), &Env::default()), "README's values are not the defaults");
}

#[test]
fn the_configuration_by_example_has_every_key_there_is() {
    let shown: BTreeSet<_> =
        settings(&block("README.md", "toml")).into_iter().map(|setting| setting.path).collect();
    assert_eq!(shown, known_keys());
}

#[test]
fn keys_without_a_default_are_as_right_as_the_others() {
    let place = Files::new();
    let example = place.at_home(&block("README.md", "toml"));
    let all = uncommented(&example, |key| key != "secret");
    loaded(&all, &Env::default());
    let secret: Vec<_> = uncommented(&example, |key| key == "secret")
        .lines()
        .filter(|line| !line.starts_with("secret_file"))
        .map(str::to_owned)
        .collect();
    let warned = config::parse("cloakroom.toml", &secret.join("\n"), &Env::default()).unwrap();
    assert_eq!(warned.warnings.len(), 1, "{:?}", warned.warnings);
}

/// The rule that README gives for the names of variables, applied to every key in its example.
#[test]
fn every_key_can_come_from_the_environment() {
    let place = Files::new();
    let example = place.at_home(&block("README.md", "toml"));
    let variables: Env = settings(&example)
        .into_iter()
        .filter(|setting| setting.path != "tenant.client.secret")
        .map(|setting| {
            let path = setting.path.replace("listener.", "listener.0.").replace("allow.", "allow.0.");
            let name = format!("CLOAKROOM_{}", path.replace('.', "__").to_uppercase());
            let list = setting.value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            (name, list.unwrap_or(&setting.value).replace('"', ""))
        })
        .collect();
    let from_file = loaded(&uncommented(&example, |key| key != "secret"), &Env::default());
    assert_eq!(loaded("", &variables), from_file);
}

/// Files that the example names, somewhere else than where it says.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificate = rcgen::generate_simple_self_signed(vec!["corp".to_owned()]).unwrap();
        fs::write(directory.path().join("ca.pem"), certificate.cert.pem()).unwrap();
        fs::write(directory.path().join("secret"), "canary\n").unwrap();
        fs::write(directory.path().join("user-key"), "a key of some length\n").unwrap();
        for name in ["secret", "user-key"] {
            fs::set_permissions(directory.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self(directory)
    }

    fn at_home(&self, example: &str) -> String {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let within = |name: &str| self.0.path().join(name).display().to_string();
        let swaps = [
            ("/run/secrets/auth0-client-secret", within("secret")),
            ("/etc/ssl/corp-ca.pem", within("ca.pem")),
            ("/etc/cloakroom/user-key", within("user-key")),
            ("\"cloakroom\"", uid.to_string()),
            ("\"web\"", gid.to_string()),
        ];
        swaps.iter().fold(example.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        })
    }
}

struct Setting {
    path: String,
    value: String,
}

/// Every key of the example, those that are commented out included.
fn settings(example: &str) -> Vec<Setting> {
    let mut table = String::new();
    let mut found = Vec::new();
    for line in example.lines() {
        if let Some(name) = line.trim_start_matches("# ").strip_prefix('[') {
            table = format!("{}.", name.trim_start_matches('[').split(']').next().unwrap());
        } else if let Some((key, rest)) = line.trim_start_matches("# ").split_once('=') {
            let value = match rest.trim().strip_prefix('"') {
                Some(text) => format!("\"{}\"", text.split('"').next().unwrap()),
                None => rest.split('#').next().unwrap().trim().to_owned(),
            };
            found.push(Setting { path: format!("{table}{}", key.trim()), value });
        }
    }
    found
}

/// The example with those of its commented keys set that `wanted` picks.
fn uncommented(example: &str, wanted: impl Fn(&str) -> bool) -> String {
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with('[') && wanted("uid") => format!("{rest}\n"),
        Some(rest) if rest.split_once('=').is_some_and(|(key, _)| wanted(key.trim())) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    example.lines().map(line).collect()
}

/// What the configuration says, as text; there is no other way to compare two, and no secret in this one. Where a rule
/// stands is left out.
fn loaded(text: &str, env: &Env) -> String {
    let loaded =
        config::parse("cloakroom.toml", text, env).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let mut config = loaded.config;
    config.listeners.iter_mut().flat_map(|listener| &mut listener.allow).for_each(|rule| rule.origin = None);
    format!("{config:#?}")
}

/// From the list that the configuration itself is held against.
fn known_keys() -> BTreeSet<String> {
    let source = read("src/config/schema.rs");
    let list = source.split("const TABLES").nth(1).unwrap().split("\n];").next().unwrap();
    let mut keys = BTreeSet::new();
    for table in list.split("Table {").skip(1) {
        let path = match table.split("path:").nth(1).unwrap().trim() {
            quoted if quoted.starts_with('"') => quoted.split('"').nth(1).unwrap(),
            name if name.starts_with("ALLOW") => "listener.allow",
            _ => "listener",
        };
        for key in table.split("(\"").skip(1) {
            keys.insert(format!("{path}.{}", key.split('"').next().unwrap()));
        }
    }
    assert!(keys.len() > 25, "{keys:?}");
    keys
}

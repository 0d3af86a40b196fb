//! Reloads of every key: what each changes at once, and what waits for a restart.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::client_table::ClientTable;
use crate::config::schema::Type;
use crate::config::values::Typed;
use crate::config::{Env, parse};

const LEAST: [(&str, &str); 4] = [
    ("tenant.domain", "acme.eu.auth0.com"),
    ("tenant.client.id", "3Xk9"),
    ("tenant.client.secret", SECRET),
    ("listener.0.path", "/run/cloakroom/cloakroom.sock"),
];

const SECRET: &str = "canary";

fn with(settings: &[(&str, &str)]) -> Config {
    let replaces_secret = ["tenant.client.secret_file", "tenant.client.key_file"];
    let has_file = settings.iter().any(|(path, _)| replaces_secret.contains(path));
    let least = LEAST.iter().filter(|(path, _)| !has_file || *path != "tenant.client.secret");
    // The application of [management_api] has one secret, too.
    let has_other_file = settings.iter().any(|(path, _)| *path == "management_api.secret_file");
    let settings = settings.iter().filter(|(path, _)| !has_other_file || *path != "management_api.secret");
    let variables = least.chain(settings);
    let env: Env = variables.map(|(path, value)| (schema::variable(path), (*value).to_owned())).collect();
    parse("f.toml", "", &env).unwrap_or_else(|problems| panic!("{problems}")).config
}

/// Every key except for those of rules, which are compared as a list, and for those by which a reload identifies a
/// listener or a connection.
fn tried() -> impl Iterator<Item = &'static Key> {
    schema::keys().filter(|key| {
        !key.is_below("listener.allow")
            && !["listener.path", "connection.name", "proxy.connection", "proxy.name"].contains(&key.path)
    })
}

/// The settings without which a key is refused.
fn needed(key: &Key, files: &Files) -> Vec<(String, String)> {
    let mut needed = Vec::new();
    if key.path == "admin.allow_remote" {
        needed.push(("admin.address", "127.0.0.1:9464".to_owned()));
    }
    needed.extend(needed_for_client(key, files));
    if key.is_below("connection") {
        needed.push(("connection.0.name", "google-oauth2".to_owned()));
    }
    if key.is_below("connection.refresh") || key.path == "connection.sources" {
        let secret_file = schema::keys().find(|key| key.path == "connection.refresh.secret_file").unwrap();
        needed.extend([
            ("connection.0.sources", "identities,refresh".to_owned()),
            ("connection.0.refresh.provider", "google".to_owned()),
            ("connection.0.refresh.client_id", "1234".to_owned()),
            ("connection.0.refresh.secret_file", files.write(secret_file, 1)),
        ]);
    }
    if key.is_below("proxy") {
        needed.extend([
            ("proxy.0.connection", "github".to_owned()),
            ("proxy.0.name", "api".to_owned()),
            ("proxy.0.url", "https://api.github.com".to_owned()),
        ]);
    }
    if key.is_below("state") {
        let key_file = schema::keys().find(|key| key.path == "state.key_file").unwrap();
        needed.extend([
            ("state.path", "/var/lib/cloakroom/other".to_owned()),
            ("state.key_file", files.write(key_file, 1)),
        ]);
    }
    needed.into_iter().map(|(path, value)| (path.to_owned(), value)).collect()
}

/// The settings of an application without which a key of its table or of the vault's is refused.
fn needed_for_client(key: &Key, files: &Files) -> Vec<(&'static str, String)> {
    let table = match key.is_below("management_api") {
        true => ClientTable::ManagementApi,
        false => ClientTable::TenantClient,
    };
    let paths = table.keys();
    let auth = |method: &str| (paths.auth, method.to_owned());
    let key_file = || (paths.key_file, files.put("needed-key", files.keys[0].serialize_pem()));
    let mut needed = match key.path {
        path if [paths.key_file, paths.next_key_file, paths.signing_alg].contains(&path) => {
            vec![auth("private_key_jwt"), key_file()]
        }
        path if [paths.certificate_file, paths.token_host].contains(&path) => {
            let certificate = files.put("needed-certificate", &files.certificates[0]);
            vec![auth("tls_client_auth"), key_file(), (paths.certificate_file, certificate)]
        }
        "vault.audit_context" => vec![auth("private_key_jwt"), key_file()],
        "vault.key_file" => {
            vec![auth("private_key_jwt"), key_file(), ("vault.audit_context", "test".to_owned())]
        }
        "vault.signing_alg" => {
            let own = files.put("needed-vault-key", files.keys[1].serialize_pem());
            vec![auth("private_key_jwt"), key_file(), ("vault.key_file", own)]
        }
        _ if table == ClientTable::ManagementApi => vec![(paths.secret, SECRET.to_owned())],
        _ => vec![],
    };
    if table == ClientTable::ManagementApi {
        needed.push((paths.id, "4Yl0".to_owned()));
    }
    needed
}

/// A directory with the files that keys name.
struct Files {
    directory: tempfile::TempDir,
    keys: [rcgen::KeyPair; 2],
    /// Of the first key.
    certificates: [String; 2],
}

impl Files {
    fn new() -> Self {
        let key = || rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let keys = [key(), key()];
        let certificates = [1, 2].map(|number| certificate(&keys[0], number));
        Self { directory: tempfile::tempdir().unwrap(), keys, certificates }
    }

    /// Writes the first or second content of the file of this key, and returns its path.
    fn write(&self, key: &Key, content: usize) -> String {
        let name = format!("{} {content}", key.path);
        let content = match key.path {
            "tenant.ca_file" | "providers.ca_file" => certificate(&rcgen::KeyPair::generate().unwrap(), 1),
            "tenant.client.key_file" | "management_api.key_file" => self.keys[content].serialize_pem(),
            "tenant.client.next_key_file" | "management_api.next_key_file" => {
                self.keys[1 - content].serialize_pem()
            }
            "tenant.client.certificate_file" | "management_api.certificate_file" => {
                self.certificates[content].clone()
            }
            "connection.refresh.previous_secret_file" => ["previous", "older"][content].to_owned(),
            "tenant.client.secret_file" | "management_api.secret_file" | "connection.refresh.secret_file" => {
                [SECRET, "another secret"][content].to_owned()
            }
            "vault.key_file" => self.keys[1 - content].serialize_pem(),
            "log.user_key_file" => ["first", "other"][content].repeat(16),
            "state.path" => String::new(),
            "state.key_file" => ["01", "02"][content].repeat(32),
            other => panic!("{other}: name the contents of its file here"),
        };
        self.put(&name, content)
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// The certificate of this key with a serial number.
fn certificate(key: &rcgen::KeyPair, serial_number: u64) -> String {
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.serial_number = Some(serial_number.into());
    params.self_signed(key).unwrap().pem()
}

/// Another value than the default.
fn another(key: &Key, files: &Files) -> String {
    let is_default = |value: &'static str| key.default == DefaultValue::Value(value);
    let value = match key.takes {
        Type::Duration { .. } if key.name() == "connect_timeout" => "1s",
        Type::Choice(_) if key.path == "connection.refresh.provider" => "linkedin",
        Type::Choice(words) => *words.iter().find(|word| !is_default(word)).unwrap(),
        Type::ChoiceOrPath(words) => words.last().unwrap(),
        Type::Words(_) if key.path == "connection.sources" => "refresh,identities",
        Type::Duration { max, .. } => return max.shown(),
        Type::Size { min, .. } => return min.shown(),
        Type::Integer { max, .. } => return max.shown(),
        Type::Number { max, .. } => return max.shown(),
        Type::Boolean => ["true", "false"].into_iter().find(|word| !is_default(word)).unwrap(),
        Type::Mode => "0600",
        Type::User | Type::Group => "4711",
        Type::Address => "127.0.0.1:9464",
        Type::Path => return files.write(key, 0),
        Type::Text(_) if key.path == "tenant.domain" => "other.eu.auth0.com",
        Type::Text(_) if key.path == "vault.audit_context" => "another context",
        Type::Text(_) if key.path == "tenant.audience" => "https://other.eu.auth0.com/api/v2/",
        Type::Text(_) | Type::Secret(_) | Type::Texts { .. } | Type::Words(_) => key.example.unwrap(),
    };
    value.to_owned()
}

/// Checks that a reload from `before` to `wanted`, which differ in `key` alone, does what the row of `key` says.
fn check(key: &Key, before: &Config, wanted: Config) {
    let path = schema::indexed(key.path, "");
    let outcome = before.reread(wanted.clone());
    if key.reload == Reload::Refused {
        assert_eq!(outcome.unwrap_err(), ANOTHER_TENANT, "{path}");
        return;
    }
    let Reread { config, changed, needs_restart } = outcome.unwrap();
    let takes_restart = key.reload == Reload::Restart;
    let expected = if takes_restart { before.clone() } else { wanted };
    let (named, other) = if takes_restart { (needs_restart, changed) } else { (changed, needs_restart) };
    let paths = |changes: &[Change]| -> Vec<_> { changes.iter().map(|change| change.key.clone()).collect() };
    assert_eq!((paths(&named), paths(&other)), (vec![path.clone()], vec![]));
    assert_eq!(format!("{config:?}"), format!("{expected:?}"), "{path}");
    assert!(config.effective == expected.effective, "{path}");
    // `Debug` shows no secrets; a further reload finds any difference between them.
    let Reread { changed, needs_restart, .. } = expected.reread(config).unwrap();
    assert_eq!([changed, needs_restart], [vec![], vec![]], "{path}");
}

/// If a row says restart and the code takes the value over all the same, half a change is in force.
#[test]
fn what_takes_a_restart_stays_as_it_was_and_anything_else_changes() {
    let files = Files::new();
    for key in tried() {
        let needed = needed(key, &files);
        let needed: Vec<_> = needed.iter().map(|(path, value)| (&**path, &**value)).collect();
        let (path, value) = (schema::indexed(key.path, ""), another(key, &files));
        check(key, &with(&needed), with(&[&*needed, &[(&*path, &*value)]].concat()));
    }
}

#[test]
fn another_content_of_a_file_is_a_change_of_its_key() {
    let files = Files::new();
    for key in tried().filter(|key| key.takes == Type::Path && key.path != "state.path") {
        // One path, so that only the content differs.
        let path = files.write(key, 0);
        let mut needed = needed(key, &files);
        needed.push((schema::indexed(key.path, ""), path.clone()));
        let needed: Vec<_> = needed.iter().map(|(path, value)| (&**path, &**value)).collect();
        let before = with(&needed);
        fs::rename(files.write(key, 1), path).unwrap();
        let wanted = with(&needed);
        // A reload names the secret, which may be the old one if only the file's path differs.
        let path = match key.path {
            "tenant.client.secret_file" => "tenant.client.secret",
            "management_api.secret_file" => "management_api.secret",
            path => path,
        };
        let changed = schema::keys().find(|key| key.path == path).unwrap();
        check(changed, &before, wanted);
    }
}

/// The new connection would be in force, and its refresh tokens in memory alone.
#[test]
fn refresh_tokens_that_have_to_be_stored_take_a_restart_with_state() {
    let files = Files::new();
    let content_of = |path: &str| files.write(schema::keys().find(|key| key.path == path).unwrap(), 0);
    let (secret_file, key_file) =
        (content_of("connection.refresh.secret_file"), content_of("state.key_file"));
    let state = [("state.path", "/var/lib/cloakroom/state"), ("state.key_file", &*key_file)];
    let connection = |rotation| {
        [
            ("connection.0.name", "github"),
            ("connection.0.sources", "identities,refresh"),
            ("connection.0.refresh.provider", "github"),
            ("connection.0.refresh.client_id", "1234"),
            ("connection.0.refresh.secret_file", &*secret_file),
            ("connection.0.refresh.rotation", rotation),
        ]
    };
    let single = with(&[&state[..], &connection("single")].concat());
    assert_eq!(with(&[]).reread(single.clone()).unwrap_err(), NO_STATE_YET);
    assert_eq!(with(&connection("none")).reread(single.clone()).unwrap_err(), NO_STATE_YET);
    let keeps_old = with(&[&state[..], &connection("keep_old")].concat());
    assert!(with(&[]).reread(keeps_old).is_ok());
    assert!(with(&state).reread(single).is_ok());
}

#[test]
fn values_are_shown_unless_an_operator_chose_the_text() {
    let wanted = with(&[
        ("cache.max_ttl", "7m"),
        ("admin.address", "127.0.0.1:9464"),
        ("listener.0.owner", "4711"),
        ("listener.0.mode", "600"),
        ("me.audiences", "canary"),
        ("audit.output", "/var/log/audit"),
    ]);
    let Reread { changed, needs_restart, .. } = with(&[]).reread(wanted).unwrap();
    let shown = |changes: &[Change]| -> Vec<String> {
        let text = |(old, new): &(String, String)| format!(": {old} to {new}");
        let values = |change: &Change| change.values.as_ref().map(text).unwrap_or_default();
        changes.iter().map(|change| format!("{}{}", change.key, values(change))).collect()
    };
    assert_eq!(shown(&changed), ["cache.max_ttl: 10m to 7m", "me.audiences"]);
    assert_eq!(
        shown(&needs_restart),
        [
            "listener.0.mode: 0660 to 0600",
            "listener.0.owner: the daemon's user to 4711",
            "audit.output: stdout to /var/log/audit",
            "admin.address: none to 127.0.0.1:9464",
        ]
    );
}

//! Compares the configuration in force with one that was read later, and keeps the old values of keys that need a
//! restart.
//!
//! The schema says which keys need one. Values are shown if they are numbers or words of this program, and never if
//! an operator chose the text: a secret that was pasted into the wrong key is still a secret.

use std::fmt::Display;
use std::sync::Arc;

use super::Config;
use super::effective_values::Reading;
use super::reloadable::Reloadable;
use super::schema::{self, DefaultValue, Key, LISTENER_PATH, Reload};

const ANOTHER_TENANT: &str = "tenant.domain, tenant.audience: a running daemon serves one tenant, which its cache is \
                              about; restart it for another";

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key as a dotted path; elements of a list by their place in the new configuration.
    pub key: String,
    /// The old value and the new one, if they may be shown.
    pub values: Option<(String, String)>,
}

/// A configuration that was read while the daemon runs.
#[derive(Clone, Debug)]
pub struct Reread {
    /// The configuration to put into force: the new settings, except for those that take a restart.
    pub config: Config,
    /// Settings that take effect at once.
    pub changed: Vec<Change>,
    /// Settings that differ and take a restart.
    pub needs_restart: Vec<Change>,
}

impl Config {
    /// Takes over `wanted`, except for what a running daemon cannot change.
    ///
    /// # Errors
    /// `wanted` is of another tenant: the cache is about this one, and nothing of another tenant, its client's secret
    /// least of all, may be sent to this one's domain.
    pub fn reread(&self, mut wanted: Self) -> Result<Reread, String> {
        if (&self.tenant.domain, &self.tenant.audience) != (&wanted.tenant.domain, &wanted.tenant.audience) {
            return Err(ANOTHER_TENANT.to_owned());
        }
        let (mut changed, mut needs_restart) = (Vec::new(), Vec::new());
        let mut of_listeners = Vec::new();
        self.reread_listeners(&mut wanted, &mut of_listeners, &mut needs_restart);
        let compared = |key: &&Key| key.reload != Reload::Refused && !key.path.starts_with(LISTENER_PATH);
        let is_switched = self.audit.is_on() != wanted.audit.is_on();
        let contents = self.reread_tables(&mut wanted);
        for key in schema::keys().filter(compared) {
            let (old, new) = (self.effective.get(key.path), wanted.effective.get(key.path));
            if old == new && !contents.contains(&key.path) {
                continue;
            }
            let change = change(key, key.path.to_owned(), old, new);
            let takes_restart = key.reload == Reload::Restart || (is_switched && key.path == "audit.events");
            if takes_restart {
                needs_restart.push(change);
                wanted.effective.set(key.path, old.cloned());
            } else {
                changed.push(change);
            }
        }
        changed.extend(of_listeners);
        Ok(Reread { config: wanted, changed, needs_restart })
    }

    /// Replaces the listeners of `wanted` by those in force, each with the new values of its live keys. Listeners are
    /// identified by their paths.
    fn reread_listeners(
        &self,
        wanted: &mut Self,
        changed: &mut Vec<Change>,
        needs_restart: &mut Vec<Change>,
    ) {
        let asked = std::mem::take(&mut wanted.listeners);
        let asked_effective = wanted.effective.clone();
        wanted.effective.remove_below(LISTENER_PATH);
        for (at, old) in self.listeners.iter().enumerate() {
            let found = asked.iter().enumerate().find(|(_, new)| new.path == old.path);
            if found.is_none() {
                needs_restart.push(listener(at, &old.path.display(), &"none"));
            }
            for key in schema::table(LISTENER_PATH).into_iter().flat_map(|table| table.keys) {
                let path = |at: usize| format!("{LISTENER_PATH}.{at}.{}", key.name());
                let before = self.effective.get(&path(at));
                let Some((place, _)) = found else {
                    wanted.effective.set(&path(at), before.cloned());
                    continue;
                };
                let after = asked_effective.get(&path(place));
                let is_live = key.reload == Reload::Live;
                if before != after {
                    let change = change(key, path(place), before, after);
                    if is_live { changed.push(change) } else { needs_restart.push(change) }
                }
                wanted.effective.set(&path(at), if is_live { after } else { before }.cloned());
            }
            wanted.listeners.push(match found {
                None => old.clone(),
                Some((place, new)) => {
                    if old.allow != new.allow {
                        changed.push(Change { key: format!("{LISTENER_PATH}.{place}.allow"), values: None });
                    }
                    let mut new = new.clone();
                    new.restore_fixed(old);
                    new
                }
            });
        }
        for (place, new) in asked.iter().enumerate() {
            if !self.listeners.iter().any(|old| old.path == new.path) {
                needs_restart.push(listener(place, &"none", &new.path.display()));
            }
        }
    }
    /// Restores what takes a restart, and returns the paths of keys whose secret or file's content differs. Listeners
    /// are compared apart, because their paths identify them.
    fn reread_tables(&self, wanted: &mut Self) -> Vec<&'static str> {
        fn table<T: Reloadable>(running: &T, wanted: &mut T) -> Vec<&'static str> {
            let different = running.different_contents(wanted);
            wanted.restore_fixed(running);
            different
        }
        // By name, so that a table cannot be left out.
        let Self {
            tenant,
            client,
            management,
            cache,
            upstream,
            listeners: _,
            me,
            audit,
            admin,
            shutdown,
            log,
            runtime,
            effective: _,
        } = wanted;
        [
            table(&self.tenant, tenant),
            table(&*self.client, Arc::make_mut(client)),
            table(&self.management, management),
            table(&self.cache, cache),
            table(&self.upstream, upstream),
            table(&self.me, me),
            table(&self.audit, audit),
            table(&self.admin, admin),
            table(&self.shutdown, shutdown),
            table(&self.log, log),
            table(&self.runtime, runtime),
        ]
        .concat()
    }
}

/// A change of `key`, which stands at `path` in the new configuration.
fn change(key: &Key, path: String, old: Option<&Reading>, new: Option<&Reading>) -> Change {
    let absent = match key.default {
        DefaultValue::Absent(text) => text,
        DefaultValue::Value(_) | DefaultValue::Required(_) => "none",
    };
    let shown = |reading: Option<&Reading>| match reading {
        Some(Reading::Shown(text)) => Some(text.clone()),
        Some(Reading::Hidden(_)) => None,
        None => Some(absent.to_owned()),
    };
    let values = if key.takes.may_be_shown() { shown(old).zip(shown(new)) } else { None };
    Change { key: path, values }
}

/// A listener that is added or removed.
fn listener(place: usize, old: &dyn Display, new: &dyn Display) -> Change {
    let values = Some((old.to_string(), new.to_string()));
    Change { key: format!("{LISTENER_PATH}.{place}"), values }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
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
        let variables = least.chain(settings);
        let env: Env = variables.map(|(path, value)| (schema::variable(path), (*value).to_owned())).collect();
        parse("f.toml", "", &env).unwrap_or_else(|problems| panic!("{problems}")).config
    }

    /// Every key except for those of rules, which are compared as a list, and for the path by which a reload identifies
    /// a listener.
    fn tried() -> impl Iterator<Item = &'static Key> {
        schema::keys().filter(|key| !key.path.starts_with("listener.allow") && key.path != "listener.path")
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
            let content = match key.path {
                "tenant.ca_file" => certificate(&rcgen::KeyPair::generate().unwrap(), 1),
                "tenant.client.secret_file" => [SECRET, "another secret"][content].to_owned(),
                "tenant.client.key_file" => self.keys[content].serialize_pem(),
                "tenant.client.next_key_file" => self.keys[1 - content].serialize_pem(),
                "tenant.client.certificate_file" => self.certificates[content].clone(),
                "log.user_key_file" => ["first", "other"][content].repeat(16),
                other => panic!("{other}: name the contents of its file here"),
            };
            self.put(key.name(), content)
        }

        fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
            let path = self.directory.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path.to_str().unwrap().to_owned()
        }
    }

    /// What has to be set for `key` to have a meaning.
    fn needed(key: &Key, files: &Files) -> Vec<(&'static str, String)> {
        let key_file = || ("tenant.client.key_file", files.put("needed-key", files.keys[0].serialize_pem()));
        let auth = |method: &str| ("tenant.client.auth", method.to_owned());
        match key.path {
            "admin.allow_remote" => vec![("admin.address", "127.0.0.1:9464".to_owned())],
            "tenant.client.key_file" | "tenant.client.next_key_file" | "tenant.client.signing_alg" => {
                vec![auth("private_key_jwt"), key_file()]
            }
            "tenant.client.certificate_file" | "tenant.client.token_host" => {
                let certificate = files.put("needed-certificate", &files.certificates[0]);
                vec![auth("tls_client_auth"), key_file(), ("tenant.client.certificate_file", certificate)]
            }
            _ => Vec::new(),
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
            Type::Choice(words) => *words.iter().find(|word| !is_default(word)).unwrap(),
            Type::ChoiceOrPath(words) => words.last().unwrap(),
            Type::Duration { .. } if key.path == "tenant.connect_timeout" => "1s",
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
        let paths =
            |changes: &[Change]| -> Vec<_> { changes.iter().map(|change| change.key.clone()).collect() };
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
            let needed: Vec<_> = needed.iter().map(|(path, value)| (*path, &**value)).collect();
            let (path, value) = (schema::indexed(key.path, ""), another(key, &files));
            check(key, &with(&needed), with(&[&needed, &[(&*path, &*value)][..]].concat()));
        }
    }

    #[test]
    fn another_content_of_a_file_is_a_change_of_its_key() {
        let files = Files::new();
        for key in tried().filter(|key| key.takes == Type::Path) {
            let needed = needed(key, &files);
            let needed: Vec<_> = needed.iter().map(|(path, value)| (*path, &**value)).collect();
            let [before, wanted] = [0, 1]
                .map(|content| with(&[&needed, &[(key.path, &*files.write(key, content))][..]].concat()));
            // A reload names the secret, which may be the old one if only the file's path differs.
            let path =
                if key.path == "tenant.client.secret_file" { "tenant.client.secret" } else { key.path };
            let changed = schema::keys().find(|key| key.path == path).unwrap();
            check(changed, &before, wanted);
        }
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
}

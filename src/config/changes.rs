//! Compares the configuration in force with one that was read later, and keeps what takes a restart.
//!
//! The schema says which keys take one. Values are shown if they are numbers or words of this program, and never if
//! an operator chose the text: a secret that was pasted into the wrong key is still a secret.

use std::fmt::Display;

use super::effective::Reading;
use super::schema::{self, DefaultValue, Key, LISTENER_PATH, Reload};
use super::{AuditEvents, Config, Listener, Log};

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
        for key in schema::keys().filter(compared) {
            let (old, new) = (self.effective.get(key.path), wanted.effective.get(key.path));
            if old == new && !self.content_differs(&wanted, key.path) {
                continue;
            }
            let change = change(key, key.path.to_owned(), old, new);
            // While the audit log is off, it has no output to write to.
            let is_switch = key.path == "audit.events" && self.is_audited() != wanted.is_audited();
            if is_switch || key.reload == Reload::Restart {
                needs_restart.push(change);
                wanted.effective.set(key.path, old.cloned());
            } else {
                changed.push(change);
            }
        }
        self.restore_fixed(&mut wanted);
        changed.extend(of_listeners);
        Ok(Reread { config: wanted, changed, needs_restart })
    }

    /// Whether a secret or the content of a file differs. `effective` has neither.
    fn content_differs(&self, new: &Self, path: &str) -> bool {
        let tag = |config: &Self| config.log.user_key.as_ref().map(|key| key.tag("user", ""));
        match path {
            "tenant.ca_file" => self.tenant.extra_roots != new.tenant.extra_roots,
            "tenant.proxy" => self.tenant.proxy != new.tenant.proxy,
            "tenant.client.secret" => self.client.secret != new.client.secret,
            "log.user_key_file" => tag(self) != tag(new),
            _ => false,
        }
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
                    Listener {
                        require_request_header: new.require_request_header,
                        allow: new.allow.clone(),
                        ..old.clone()
                    }
                }
            });
        }
        for (place, new) in asked.iter().enumerate() {
            if !self.listeners.iter().any(|old| old.path == new.path) {
                needs_restart.push(listener(place, &"none", &new.path.display()));
            }
        }
    }

    /// Restores the values that take a restart, except for those of listeners.
    fn restore_fixed(&self, wanted: &mut Self) {
        wanted.admin = self.admin;
        wanted.runtime = self.runtime;
        wanted.audit.output.clone_from(&self.audit.output);
        if self.is_audited() != wanted.is_audited() {
            wanted.audit.events = self.audit.events;
        }
        wanted.log = Log { level: wanted.log.level, ..self.log.clone() };
    }

    fn is_audited(&self) -> bool {
        self.audit.events != AuditEvents::None
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
    use super::*;
    use crate::config::schema::Type;
    use crate::config::{Env, parse};

    const LEAST: [(&str, &str); 4] = [
        ("tenant.domain", "acme.eu.auth0.com"),
        ("tenant.client.id", "3Xk9"),
        ("tenant.client.secret", "canary"),
        ("listener.0.path", "/run/cloakroom/cloakroom.sock"),
    ];

    fn with(settings: &[(&str, &str)]) -> Config {
        let variables = LEAST.iter().chain(settings);
        let env: Env = variables.map(|(path, value)| (schema::variable(path), (*value).to_owned())).collect();
        parse("f.toml", "", &env).unwrap_or_else(|problems| panic!("{problems}")).config
    }

    /// Another value than the default that needs nothing else to be set.
    fn another(key: &Key) -> Option<String> {
        let value = match key.takes {
            Type::Choice(words) => words.iter().find(|word| key.default != DefaultValue::Value(word))?,
            Type::ChoiceOrPath(words) => words.last()?,
            Type::Duration { .. } if key.path == "tenant.connect_timeout" => "1s",
            Type::Duration { .. } => "6s",
            Type::Size { .. } => "1MiB",
            Type::Integer { .. } => "7",
            Type::Number { .. } => "0.5",
            Type::Boolean if key.default == DefaultValue::Value("true") => "false",
            Type::Boolean if key.path == "runtime.lock_memory" => "true",
            Type::Mode => "0600",
            Type::User | Type::Group => "4711",
            Type::Address => "127.0.0.1:9464",
            Type::Texts { .. } => key.example?,
            _ => return None,
        };
        Some(value.to_owned())
    }

    /// If a row says restart and the code takes the value over all the same, half a change is in force.
    #[test]
    fn what_takes_a_restart_stays_as_it_was_and_anything_else_changes() {
        let before = with(&[]);
        let mut tried = 0;
        for key in schema::keys().filter(|key| !key.path.starts_with("listener.allow")) {
            let Some(value) = another(key) else { continue };
            let path = schema::indexed(key.path, "");
            let wanted = with(&[(&path, &value)]);
            let takes_restart = key.reload == Reload::Restart;
            let expected = if takes_restart { before.clone() } else { wanted.clone() };
            let Reread { config, changed, needs_restart } = before.reread(wanted).unwrap();
            let (named, other) =
                if takes_restart { (needs_restart, changed) } else { (changed, needs_restart) };
            assert_eq!((named.len(), named[0].key.as_str(), other.len()), (1, path.as_str(), 0), "{named:?}");
            assert_eq!(format!("{config:?}"), format!("{expected:?}"), "{path}");
            assert!(config.effective == expected.effective, "{path}");
            tried += 1;
        }
        assert!(tried > 30, "{tried}");
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

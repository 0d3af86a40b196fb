//! Compares the configuration in force with one that was read later, and keeps the old values of keys that need a
//! restart.
//!
//! The schema says which keys need one. Values are shown if they are numbers or words of this program, and never if
//! an operator chose the text: a secret that was pasted into the wrong key is still a secret.

use std::fmt::Display;
use std::sync::Arc;

use super::Config;
use super::effective_values::Reading;
use super::proxied_api::ProxiedApi;
use super::reloadable::Reloadable;
use super::schema::{self, CONNECTION_PATH, DefaultValue, Key, LISTENER_PATH, PROXIED_API_PATH, Reload};
use crate::domain::source::Rotation;

const ANOTHER_TENANT: &str = "tenant.domain, tenant.audience: a running daemon serves one tenant, which its cache is \
                              about; restart it for another";

const NO_STATE_YET: &str = "connection.refresh: each refresh token of this provider is valid once, so the next one has to \
                            survive a restart, and [state] takes a restart: restart the daemon";

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
    /// least of all, may be sent to this one's domain. Or refresh tokens would have to be stored, and the daemon was
    /// started without `[state]`.
    pub fn reread(&self, mut wanted: Self) -> Result<Reread, String> {
        if (&self.tenant.domain, &self.tenant.audience) != (&wanted.tenant.domain, &wanted.tenant.audience) {
            return Err(ANOTHER_TENANT.to_owned());
        }
        let (mut changed, mut needs_restart) = (Vec::new(), Vec::new());
        let mut of_listeners = Vec::new();
        self.reread_listeners(&mut wanted, &mut of_listeners, &mut needs_restart);
        let of_connections = self.compare_connections(&wanted);
        let of_apis = self.compare_apis(&wanted);
        wanted.connections =
            wanted.connections.into_iter().map(|connection| connection.sharing(&self.connections)).collect();
        let compared = |key: &&Key| {
            let lists = [LISTENER_PATH, CONNECTION_PATH, PROXIED_API_PATH];
            let is_of_a_list = lists.into_iter().any(|list| key.is_below(list));
            key.reload != Reload::Refused && !is_of_a_list
        };
        let is_switched = self.audit.is_on() != wanted.audit.is_on();
        let contents = self.reread_tables(&mut wanted);
        if wanted.state.is_none() && wanted.has_to_store() {
            return Err(NO_STATE_YET.to_owned());
        }
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
        changed.extend(of_connections);
        changed.extend(of_apis);
        changed.extend(of_listeners);
        Ok(Reread { config: wanted, changed, needs_restart })
    }

    /// Whether a provider invalidates refresh tokens as it redeems them.
    fn has_to_store(&self) -> bool {
        let mut clients = self.connections.iter().filter_map(|connection| connection.refresh.as_ref());
        clients.any(|refresh| refresh.rotation == Rotation::Single)
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
                needs_restart.push(element(LISTENER_PATH, at, &old.path.display(), &"none"));
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
                needs_restart.push(element(LISTENER_PATH, place, &"none", &new.path.display()));
            }
        }
    }

    /// Names what differs in the connections, which are identified by their names.
    fn compare_connections(&self, wanted: &Self) -> Vec<Change> {
        let names =
            |config: &Self| config.connections.iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
        self.compare_list(wanted, CONNECTION_PATH, &names(self), &names(wanted), |at, place| {
            let both = self.connections.get(at).zip(wanted.connections.get(place));
            both.map(|(old, new)| old.different_contents(new)).unwrap_or_default()
        })
    }

    /// Names what differs in the proxied APIs, which are identified by connection and name.
    fn compare_apis(&self, wanted: &Self) -> Vec<Change> {
        let name = |api: &ProxiedApi| format!("{}/{}", api.connection, api.name);
        let names = |config: &Self| config.proxied_apis.iter().map(name).collect::<Vec<_>>();
        self.compare_list(wanted, PROXIED_API_PATH, &names(self), &names(wanted), |_, _| Vec::new())
    }

    /// Names what differs in a list of tables, all of which takes effect at once. `old` and `new` identify the elements.
    /// `contents` has the keys whose file has another content, of the element at a place before and at a place now.
    fn compare_list(
        &self,
        wanted: &Self,
        list: &str,
        old: &[String],
        new: &[String],
        contents: impl Fn(usize, usize) -> Vec<&'static str>,
    ) -> Vec<Change> {
        let mut changed = Vec::new();
        for (place, name) in new.iter().enumerate() {
            let Some(at) = old.iter().position(|old| old == name) else {
                changed.push(element(list, place, &"none", name));
                continue;
            };
            let contents = contents(at, place);
            for key in schema::keys().filter(|key| key.is_below(list)) {
                let path = |index: usize| schema::indexed(key.path, &index.to_string());
                let (before, after) = (self.effective.get(&path(at)), wanted.effective.get(&path(place)));
                if before != after || contents.contains(&key.path) {
                    changed.push(change(key, path(place), before, after));
                }
            }
        }
        let is_gone = |name: &&String| !new.contains(*name);
        let gone = old.iter().enumerate().filter(|(_, name)| is_gone(name));
        changed.extend(gone.map(|(at, name)| element(list, at, name, &"none")));
        changed
    }

    /// Restores what takes a restart, and returns the paths of keys whose secret or file's content differs. Lists
    /// of tables are compared apart, because paths and names identify their elements.
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
            management_api,
            cache,
            upstream,
            providers,
            connections: _,
            proxied_apis: _,
            vault,
            listeners: _,
            me,
            state,
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
            table(&self.management_api, management_api),
            table(&self.cache, cache),
            table(&self.upstream, upstream),
            table(&self.providers, providers),
            table(&self.vault, vault),
            table(&self.me, me),
            table(&self.state, state),
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

/// An element of a list that is added or removed.
fn element(list: &str, place: usize, old: &dyn Display, new: &dyn Display) -> Change {
    let values = Some((old.to_string(), new.to_string()));
    Change { key: format!("{list}.{place}"), values }
}

#[cfg(test)]
mod tests;

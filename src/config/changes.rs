//! What differs between the configuration in force and one that was read later, and what of it has to wait.
//!
//! Values are shown where they are numbers and words. Text that somebody made up is not: a secret that was pasted into
//! the wrong key is one all the same.

use std::time::Duration;

use bytesize::ByteSize;

use super::values::Shown;
use super::{
    Admin, Audit, AuditEvents, AuditOutput, Cache, Client, Config, Listener, Log, Management, Me, Negative,
    Runtime, Shutdown, Tenant, Upstream,
};
use crate::secret::Secret;

const ANOTHER_TENANT: &str = "tenant.domain, tenant.audience: a daemon is of one tenant as long as it runs, because what it \
                              remembers is: restart it for another";

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key as a dotted path; elements of a list by their place in the new configuration.
    pub key: String,
    /// From what to what, if that may be shown.
    pub values: Option<(String, String)>,
}

/// A configuration that was read while the daemon runs.
#[derive(Clone, Debug)]
pub struct Reread {
    /// What is to be in force: the new settings, and the old ones of those that cannot change.
    pub config: Config,
    /// What of it is new.
    pub changed: Vec<Change>,
    /// What was asked for and has to wait for the next start.
    pub needs_restart: Vec<Change>,
}

impl Config {
    /// Lays `wanted` over these settings, but for what a running daemon cannot change: what it is bound to.
    ///
    /// # Errors
    /// They are another tenant's: what the daemon remembers is about this one, and nothing of another, its client's secret
    /// least of all, may be sent to this one's domain.
    pub fn reread(&self, mut wanted: Self) -> Result<Reread, String> {
        if (&self.tenant.domain, &self.tenant.audience) != (&wanted.tenant.domain, &wanted.tenant.audience) {
            return Err(ANOTHER_TENANT.to_owned());
        }
        let (mut changed, mut needs_restart) = (Vec::new(), Vec::new());
        let listeners = self.reread_listeners(std::mem::take(&mut wanted.listeners), &mut needs_restart);
        let before = settings(self);
        for (old, new) in before.iter().zip(settings(&wanted)) {
            if old.value == new.value {
                continue;
            }
            let change = Change { key: new.key.to_owned(), values: old.value.to(&new.value) };
            if new.is_fixed || old.is_fixed {
                needs_restart.push(change);
            } else {
                changed.push(change);
            }
        }
        self.keep_what_is_fixed(&mut wanted);
        for (place, old, new) in &listeners {
            for (name, old, new) in
                adjustable(old).into_iter().zip(adjustable(new)).map(|(old, new)| (old.0, old.1, new.1))
            {
                if old != new {
                    changed.push(Change { key: format!("listener.{place}.{name}"), values: old.to(&new) });
                }
            }
        }
        wanted.listeners = listeners.into_iter().map(|(_, _, new)| new).collect();
        Ok(Reread { config: wanted, changed, needs_restart })
    }

    /// The listeners in force, each with what it shall become and where that is said. They are told apart by their paths.
    fn reread_listeners(
        &self,
        wanted: Vec<Listener>,
        needs_restart: &mut Vec<Change>,
    ) -> Vec<(usize, Listener, Listener)> {
        let mut find = |at: usize, old: &Listener| {
            let new = wanted.iter().enumerate().find(|(_, new)| new.path == old.path);
            let Some((place, new)) = new else {
                needs_restart.push(Change {
                    key: format!("listener.{at}"),
                    values: Some(shown(&old.path.display(), &"none")),
                });
                return (at, old.clone(), old.clone());
            };
            let Listener { path: _, mode, owner, group, max_connections, require_request_header, allow } =
                new;
            let fixed = [
                ("mode", format!("{:04o}", old.mode), format!("{mode:04o}")),
                ("owner", account(old.owner), account(*owner)),
                ("group", account(old.group), account(*group)),
                ("max_connections", old.max_connections.to_string(), max_connections.to_string()),
            ];
            for (name, old, new) in fixed {
                if old != new {
                    needs_restart
                        .push(Change { key: format!("listener.{place}.{name}"), values: Some((old, new)) });
                }
            }
            let adjusted = Listener {
                require_request_header: *require_request_header,
                allow: allow.clone(),
                ..old.clone()
            };
            (place, old.clone(), adjusted)
        };
        let found = self.listeners.iter().enumerate().map(|(at, old)| find(at, old)).collect();
        for (place, new) in wanted.iter().enumerate() {
            if !self.listeners.iter().any(|old| old.path == new.path) {
                let values = Some(shown(&"none", &new.path.display()));
                needs_restart.push(Change { key: format!("listener.{place}"), values });
            }
        }
        found
    }

    fn keep_what_is_fixed(&self, wanted: &mut Self) {
        wanted.admin = self.admin;
        wanted.runtime = self.runtime;
        wanted.audit.output.clone_from(&self.audit.output);
        // Where nothing is written down there is nothing to write with.
        if (self.audit.events == AuditEvents::None) != (wanted.audit.events == AuditEvents::None) {
            wanted.audit.events = self.audit.events;
        }
        wanted.log = Log { level: wanted.log.level, ..self.log.clone() };
    }
}

/// A setting as it is compared, and as it is shown.
struct Setting {
    key: &'static str,
    value: Value,
    is_fixed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// May be shown.
    Plain(String),
    /// May not.
    Hidden(Vec<Vec<u8>>),
    /// May not be looked at.
    Secret(Option<Secret>, String),
}

impl Value {
    fn to(&self, new: &Self) -> Option<(String, String)> {
        match (self, new) {
            (Self::Plain(old), Self::Plain(new)) => Some((old.clone(), new.clone())),
            _ => None,
        }
    }
}

fn shown(old: &dyn std::fmt::Display, new: &dyn std::fmt::Display) -> (String, String) {
    (old.to_string(), new.to_string())
}

fn account(id: Option<u32>) -> String {
    id.map_or_else(|| "the daemon's".to_owned(), |id| id.to_string())
}

/// What a listener's callers may do, which can change at any time.
fn adjustable(listener: &Listener) -> [(&'static str, Value); 2] {
    [
        ("require_request_header", Value::Plain(listener.require_request_header.to_string())),
        // As the rules read in Rust: only compared.
        ("allow", Value::Hidden(vec![format!("{:?}", listener.allow).into_bytes()])),
    ]
}

/// Every setting but the listeners'. Taken apart by name, so that a new one cannot be forgotten.
fn settings(config: &Config) -> Vec<Setting> {
    let Config {
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
    } = config;
    // With another domain or audience nothing is compared: see `reread`.
    let Tenant {
        domain: _,
        is_absolute: _,
        audience: _,
        extra_roots,
        proxy,
        connect_timeout,
        request_timeout,
    } = tenant;
    let Client { id, secret, secret_file, auth } = &**client;
    let Management { refresh_at, min_ttl: management_min_ttl } = management;
    let Cache { max_bytes, max_ttl, max_stale, min_ttl, refresh_ahead, negative } = cache;
    let Negative { user_not_found, no_token, login_required } = negative;
    let Upstream { requests_per_second, burst, max_concurrency, max_retries } = upstream;
    let Me { audiences, issuers } = me;
    let Audit { events, output } = audit;
    let Admin { address } = admin;
    let Shutdown { min_delay, deadline } = shutdown;
    let Log { level, format, user_ids, user_key } = log;
    let Runtime { threads, lock_memory } = runtime;

    let hidden = |texts: Vec<&[u8]>| Value::Hidden(texts.into_iter().map(<[u8]>::to_vec).collect());
    let text = |text: &str| hidden(vec![text.as_bytes()]);
    let word = |word: &dyn std::fmt::Debug| Value::Plain(format!("{word:?}").to_lowercase());
    let span = |span: &Duration| Value::Plain(span.shown());
    let change = |key, value| Setting { key, value, is_fixed: false };
    let fixed = |key, value| Setting { key, value, is_fixed: true };
    let output = match output {
        AuditOutput::Stdout => Value::Plain("stdout".to_owned()),
        AuditOutput::Journald(_) => Value::Plain("journald".to_owned()),
        AuditOutput::File(path) => Value::Plain(path.display().to_string()),
    };
    vec![
        change("tenant.ca_file", hidden(extra_roots.iter().map(|root| root.as_ref()).collect())),
        change("tenant.proxy", Value::Secret(proxy.url.clone(), proxy.no_proxy.clone())),
        change("tenant.connect_timeout", span(connect_timeout)),
        change("tenant.request_timeout", span(request_timeout)),
        change("tenant.client.id", text(id)),
        change("tenant.client.secret", Value::Secret(Some(Secret::clone(secret)), String::new())),
        change(
            "tenant.client.secret_file",
            hidden(secret_file.iter().map(|path| path.as_os_str().as_encoded_bytes()).collect()),
        ),
        change("tenant.client.auth", Value::Plain(auth.as_str().to_owned())),
        change("management.refresh_at", word(refresh_at)),
        change("management.min_ttl", span(management_min_ttl)),
        change("cache.max_bytes", Value::Plain(ByteSize::b(*max_bytes).shown())),
        change("cache.max_ttl", span(max_ttl)),
        change("cache.max_stale", span(max_stale)),
        change("cache.min_ttl", span(min_ttl)),
        change("cache.refresh_ahead", word(refresh_ahead)),
        change("cache.negative.user_not_found", span(user_not_found)),
        change("cache.negative.no_token", span(no_token)),
        change("cache.negative.login_required", span(login_required)),
        change("upstream.requests_per_second", word(requests_per_second)),
        change("upstream.burst", word(burst)),
        change("upstream.max_concurrency", word(max_concurrency)),
        change("upstream.max_retries", word(max_retries)),
        change("me.audiences", hidden(audiences.iter().map(String::as_bytes).collect())),
        change("me.issuers", hidden(issuers.iter().map(String::as_bytes).collect())),
        Setting { key: "audit.events", value: word(events), is_fixed: *events == AuditEvents::None },
        fixed("audit.output", output),
        fixed(
            "admin.address",
            Value::Plain(address.map_or_else(|| "none".to_owned(), |address| address.to_string())),
        ),
        change("shutdown.min_delay", span(min_delay)),
        change("shutdown.deadline", span(deadline)),
        change("log.level", Value::Plain(level.to_string().to_lowercase())),
        fixed("log.format", word(format)),
        fixed("log.user_ids", word(user_ids)),
        fixed(
            "log.user_key_file",
            text(&user_key.as_ref().map(|key| key.tag("user", "").to_string()).unwrap_or_default()),
        ),
        fixed("runtime.threads", word(threads)),
        fixed("runtime.lock_memory", word(lock_memory)),
    ]
}

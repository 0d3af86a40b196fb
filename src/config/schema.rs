//! The schema of the configuration: every table and every key, and lookups by path.
//!
//! A key is a row in the file of its table in `schema/`, with its default. The rows say which keys exist, their types,
//! bounds and defaults, and what a reload may change. `tests/tidy/references.rs` renders the reference in
//! `docs/reference`, the sample file and the JSON schema from them.

mod admin;
mod allow;
mod audit;
mod cache;
mod client;
mod connection;
mod key;
mod listener;
mod log;
mod management;
mod management_api;
mod me;
mod providers;
mod proxied_api;
mod runtime;
mod shutdown;
mod state;
mod tenant;
mod upstream;
mod vault;

pub(super) use self::connection::CONNECTION_PATH;
pub use self::key::{DefaultValue, Key, List, Reload, Table, Type};
pub(super) use self::listener::LISTENER_PATH;
pub(super) use self::proxied_api::PROXIED_API_PATH;

/// The prefix of all variables that set keys.
pub(super) const VARIABLE_PREFIX: &str = "CLOAKROOM_";

/// Every table, in the order in which references show them.
pub static TABLES: [Table; 21] = [
    tenant::TENANT,
    client::CLIENT,
    management::MANAGEMENT,
    cache::CACHE,
    cache::NEGATIVE,
    upstream::UPSTREAM,
    providers::PROVIDERS,
    connection::CONNECTION,
    connection::REFRESH,
    vault::VAULT,
    proxied_api::PROXIED_API,
    management_api::MANAGEMENT_API,
    listener::LISTENER,
    allow::ALLOW,
    me::ME,
    state::STATE,
    audit::AUDIT,
    admin::ADMIN,
    shutdown::SHUTDOWN,
    log::LOG,
    runtime::RUNTIME,
];

/// Every key, in the order of [`TABLES`].
pub fn keys() -> impl Iterator<Item = &'static Key> {
    TABLES.iter().flat_map(|table| table.keys)
}

/// The variable that sets the key at `path`.
pub fn variable(path: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

/// A known path.
#[derive(Clone, Copy)]
pub(super) enum Known {
    Table,
    ListOfTables(&'static Table, List),
    Key(&'static Key),
}

/// Looks up `path`, with or without indices.
pub(super) fn lookup(path: &str) -> Option<Known> {
    let shape = shape(path);
    if let Some(table) = table(&shape) {
        let list = table.list.filter(|_| !is_index(last(path)));
        return Some(list.map_or(Known::Table, |list| Known::ListOfTables(table, list)));
    }
    keys().find(|key| key.path == shape).map(Known::Key)
}

/// The table of this path, without indices.
pub(super) fn table(path: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.path == path)
}

/// The list of tables of this path, without indices.
fn list(path: &str) -> Option<List> {
    table(path)?.list
}

/// Appends `key` to a path. It is quoted unless it is a plain word, so that a key cannot forge a line of output.
pub(super) fn join(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

/// Removes indices from a path, as rows have it: `listener.2.path` becomes `listener.path`.
pub(super) fn shape(path: &str) -> String {
    let mut shape = String::new();
    let mut after_list = false;
    for part in path.split('.') {
        // A number after a list is an index; a second number is an unknown key.
        if after_list && is_index(part) {
            after_list = false;
            continue;
        }
        let dot = if shape.is_empty() { "" } else { "." };
        shape.push_str(&format!("{dot}{part}"));
        after_list = list(&shape).is_some();
    }
    shape
}

/// Adds to `key`, a path without indices, those of `path`, or 0 if it has none.
pub(super) fn indexed(key: &str, path: &str) -> String {
    let mut given = path.split('.').filter(|part| is_index(part));
    let (mut so_far, mut indexed) = (String::new(), String::new());
    let parts: Vec<_> = key.split('.').collect();
    for (at, part) in parts.iter().enumerate() {
        let dot = if so_far.is_empty() { "" } else { "." };
        so_far.push_str(&format!("{dot}{part}"));
        indexed.push_str(&format!("{dot}{part}"));
        if at.saturating_add(1) < parts.len() && list(&so_far).is_some() {
            indexed.push_str(&format!(".{}", given.next().unwrap_or("0")));
        }
    }
    indexed
}

/// The list whose index in `path` is missing, out of bounds, or not in its shortest form, which would let two
/// variables set one key. `None` if every index is right.
pub(super) fn misnumbered(path: &str) -> Option<List> {
    let mut so_far = String::new();
    let mut parts = path.split('.');
    while let Some(part) = parts.next() {
        so_far = if so_far.is_empty() { part.to_owned() } else { format!("{so_far}.{part}") };
        let Some(list) = list(&so_far) else { continue };
        let index = parts.next()?;
        let right = index.parse::<usize>().is_ok_and(|at| at < list.most && at.to_string() == index);
        if !right {
            return Some(list);
        }
    }
    None
}

fn is_index(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// The last part of a path.
pub(super) fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_with_and_without_an_index() {
        let found = |path: &str| match lookup(path) {
            None => "nothing".to_owned(),
            Some(Known::Table) => "table".to_owned(),
            Some(Known::ListOfTables(table, _)) => table.heading(),
            Some(Known::Key(key)) => key.path.to_owned(),
        };
        for (path, what) in [
            ("tenant.client", "table"),
            ("tenant.client.id", "tenant.client.id"),
            ("listener", "[[listener]]"),
            ("listener.3", "table"),
            ("listener.3.max_connections", "listener.max_connections"),
            ("listener.3.allow", "[[listener.allow]]"),
            ("listener.3.allow.0", "table"),
            ("listener.3.allow.12.uid", "listener.allow.uid"),
            ("listener.3.allow.12.users", "listener.allow.users"),
            ("id", "nothing"),
            ("tenant.id", "nothing"),
            ("listener.x", "nothing"),
            ("listener.3.3", "nothing"),
            ("listener.3.allow.0.0", "nothing"),
            ("", "nothing"),
        ] {
            assert_eq!(found(path), what, "{path}");
        }
        for (path, right) in [
            ("listener.0.path", true),
            ("listener.0.allow.255.uid", true),
            ("listener.0.allow.256.uid", false),
            ("listener.0.allow.uid", false),
            ("listener.00.path", false),
            ("listener.path", false),
            ("tenant.domain", true),
        ] {
            assert_eq!(misnumbered(path).is_none(), right, "{path}");
        }
    }

    #[test]
    fn every_key_belongs_to_its_table_and_is_there_once() {
        let mut paths: Vec<_> = keys().map(|key| key.path).collect();
        for table in &TABLES {
            for key in table.keys {
                assert_eq!(key.path, format!("{}.{}", table.path, key.name()));
                assert!(key.doc.ends_with('.') && !key.doc.contains("  "), "{}", key.path);
            }
        }
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), keys().count());
    }

    #[test]
    fn odd_keys_are_quoted() {
        assert_eq!(join("tenant", "a-b_1"), "tenant.a-b_1");
        assert_eq!(join("", "a\nb.c"), r#""a\nb.c""#);
    }
}

//! Every key there is: the one list that files and variables are held against.

use strsim::damerau_levenshtein;

/// `[[listener]]`.
pub(super) const LISTENER: &str = "listener";

/// `[[listener.allow]]`, without the listener's index.
const ALLOW: &str = "listener.allow";

/// A list of tables: its path without indices, how many elements it may have, and what they are called.
pub(super) struct List {
    path: &'static str,
    pub(super) most: usize,
    pub(super) elements: &'static str,
}

/// The lists of tables there are. More than anybody needs; the bounds keep `CLOAKROOM_LISTENER__4000000000__PATH` from
/// making a list of that length.
const LISTS: [List; 2] = [
    List { path: LISTENER, most: 64, elements: "listeners" },
    List { path: ALLOW, most: 256, elements: "rules" },
];

impl List {
    /// A key of an element, to show how they are numbered.
    pub(super) fn example(&self) -> &'static str {
        if self.path == LISTENER { "listener.0.path" } else { "listener.0.allow.0.uid" }
    }

    /// As a file opens an element.
    pub(super) fn written(&self) -> String {
        format!("[[{}]]", self.path)
    }
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Duration,
    Size,
    Integer,
    Number,
    Boolean,
    /// A user or a group, by name or by number.
    Account,
    /// A list of texts; in the environment separated by commas.
    Texts,
}

impl Kind {
    /// As it stands behind "must be".
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::Text => "text in quotes",
            Self::Duration => r#"a duration in quotes, such as "90s", "10m" or "1h30m""#,
            Self::Size => r#"a size in quotes, such as "64MiB""#,
            Self::Integer => "a whole number",
            Self::Number => "a number such as 0.8",
            Self::Boolean => "true or false",
            Self::Account => "a name in quotes or a number",
            Self::Texts => r#"a list of texts in quotes, such as ["a", "b"]"#,
        }
    }
}

/// What stands at a path.
#[derive(Clone, Copy)]
pub(super) enum Known {
    Table,
    ListOfTables(&'static List),
    Key(Kind),
}

struct Table {
    path: &'static str,
    keys: &'static [(&'static str, Kind)],
}

const TABLES: &[Table] = &[
    Table {
        path: "tenant",
        keys: &[
            ("domain", Kind::Text),
            ("audience", Kind::Text),
            ("ca_file", Kind::Text),
            ("proxy", Kind::Text),
            ("connect_timeout", Kind::Duration),
            ("request_timeout", Kind::Duration),
        ],
    },
    Table {
        path: "tenant.client",
        keys: &[
            ("id", Kind::Text),
            ("secret_file", Kind::Text),
            ("secret", Kind::Text),
            ("auth", Kind::Text),
        ],
    },
    Table { path: "management", keys: &[("refresh_at", Kind::Number), ("min_ttl", Kind::Duration)] },
    Table {
        path: "cache",
        keys: &[
            ("max_bytes", Kind::Size),
            ("max_ttl", Kind::Duration),
            ("max_stale", Kind::Duration),
            ("min_ttl", Kind::Duration),
            ("refresh_ahead", Kind::Number),
        ],
    },
    Table {
        path: "cache.negative",
        keys: &[
            ("user_not_found", Kind::Duration),
            ("no_token", Kind::Duration),
            ("login_required", Kind::Duration),
        ],
    },
    Table {
        path: "upstream",
        keys: &[
            ("requests_per_second", Kind::Number),
            ("burst", Kind::Integer),
            ("max_concurrency", Kind::Integer),
            ("max_retries", Kind::Integer),
        ],
    },
    Table {
        path: LISTENER,
        keys: &[
            ("path", Kind::Text),
            ("mode", Kind::Text),
            ("owner", Kind::Account),
            ("group", Kind::Account),
            ("max_connections", Kind::Integer),
            ("require_request_header", Kind::Boolean),
        ],
    },
    Table {
        path: ALLOW,
        keys: &[
            ("uid", Kind::Account),
            ("gid", Kind::Account),
            ("operations", Kind::Texts),
            ("connections", Kind::Texts),
            ("users", Kind::Texts),
            ("rate", Kind::Number),
        ],
    },
    Table { path: "me", keys: &[("audiences", Kind::Texts), ("issuers", Kind::Texts)] },
    Table { path: "audit", keys: &[("events", Kind::Text), ("output", Kind::Text)] },
    Table { path: "admin", keys: &[("address", Kind::Text), ("allow_remote", Kind::Boolean)] },
    Table { path: "shutdown", keys: &[("min_delay", Kind::Duration), ("deadline", Kind::Duration)] },
    Table {
        path: "log",
        keys: &[
            ("level", Kind::Text),
            ("format", Kind::Text),
            ("user_ids", Kind::Text),
            ("user_key_file", Kind::Text),
        ],
    },
    Table { path: "runtime", keys: &[("threads", Kind::Integer), ("lock_memory", Kind::Boolean)] },
];

/// What stands at `path`, if anything does.
pub(super) fn lookup(path: &str) -> Option<Known> {
    let shape = shape(path);
    if TABLES.iter().any(|table| table.path == shape) {
        let list = LISTS.iter().find(|list| list.path == shape && !is_index(last(path)));
        return Some(list.map_or(Known::Table, Known::ListOfTables));
    }
    let (parent, last) = shape.rsplit_once('.')?;
    let table = TABLES.iter().find(|table| table.path == parent)?;
    table.keys.iter().find(|(name, _)| *name == last).map(|(_, kind)| Known::Key(*kind))
}

/// Why there is nothing at `path`, and what was likely meant; `spell` writes a key as its source would.
pub(super) fn unknown(path: &str, spell: impl Fn(&str) -> String) -> String {
    let shape = shape(path);
    match nearest(&shape) {
        Some(key) => format!("unknown key; did you mean {}?", spell(&indexed(&key, path))),
        None => "unknown key".to_owned(),
    }
}

/// `path` with each part that is no plain word in quotes, so that nothing in a key can pass for a line of ours.
pub(super) fn join(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

/// `listener.2.path` as [`TABLES`] has it: `listener.path`.
fn shape(path: &str) -> String {
    let mut shape = String::new();
    let mut after_list = false;
    for part in path.split('.') {
        // An element is its list's index; a second number in a row is a stranger's key.
        if after_list && is_index(part) {
            after_list = false;
            continue;
        }
        let dot = if shape.is_empty() { "" } else { "." };
        shape.push_str(&format!("{dot}{part}"));
        after_list = LISTS.iter().any(|list| list.path == shape);
    }
    shape
}

fn is_index(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// The list of which `path` names no element, or none that there may be, in the shortest form: so that no two
/// variables set one key. `None` if all is right.
pub(super) fn misnumbered(path: &str) -> Option<&'static List> {
    let mut so_far = String::new();
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        so_far = if so_far.is_empty() { part.to_owned() } else { format!("{so_far}.{part}") };
        let Some(list) = LISTS.iter().find(|list| list.path == so_far) else { continue };
        let index = parts.next()?;
        let right = index.parse::<usize>().is_ok_and(|at| at < list.most && at.to_string() == index);
        if !right {
            return Some(list);
        }
    }
    None
}

/// `key`, found in the lists, with the indices that the path it stands in for has, if any.
fn indexed(key: &str, path: &str) -> String {
    let mut given = path.split('.').filter(|part| is_index(part));
    let (mut so_far, mut indexed) = (String::new(), String::new());
    let parts: Vec<_> = key.split('.').collect();
    for (at, part) in parts.iter().enumerate() {
        let dot = if so_far.is_empty() { "" } else { "." };
        so_far.push_str(&format!("{dot}{part}"));
        indexed.push_str(&format!("{dot}{part}"));
        if at.saturating_add(1) < parts.len() && LISTS.iter().any(|list| list.path == so_far) {
            indexed.push_str(&format!(".{}", given.next().unwrap_or("0")));
        }
    }
    indexed
}

/// The key or table that is few slips away: one in a short name, two in a longer one.
fn nearest(shape: &str) -> Option<String> {
    /// Longer ones are no slip of the hand, and comparing them costs time.
    const LONGEST: usize = 64;

    if shape.len() > LONGEST {
        return None;
    }
    let all = TABLES.iter().flat_map(|table| {
        let keys = table.keys.iter().map(|(key, _)| format!("{}.{key}", table.path));
        std::iter::once(table.path.to_owned()).chain(keys)
    });
    let slips = |known: &str| damerau_levenshtein(known, shape);
    let near = all.filter(|known| slips(known) <= last(known).len().div_ceil(4).min(2));
    near.min_by_key(|known| slips(known)).or_else(|| misplaced(shape))
}

/// A key that has the right name and stands in the wrong table, if there is only one such key.
fn misplaced(shape: &str) -> Option<String> {
    let tables = || TABLES.iter().filter(|table| table.path != shape && last(table.path) == shape);
    let keys = TABLES.iter().filter(|table| table.keys.iter().any(|(key, _)| *key == last(shape)));
    let mut found = tables()
        .map(|table| table.path.to_owned())
        .chain(keys.map(|table| format!("{}.{}", table.path, last(shape))));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

fn last(path: &str) -> &str {
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
            Some(Known::ListOfTables(list)) => list.written(),
            Some(Known::Key(kind)) => format!("{kind:?}"),
        };
        for (path, what) in [
            ("tenant.client", "table"),
            ("tenant.client.id", "Text"),
            ("listener", "[[listener]]"),
            ("listener.3", "table"),
            ("listener.3.max_connections", "Integer"),
            ("listener.3.allow", "[[listener.allow]]"),
            ("listener.3.allow.0", "table"),
            ("listener.3.allow.12.uid", "Account"),
            ("listener.3.allow.12.users", "Texts"),
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
    fn slips_are_mended_and_anything_else_is_left_alone() {
        let meant = |path: &str| unknown(path, str::to_owned);
        assert_eq!(meant("tenant.client.ids"), "unknown key; did you mean tenant.client.id?");
        assert_eq!(meant("tenant.client_id"), "unknown key; did you mean tenant.client.id?");
        assert_eq!(meant("tennant"), "unknown key; did you mean tenant?");
        assert_eq!(meant("client"), "unknown key; did you mean tenant.client?");
        assert_eq!(meant("cache.login_required"), "unknown key; did you mean cache.negative.login_required?");
        assert_eq!(meant("listener.2.pth"), "unknown key; did you mean listener.2.path?");
        assert_eq!(meant("listener.mode"), "unknown key; did you mean listener.0.mode?");
        assert_eq!(meant("tenant.colour"), "unknown key");
        assert_eq!(meant(&"x".repeat(1 << 20)), "unknown key");
        assert_eq!(meant("listener.1.allow.4.user"), "unknown key; did you mean listener.1.allow.4.users?");
        assert_eq!(meant("listener.1.alow"), "unknown key; did you mean listener.1.allow?");
        assert_eq!(meant("admin.adress"), "unknown key; did you mean admin.address?");
        assert_eq!(meant("me.audience"), "unknown key; did you mean me.audiences?");
        assert_eq!(meant("metal"), "unknown key");
    }

    #[test]
    fn the_example_has_every_key() {
        let example = include_str!("../../tests/config/good/every-key.toml");
        for table in TABLES {
            let begins = format!("[{}]", table.path);
            let (_, rest) = example.split_once(&begins).expect(table.path);
            let lines: Vec<_> = rest.lines().skip(1).take_while(|line| !line.starts_with('[')).collect();
            for (key, _) in table.keys {
                let is_key = |line: &&str| line.trim_start_matches("# ").split(' ').next() == Some(*key);
                assert_eq!(lines.iter().filter(|line| is_key(line)).count(), 1, "{}.{key}", table.path);
            }
        }
    }

    #[test]
    fn odd_keys_are_quoted() {
        assert_eq!(join("tenant", "a-b_1"), "tenant.a-b_1");
        assert_eq!(join("", "a\nb.c"), r#""a\nb.c""#);
    }
}

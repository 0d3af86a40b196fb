//! "Did you mean": the key that was likely meant by one that does not exist.

use strsim::damerau_levenshtein;

use super::schema::{self, TABLES, last};

/// The text of the problem that `path` is unknown, with the key that was likely meant. `spell` writes a key as its
/// source does.
pub(super) fn unknown(path: &str, spell: impl Fn(&str) -> String) -> String {
    let shape = schema::shape(path);
    match nearest(&shape) {
        Some(key) => format!("unknown key; did you mean {}?", spell(&schema::indexed(key, path))),
        None => "unknown key".to_owned(),
    }
}

/// The key or table within an edit distance of one, or of two if its name is long.
fn nearest(shape: &str) -> Option<&'static str> {
    /// Longer paths are not misspelt, and comparing them takes time.
    const LONGEST: usize = 64;

    if shape.len() > LONGEST {
        return None;
    }
    let all = TABLES.iter().flat_map(|table| {
        let keys = table.keys.iter().map(|key| key.path);
        std::iter::once(table.path).chain(keys)
    });
    let distance = |known: &str| damerau_levenshtein(known, shape);
    let near = all.filter(|known| distance(known) <= last(known).len().div_ceil(4).min(2));
    near.min_by_key(|known| distance(known)).or_else(|| misplaced(shape))
}

/// The key of this name in another table, if there is only one.
fn misplaced(shape: &str) -> Option<&'static str> {
    let tables = TABLES.iter().map(|table| table.path).filter(|path| *path != shape && last(path) == shape);
    let keys = schema::keys().map(|key| key.path).filter(|path| last(path) == last(shape));
    let mut found = tables.chain(keys);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_keys_get_a_suggestion_and_others_do_not() {
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
}

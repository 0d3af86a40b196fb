//! The values of one source by their paths, and merging two sources.

use std::collections::BTreeMap;
use std::fmt;

/// A value as a source has it, before the key's row says what it means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    Texts(Vec<String>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The entry of a source at a path.
enum Held {
    Value {
        value: Value,
        origin: String,
    },
    /// A table that may be without keys, such as `[[listener]]` alone.
    Table,
    /// An unusable value, about which there is a problem.
    Unusable,
}

/// The result of looking up a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found<'a> {
    /// A value, and where it is set.
    Value(&'a Value, &'a str),
    /// A table, or an element of a list.
    Table,
    /// An unusable value at this path or above it, about which there is a problem.
    Unusable,
    Nothing,
}

/// The values of one source, or of several that were merged, by their paths: `listener.0.path`. Only known keys are
/// in it, and elements of lists within their bounds.
#[derive(Default)]
pub(super) struct Layer(BTreeMap<String, Held>);

impl Layer {
    /// Sets the key at `path`. `origin` says where.
    pub(super) fn set(&mut self, path: &str, origin: &str, value: Value) {
        self.0.insert(path.to_owned(), Held::Value { value, origin: origin.to_owned() });
    }

    /// Marks `path` as unusable, after a problem about it was added. The path is then neither set nor missing.
    pub(super) fn set_unusable(&mut self, path: &str) {
        self.0.insert(path.to_owned(), Held::Unusable);
    }

    /// Makes the table at `path` exist even if it has no key.
    pub(super) fn set_empty_table(&mut self, path: &str) {
        self.0.insert(path.to_owned(), Held::Table);
    }

    /// Overrides `lower` by this layer, key by key. A list of texts is one value; a list of tables is not.
    pub(super) fn over(self, mut lower: Self) -> Self {
        lower.0.extend(self.0);
        lower
    }

    /// Looks up `path`.
    pub(super) fn find(&self, path: &str) -> Found<'_> {
        match self.0.get(path) {
            Some(Held::Value { value, origin }) => return Found::Value(value, origin),
            Some(Held::Unusable) => return Found::Unusable,
            Some(Held::Table) => return Found::Table,
            None => {}
        }
        let above = path.match_indices('.').filter_map(|(dot, _)| path.get(..dot));
        if above.into_iter().any(|above| matches!(self.0.get(above), Some(Held::Unusable))) {
            Found::Unusable
        } else if self.below(path).next().is_some() {
            Found::Table
        } else {
            Found::Nothing
        }
    }

    /// How many elements the list of tables at `path` has, gaps included.
    pub(super) fn length(&self, path: &str) -> usize {
        let indices = self.below(path).filter_map(|rest| rest.split('.').next()?.parse::<usize>().ok());
        indices.max().map_or(0, |last| last.saturating_add(1))
    }

    /// The rest of each path that begins with `path` and a dot.
    fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a str> {
        let prefix = format!("{path}.");
        let from = self.0.range(prefix.clone()..).map(|(path, _)| path.as_str());
        from.map_while(move |path| path.strip_prefix(&prefix))
    }
}

/// Prints paths only, because values may be secrets.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_layer_wins_key_by_key() {
        let (mut lower, mut upper) = (Layer::default(), Layer::default());
        lower.set_empty_table("listener.0");
        lower.set("listener.0.path", "file", "/a".into());
        lower.set("listener.0.mode", "file", "0600".into());
        upper.set("listener.0.path", "variable", "/b".into());
        upper.set("tenant.client.secret", "variable", "canary".into());
        assert!(!format!("{upper:?}").contains("canary"));
        let merged = upper.over(lower);
        assert_eq!(merged.find("listener.0.path"), Found::Value(&"/b".into(), "variable"));
        assert_eq!(merged.find("listener.0.mode"), Found::Value(&"0600".into(), "file"));
        assert_eq!(merged.find("listener.0"), Found::Table);
        assert_eq!(merged.find("tenant.client"), Found::Table);
        assert_eq!(merged.find("tenant.client.id"), Found::Nothing);
    }

    #[test]
    fn lists_have_gaps_and_any_number_of_elements() {
        let mut layer = Layer::default();
        layer.set("listener.10.path", "variable", "/a".into());
        layer.set("listener.9.allow.0.uid", "variable", Value::Integer(0));
        assert_eq!(
            (layer.length("listener"), layer.length("listener.9.allow"), layer.length("liste")),
            (11, 1, 0)
        );
        assert_eq!((layer.find("listener.9"), layer.find("listener.1")), (Found::Table, Found::Nothing));
    }

    #[test]
    fn paths_below_an_unusable_value_are_not_missing() {
        let mut layer = Layer::default();
        layer.set_unusable("tenant");
        assert_eq!(layer.find("tenant.client.id"), Found::Unusable);
        assert_eq!(layer.find("tenants"), Found::Nothing);
    }
}

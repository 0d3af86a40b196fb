//! One source's values, ready to be laid over another's.

use std::fmt;

use ::config::{ConfigError, Map, Source, Value, ValueKind};

/// What one source says, key by key. Only known keys, so that no key of a stranger's choosing is ever taken for a
/// path by the crate that lays the sources over each other.
#[derive(Clone, Default)]
pub(super) struct Layer(Map<String, Value>);

impl Layer {
    /// Sets the known key at `path`, such as `listener.0.path`, and says where that came from.
    pub(super) fn set(&mut self, path: &str, origin: &str, value: impl Into<ValueKind>) {
        self.0.insert(expression(path), Value::new(Some(&origin.to_owned()), value));
    }

    /// Says that the source holds something at `path` that cannot be used and has been noted: neither a value, nor
    /// to be missed.
    pub(super) fn set_unusable(&mut self, path: &str, origin: &str) {
        self.set(path, origin, ValueKind::Nil);
    }

    /// Makes the table at `path` be there even if it has no key.
    pub(super) fn set_empty_table(&mut self, path: &str) {
        self.0.insert(expression(path), Value::new(None, Map::<String, Value>::new()));
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// Keys only: there are secrets among the values.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Lays the `upper` layer over the `lower` one, key by key.
pub(super) fn merge(lower: Layer, upper: Layer) -> Result<Value, ConfigError> {
    Ok(::config::Config::builder().add_source(lower).add_source(upper).build()?.cache)
}

/// `listener.0.path` as the crate writes paths: `listener[0].path`.
fn expression(path: &str) -> String {
    let mut expression = String::new();
    for part in path.split('.') {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            expression.push_str(&format!("[{part}]"));
        } else {
            let dot = if expression.is_empty() { "" } else { "." };
            expression.push_str(&format!("{dot}{part}"));
        }
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_layer_wins_key_by_key() {
        let (mut lower, mut upper) = (Layer::default(), Layer::default());
        lower.set("listener.0.path", "file", "/a");
        lower.set("listener.0.mode", "file", "0600");
        lower.set_empty_table("listener.0");
        upper.set("listener.0.path", "variable", "/b");
        upper.set("tenant.client.secret", "variable", "canary");
        assert!(!format!("{upper:?}").contains("canary"));
        let merged = merge(lower, upper).unwrap().into_table().unwrap();
        let listeners = merged["listener"].clone().into_array().unwrap();
        let listener = listeners[0].clone().into_table().unwrap();
        assert_eq!(listener["path"].kind, ValueKind::String("/b".into()));
        assert_eq!(listener["path"].origin(), Some("variable"));
        assert_eq!(listener["mode"].origin(), Some("file"));
    }
}

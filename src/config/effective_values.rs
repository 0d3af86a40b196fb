//! The values of keys in a configuration, defaults included, in the form in which a reload compares and shows them.

use std::collections::BTreeMap;
use std::fmt;

use super::source_values::Value;

/// A key's value in the form in which it is compared.
#[derive(Clone, PartialEq)]
pub(super) enum Reading {
    /// A number or a word, as it would be written in the file.
    Shown(String),
    /// Text that an operator chose. It is compared and never shown: a secret that was pasted into the wrong key is
    /// still a secret.
    Hidden(Value),
}

/// Values by paths. Keys that are not set and have no default are missing, and so are secrets.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Effective(BTreeMap<String, Reading>);

impl Effective {
    /// The reading of the key at `path`.
    pub(super) fn get(&self, path: &str) -> Option<&Reading> {
        self.0.get(path)
    }

    /// Notes what the key at `path` was read as, or that it has no value.
    pub(super) fn set(&mut self, path: &str, reading: Option<Reading>) {
        match reading {
            Some(reading) => self.0.insert(path.to_owned(), reading),
            None => self.0.remove(path),
        };
    }

    /// Removes everything below `path`.
    pub(super) fn remove_below(&mut self, path: &str) {
        self.0.retain(|key, _| key.strip_prefix(path).is_none_or(|rest| !rest.starts_with('.')));
    }
}

/// Prints no values, so that two configurations with the same meaning print the same, whichever defaults were written
/// out.
impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effective").finish_non_exhaustive()
    }
}

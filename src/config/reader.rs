//! Reads keys from the merged sources against the schema, and collects every problem.

use std::path::PathBuf;
use std::time::Duration;

use super::effective_values::{Effective, Reading};
use super::problem::{Checked, Report, Reported, Wrong, in_variable};
use super::referenced_files::Exposure;
use super::schema::{self, DefaultValue, Key, Known, Type, variable};
use super::source_values::{Found, Layer, Value};
use super::values::{self, Parsed, Typed};

/// The value of a key, and where it is set.
#[derive(Clone, Debug)]
pub(super) struct Setting<T> {
    /// The key as a dotted path.
    pub(super) key: String,
    /// Where it is set; `None` for a default.
    pub(super) origin: Option<String>,
    /// The value.
    pub(super) value: T,
}

/// The merged sources, and the problems found so far.
pub(super) struct Reader {
    values: Layer,
    /// Problems and warnings.
    pub(super) report: Report,
    /// Set if the permissions of the configuration file are too open for a secret.
    pub(super) exposure: Option<Exposure>,
    /// Further files that were read.
    pub(super) files: Vec<PathBuf>,
    /// What each key was read as.
    pub(super) effective: Effective,
}

impl Reader {
    /// A reader of `values`; `report` has the problems of their sources.
    pub(super) fn new(values: Layer, report: Report, exposure: Option<Exposure>) -> Self {
        Self { values, report, exposure, files: Vec::new(), effective: Effective::default() }
    }

    /// The value of a key that is required or has a default.
    pub(super) fn value<T: Typed>(&mut self, path: &str) -> Checked<T> {
        self.setting(path).map(|setting| setting.value)
    }

    /// The value of a key that is required or has a default, and where it is set.
    pub(super) fn setting<T: Typed>(&mut self, path: &str) -> Checked<Setting<T>> {
        let setting = self.optional(path)?;
        self.required(path, setting)
    }

    /// The value of a key that is optional.
    pub(super) fn optional<T: Typed>(&mut self, path: &str) -> Checked<Option<Setting<T>>> {
        let setting = self.read(path, |key, value| T::parse(key.takes, value))?;
        let reading = setting.as_ref().map(|setting: &Setting<T>| Reading::Shown(setting.value.shown()));
        self.effective.set(path, reading);
        Ok(setting)
    }

    /// The value of a key that takes one of the words of its row. `meaning` maps a word to the value.
    pub(super) fn choice<T>(&mut self, path: &str, meaning: impl FnOnce(&str) -> Option<T>) -> Checked<T> {
        let setting = self.parsed(path, |takes, value| values::choice(takes, value, meaning))?;
        self.required(path, setting).map(|setting| setting.value)
    }

    /// The value of an optional key of text or texts. `parse` checks it beyond its type.
    pub(super) fn parsed<T>(
        &mut self,
        path: &str,
        parse: impl FnOnce(Type, &Value) -> Parsed<T>,
    ) -> Checked<Option<Setting<T>>> {
        let mut reading = None;
        let setting = self.read(path, |key, value| {
            reading = match (key.takes, value) {
                (Type::Secret(_), _) => None,
                // Where an empty list is accepted, it means the same as none.
                (_, Value::Texts(list)) if list.is_empty() => None,
                (takes, Value::Text(text)) if takes.may_be_shown() => Some(Reading::Shown(text.clone())),
                _ => Some(Reading::Hidden(value.clone())),
            };
            Ok(parse(key.takes, value)?)
        })?;
        self.effective.set(path, reading);
        Ok(setting)
    }

    /// The text of an optional key, copied from what `parse` returns.
    pub(super) fn owned(
        &mut self,
        path: &str,
        parse: impl FnOnce(Type, &Value) -> Parsed<&str>,
    ) -> Checked<Option<Setting<String>>> {
        self.parsed(path, |takes, value| parse(takes, value).map(str::to_owned))
    }

    /// The setting; or the problem that the key at `path` is missing.
    pub(super) fn required<T>(&mut self, path: &str, setting: Option<Setting<T>>) -> Checked<Setting<T>> {
        setting.ok_or_else(|| {
            let what = match schema::lookup(path) {
                Some(Known::Key(Key { default: DefaultValue::Required(what), .. })) => what,
                _ => "a value",
            };
            self.missing(path, format!("required: {what}, here or in {}", variable(path)))
        })
    }

    /// Parses what the sources have for a key, or else its default.
    fn read<T>(
        &mut self,
        path: &str,
        parse: impl FnOnce(&Key, &Value) -> Result<T, Wrong>,
    ) -> Checked<Option<Setting<T>>> {
        let Some(Known::Key(key)) = schema::lookup(path) else {
            return Err(self.missing(path, "is read, and has no row in the schema"));
        };
        let (parsed, origin) = match (self.values.find(path), key.default) {
            (Found::Value(value, origin), _) => (parse(key, value), Some(origin)),
            (Found::Table | Found::Unusable, _) => return Err(self.report.already_reported()),
            (Found::Nothing, DefaultValue::Absent(_) | DefaultValue::Required(_)) => return Ok(None),
            (Found::Nothing, DefaultValue::Value(text)) => match values::from_text(key.takes, text) {
                Some(value) => (parse(key, &value), None),
                None => (Err(format!("must be {}", key.takes.expected()).into()), None),
            },
        };
        match parsed {
            Ok(value) => Ok(Some(Setting { key: path.to_owned(), origin: origin.map(str::to_owned), value })),
            Err(wrong) => Err(self.report.problem(path, origin, wrong)),
        }
    }

    /// Whether the table at `key` is there, even if it is empty.
    pub(super) fn has_table(&self, key: &str) -> bool {
        matches!(self.values.find(key), Found::Table)
    }

    /// Whether the key at `key` is set, rightly or wrongly.
    pub(super) fn is_set(&self, key: &str) -> bool {
        matches!(self.values.find(key), Found::Value(..) | Found::Unusable)
    }

    /// How many elements the list at `key` has.
    pub(super) fn length(&self, key: &str) -> usize {
        self.values.length(key)
    }

    /// Whether the element at `key` exists; the environment can leave gaps.
    pub(super) fn element(&mut self, key: &str) -> Checked<()> {
        match self.values.find(key) {
            Found::Table | Found::Value(..) => Ok(()),
            Found::Unusable => Err(self.report.already_reported()),
            Found::Nothing => Err(self.missing(
                key,
                "missing, although a later element is set; elements are numbered from 0 without gaps",
            )),
        }
    }

    /// Adds a problem with a setting that was parsed.
    pub(super) fn refuse<T>(&mut self, setting: &Setting<T>, wrong: impl Into<Wrong>) -> Reported {
        self.report.problem(&setting.key, setting.origin.as_deref(), wrong)
    }

    /// Whether the setting is from the configuration file, and not from the environment.
    pub(super) fn is_from_file<T>(&self, setting: &Setting<T>) -> bool {
        setting.origin.as_deref().is_some_and(|origin| *origin != in_variable(&variable(&setting.key)))
    }

    /// Refuses a secret in a file that other users can read or change; only warns if the mode cannot be set.
    pub(super) fn require_private<T>(
        &mut self,
        setting: &Setting<T>,
        file: &str,
        exposure: Option<Exposure>,
    ) -> Checked<()> {
        let Some(exposure) = exposure else { return Ok(()) };
        let text = exposure.describe(file);
        if exposure.is_only_a_warning() {
            self.warn(setting, text);
            return Ok(());
        }
        Err(self.refuse(setting, text))
    }

    /// Adds a warning about a setting that is probably not meant.
    pub(super) fn warn<T>(&mut self, setting: &Setting<T>, text: impl Into<String>) {
        self.report.warning(&setting.key, setting.origin.as_deref(), text);
    }

    /// Adds a problem unless `short` is shorter than `long`. The problem is about the one that is set.
    pub(super) fn require_shorter(
        &mut self,
        short: &Setting<Duration>,
        long: &Setting<Duration>,
    ) -> Checked<()> {
        if short.value < long.value {
            return Ok(());
        }
        let named = |other: &Setting<Duration>| {
            let default = if other.origin.is_some() { "" } else { ", the default" };
            format!("{} ({}{default})", other.key, other.value.shown())
        };
        Err(if long.origin.is_some() {
            self.refuse(long, format!("must be longer than {}", named(short)))
        } else {
            self.refuse(short, format!("must be shorter than {}", named(long)))
        })
    }

    /// Adds a problem with a key that is not set.
    pub(super) fn missing(&mut self, key: &str, text: impl Into<String>) -> Reported {
        self.report.problem(key, None, text.into())
    }
}

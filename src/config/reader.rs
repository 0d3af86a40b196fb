//! Reads key after key out of the merged sources and gathers what is wrong, so that one reading shows everything.

use std::path::PathBuf;
use std::time::Duration;

use super::effective::{Effective, Reading};
use super::files::Exposure;
use super::layer::{Found, Layer, Value};
use super::problem::{Checked, Report, Reported, Wrong, in_variable};
use super::schema::{self, DefaultValue, Key, Known, Type, variable};
use super::values::{self, Parsed, Typed};

/// One key's value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Setting<T> {
    /// The key as a dotted path.
    pub(super) key: String,
    /// Where it is set; nothing for a default.
    pub(super) origin: Option<String>,
    /// What it is set to.
    pub(super) value: T,
}

/// The merged sources, and what was wrong with them so far.
pub(super) struct Reader {
    values: Layer,
    /// Problems and warnings.
    pub(super) report: Report,
    /// How open the configuration's own file lies to others.
    pub(super) exposure: Option<Exposure>,
    /// Further files that were read.
    pub(super) files: Vec<PathBuf>,
    /// What each key was read as.
    pub(super) effective: Effective,
}

impl Reader {
    /// Reads from `values`; `report` holds what is wrong with their sources.
    pub(super) fn new(values: Layer, report: Report, exposure: Option<Exposure>) -> Self {
        Self { values, report, exposure, files: Vec::new(), effective: Effective::default() }
    }

    /// The value of a key that is required or has a default.
    pub(super) fn value<T: Typed>(&mut self, path: &str) -> Checked<T> {
        self.setting(path).map(|setting| setting.value)
    }

    /// The same with its origin.
    pub(super) fn setting<T: Typed>(&mut self, path: &str) -> Checked<Setting<T>> {
        let setting = self.optional(path)?;
        self.required(path, setting)
    }

    /// A key that need not have a value.
    pub(super) fn optional<T: Typed>(&mut self, path: &str) -> Checked<Option<Setting<T>>> {
        let setting = self.read(path, |key, value| T::parse(key.takes, value))?;
        let reading = setting.as_ref().map(|setting: &Setting<T>| Reading::Shown(setting.value.shown()));
        self.effective.set(path, reading);
        Ok(setting)
    }

    /// A key that takes one of the words of its row, as `meaning` understands them.
    pub(super) fn choice<T>(&mut self, path: &str, meaning: impl FnOnce(&str) -> Option<T>) -> Checked<T> {
        let setting = self.parsed(path, |takes, value| values::choice(takes, value, meaning))?;
        self.required(path, setting).map(|setting| setting.value)
    }

    /// A key of text or texts that need not have a value, and for which `parse` has rules of its own.
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

    /// Text to be kept, where a function gives text to be looked at.
    pub(super) fn owned(
        &mut self,
        path: &str,
        parse: impl FnOnce(Type, &Value) -> Parsed<&str>,
    ) -> Checked<Option<Setting<String>>> {
        self.parsed(path, |takes, value| parse(takes, value).map(str::to_owned))
    }

    /// `setting`, or the problem that the key at `path` is missing.
    pub(super) fn required<T>(&mut self, path: &str, setting: Option<Setting<T>>) -> Checked<Setting<T>> {
        setting.ok_or_else(|| {
            let what = match schema::lookup(path) {
                Some(Known::Key(Key { default: DefaultValue::Required(what), .. })) => what,
                _ => "a value",
            };
            self.missing(path, format!("required: {what}, here or in {}", variable(path)))
        })
    }

    /// What the sources hold for a key, else its default.
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
            (Found::Table | Found::Unusable, _) => return Err(self.report.noted_before()),
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

    /// How many elements the list at `key` has.
    pub(super) fn length(&self, key: &str) -> usize {
        self.values.length(key)
    }

    /// Whether the element at `key` exists; the environment can leave gaps.
    pub(super) fn element(&mut self, key: &str) -> Checked<()> {
        match self.values.find(key) {
            Found::Table | Found::Value(..) => Ok(()),
            Found::Unusable => Err(self.report.noted_before()),
            Found::Nothing => Err(self.missing(
                key,
                "missing, although a later element is set; elements are numbered from 0 without gaps",
            )),
        }
    }

    /// Notes what is wrong with a setting beyond what its own text says.
    pub(super) fn refuse<T>(&mut self, setting: &Setting<T>, wrong: impl Into<Wrong>) -> Reported {
        self.report.problem(&setting.key, setting.origin.as_deref(), wrong)
    }

    /// Whether the setting stands in the configuration's file, and not in the environment.
    pub(super) fn is_from_file<T>(&self, setting: &Setting<T>) -> bool {
        setting.origin.as_deref().is_some_and(|origin| *origin != in_variable(&variable(&setting.key)))
    }

    /// Refuses a secret in a file that other users can read or change. Only warns where its owner cannot help that.
    pub(super) fn require_closed<T>(
        &mut self,
        setting: &Setting<T>,
        file: &str,
        exposure: Option<Exposure>,
    ) -> Checked<()> {
        let Some(exposure) = exposure else { return Ok(()) };
        let text = exposure.of(file);
        if exposure.is_bearable() {
            self.warn(setting, text);
            return Ok(());
        }
        Err(self.refuse(setting, text))
    }

    /// Notes what is likely not meant.
    pub(super) fn warn<T>(&mut self, setting: &Setting<T>, text: impl Into<String>) {
        self.report.warning(&setting.key, setting.origin.as_deref(), text);
    }

    /// Notes that `short` is not shorter than `long`, at whichever of the two is set.
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

    /// Notes that a key must be set.
    pub(super) fn missing(&mut self, key: &str, text: impl Into<String>) -> Reported {
        self.report.problem(key, None, text.into())
    }
}

//! Reads key after key out of the merged layers and gathers what is wrong, so that one reading shows everything.

use std::path::PathBuf;
use std::time::Duration;

use super::environment::variable;
use super::files::Exposure;
use super::layer::{Found, Layer, Value};
use super::problem::{Checked, Report, Reported, Wrong, in_variable};
use super::values::{Parsed, Shown};

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

/// The merged layers, and what was wrong with them so far.
pub(super) struct Reader {
    values: Layer,
    /// Problems and warnings.
    pub(super) report: Report,
    /// How open the configuration's own file lies to others.
    pub(super) exposure: Option<Exposure>,
    /// Further files that were read.
    pub(super) files: Vec<PathBuf>,
}

impl Reader {
    /// Reads from `values`; `report` holds what is wrong with their sources.
    pub(super) fn new(values: Layer, report: Report, exposure: Option<Exposure>) -> Self {
        Self { values, report, exposure, files: Vec::new() }
    }

    /// A key that may be absent.
    pub(super) fn optional<T, E: Into<Wrong>>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Value) -> Result<T, E>,
    ) -> Checked<Option<Setting<T>>> {
        let (value, origin) = match self.values.find(key) {
            Found::Value(value, origin) => (value, origin),
            Found::Nothing => return Ok(None),
            Found::Table | Found::Unusable => return Err(self.report.noted_before()),
        };
        match parse(value) {
            Ok(value) => Ok(Some(Setting { key: key.to_owned(), origin: Some(origin.to_owned()), value })),
            Err(wrong) => Err(self.report.problem(key, Some(origin), wrong)),
        }
    }

    /// A key with a default.
    pub(super) fn setting<T>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&Value) -> Parsed<T>,
    ) -> Checked<Setting<T>> {
        let found = self.optional(key, parse)?;
        Ok(found.unwrap_or_else(|| Setting { key: key.to_owned(), origin: None, value: default }))
    }

    /// A key with a default whose origin no relation needs.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&Value) -> Parsed<T>,
    ) -> Checked<T> {
        self.setting(key, default, parse).map(|setting| setting.value)
    }

    /// Text to be kept, where a function gives text to be looked at.
    pub(super) fn owned(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Value) -> Parsed<&str>,
    ) -> Checked<Option<Setting<String>>> {
        self.optional(key, |value| parse(value).map(str::to_owned))
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
            Found::Nothing => {
                Err(self.missing(key, "missing, though a later one is set: numbers run from 0 without gaps"))
            }
        }
    }

    /// Notes what is wrong with a setting beyond what its own text says.
    pub(super) fn refuse<T>(&mut self, setting: &Setting<T>, text: impl Into<String>) -> Reported {
        self.report.problem(&setting.key, setting.origin.as_deref(), text.into())
    }

    /// Whether the setting stands in the configuration's file, and not in the environment.
    pub(super) fn is_from_file<T>(&self, setting: &Setting<T>) -> bool {
        setting.origin.as_deref().is_some_and(|origin| *origin != in_variable(&variable(&setting.key)))
    }

    /// Refuses a secret that lies in a file where others can get at it; where nobody can help that, only warns.
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

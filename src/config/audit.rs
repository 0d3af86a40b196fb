//! `[audit]`: which requests have a line in the audit log, and where it is written.

use std::path::PathBuf;

use super::problem::Checked;
use super::reader::Reader;
use super::reloadable::Reloadable;
use super::schema::Type;
use super::source_values::Value;
use super::values::{Parsed, absolute_path, text};

/// Where journald takes lines of its native protocol (systemd-journald.service(8)).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The requests that have a line.
    pub events: AuditEvents,
    /// The destination of lines.
    pub output: AuditOutput,
}

/// `audit.events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvents {
    /// No request.
    None,
    /// All requests except for cache hits and `status`.
    Notable,
    /// All requests.
    All,
}

/// `audit.output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditOutput {
    /// Standard output.
    Stdout,
    /// The socket of journald. The configuration always sets the same one; tests set others.
    Journald(PathBuf),
    /// The file with this absolute path.
    File(PathBuf),
}

impl Audit {
    /// Whether requests are audited at all.
    pub(super) fn is_on(&self) -> bool {
        self.events != AuditEvents::None
    }
}

impl Reloadable for Audit {
    fn restore_fixed(&mut self, running: &Self) {
        // While the audit log is off, it has no output to write to.
        let is_switched = self.is_on() != running.is_on();
        let events = if is_switched { running.events } else { self.events };
        *self = Self { events, ..running.clone() };
    }
}

/// Reads `[audit]`.
pub(super) fn read(reader: &mut Reader) -> Checked<Audit> {
    const OUTPUT: &str = "audit.output";

    let events = reader.choice("audit.events", |word| match word {
        "notable" => Some(AuditEvents::Notable),
        "all" => Some(AuditEvents::All),
        "none" => Some(AuditEvents::None),
        _ => None,
    });
    let output = reader.parsed(OUTPUT, parse_output);
    let output = output.and_then(|output| reader.required(OUTPUT, output));
    Ok(Audit { events: events?, output: output?.value })
}

/// The file is opened when the daemon starts: `check` may run as a user that cannot write to it.
fn parse_output(takes: Type, value: &Value) -> Parsed<AuditOutput> {
    match text(takes, value)? {
        "stdout" => Ok(AuditOutput::Stdout),
        "journald" => Ok(AuditOutput::Journald(JOURNAL.into())),
        path if !path.starts_with('/') => {
            Err(r#"must be "stdout", "journald" or an absolute path, beginning with /"#.to_owned())
        }
        path if path.ends_with('/') => {
            Err("must be the path of a file, without a slash at its end".to_owned())
        }
        _ => absolute_path(takes, value).map(|path| AuditOutput::File(path.into())),
    }
}

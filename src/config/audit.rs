//! `[audit]`: what is written down of requests, and where.

use super::layer::Value;

use super::problem::Checked;
use super::reader::Reader;
use super::values::{Parsed, absolute_path, choice, text};
use super::{Audit, AuditEvents, AuditOutput};

/// Where journald takes lines of its native protocol (systemd-journald.service(8)).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// `[audit]`.
pub(super) fn read(reader: &mut Reader) -> Checked<Audit> {
    const EVENTS: &[(&str, AuditEvents)] =
        &[("notable", AuditEvents::Notable), ("all", AuditEvents::All), ("none", AuditEvents::None)];

    let events = reader.value("audit.events", AuditEvents::Notable, choice(EVENTS));
    let output = reader.value("audit.output", AuditOutput::Stdout, parse_output);
    Ok(Audit { events: events?, output: output? })
}

/// Whether a file can be written to shows at the start: `check` may well run as somebody else.
fn parse_output(value: &Value) -> Parsed<AuditOutput> {
    match text(value)? {
        "stdout" => Ok(AuditOutput::Stdout),
        "journald" => Ok(AuditOutput::Journald(JOURNAL.into())),
        path if !path.starts_with('/') => {
            Err(r#"must be "stdout", "journald" or an absolute path, beginning with /"#.to_owned())
        }
        path if path.ends_with('/') => {
            Err("must be the path of a file, not of a directory: no slash at its end".to_owned())
        }
        _ => absolute_path(value).map(|path| AuditOutput::File(path.into())),
    }
}

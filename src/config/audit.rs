//! `[audit]`: which requests have a line in the audit log, and where it is written.

use super::layer::Value;
use super::problem::Checked;
use super::reader::Reader;
use super::schema::Type;
use super::settings::{Audit, AuditEvents, AuditOutput};
use super::values::{Parsed, absolute_path, text};

/// Where journald takes lines of its native protocol (systemd-journald.service(8)).
const JOURNAL: &str = "/run/systemd/journal/socket";

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

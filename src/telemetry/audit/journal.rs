//! Writes audit lines to journald in its native protocol: one datagram of fields for each line
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::line::AuditLine;
use super::output_error::OutputError;

/// Prefix of each field's name, so that no field is mistaken for one of journald's.
const PREFIX: &str = "CLOAKROOM_";

/// A socket that sends to journald.
pub struct Journal {
    /// Not connected: a restarted journald may have a new socket at the same path.
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Makes a socket, and checks that journald listens at `path`.
    pub fn open(path: &Path) -> Result<Self, OutputError> {
        let open = || {
            UnixDatagram::unbound()?.connect(path)?;
            UnixDatagram::unbound()
        };
        let socket = open().map_err(|error| OutputError::Journal(path.to_owned(), error))?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// Sends lines in order; see [`super::output::Output::write`].
    pub fn write<'a>(&mut self, lines: impl Iterator<Item = AuditLine<'a>>) -> (usize, io::Result<()>) {
        let mut written = 0_usize;
        for line in lines {
            match self.socket.send_to(&datagram(&line), &self.path) {
                Ok(_) => written = written.saturating_add(1),
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }
}

fn datagram(line: &AuditLine<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let operation = line.operation.unwrap_or("request");
    let status = line.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let priority = if line.status.is_some_and(|status| status < 400) { "6" } else { "5" };
    let times = if line.count > 1 { format!(", {} times", line.count) } else { String::new() };
    put(&mut bytes, "MESSAGE", &format!("{operation} {} ({status}){times}", line.outcome));
    put(&mut bytes, "PRIORITY", priority);
    put(&mut bytes, "SYSLOG_IDENTIFIER", "cloakroom");
    // Our own type always serialises, and to an object.
    if let Ok(Value::Object(fields)) = serde_json::to_value(line) {
        for (name, value) in fields {
            let name = format!("{PREFIX}{}", name.to_ascii_uppercase());
            match value {
                Value::Null => {}
                Value::String(text) => put(&mut bytes, &name, &text),
                other => put(&mut bytes, &name, &other.to_string()),
            }
        }
    }
    bytes
}

/// Appends a field in the form with a length, which is safe for values with line breaks. Without the length, the text
/// after a line break would be parsed as the next field.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b'\n');
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::{at, event, names};
    use super::*;

    fn fields(mut bytes: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (name, rest) = bytes.split_at(end);
            let (length, rest) = rest[1..].split_at(8);
            let (value, rest) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            assert!(fields.insert(text(name), text(value)).is_none());
            bytes = rest.strip_prefix(b"\n").unwrap();
        }
        assert!(bytes.is_empty());
        fields
    }

    #[test]
    fn each_line_is_a_datagram_of_fields() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let absent = Journal::open(&path).err().unwrap().to_string();
        assert!(
            absent.contains("no journald listens at") && absent.contains("\"stdout\" or a file"),
            "{absent}"
        );

        let journald = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::open(&path).unwrap();
        let mut refused = event("2");
        (refused.operation, refused.user, refused.connection) = (None, None, None);
        (refused.cache, refused.source) = (None, None);
        (refused.outcome, refused.status, refused.code) = ("refused", Some(404), Some("route_not_found"));
        (refused.count, refused.until) = (7, Some(at(1)));
        let events = [event("1"), refused];
        let (written, outcome) = journal.write(events.iter().map(|event| AuditLine::new(event, &names(), 7)));
        assert_eq!((written, outcome.is_ok()), (2, true));
        let next = || {
            let mut bytes = [0; 4096];
            let length = journald.recv(&mut bytes).unwrap();
            fields(&bytes[..length])
        };
        let expected = [
            ("CLOAKROOM_CACHE", "miss"),
            ("CLOAKROOM_CONNECTION", "github"),
            ("CLOAKROOM_COUNT", "1"),
            ("CLOAKROOM_GID", "100"),
            ("CLOAKROOM_LISTENER", "/run/api.sock"),
            ("CLOAKROOM_LOST", "7"),
            ("CLOAKROOM_MICROSECONDS", "1234"),
            ("CLOAKROOM_OPERATION", "token"),
            ("CLOAKROOM_OUTCOME", "answered"),
            ("CLOAKROOM_REQUEST_ID", "1"),
            ("CLOAKROOM_SOURCE", "identities"),
            ("CLOAKROOM_STATUS", "200"),
            ("CLOAKROOM_TARGET", "audit"),
            ("CLOAKROOM_TIMESTAMP", "1970-01-01T00:00:00.000Z"),
            ("CLOAKROOM_UID", "1000"),
            ("CLOAKROOM_USER", "auth0|jane"),
            ("MESSAGE", "token answered (200)"),
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "cloakroom"),
        ];
        assert_eq!(next(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let refused = next();
        let shown = ["MESSAGE", "PRIORITY", "CLOAKROOM_CODE"].map(|name| refused[name].as_str());
        assert_eq!(shown, ["request refused (404), 7 times", "5", "route_not_found"]);
        assert_eq!(refused["CLOAKROOM_UNTIL"], "1970-01-01T00:00:01.000Z");
        assert!(!refused.contains_key("CLOAKROOM_OPERATION"), "a missing value has no field");
    }

    #[test]
    fn a_restarted_journald_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(UnixDatagram::bind(&path).unwrap());
        assert!(Journal::open(&path).is_err(), "the socket's file exists, and no process listens");
        std::fs::remove_file(&path).unwrap();
        let first = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::open(&path).unwrap();
        let event = event("1");
        let mut write = || journal.write([AuditLine::new(&event, &names(), 0)].into_iter());
        assert_eq!(write().0, 1);
        drop(first);
        let (written, outcome) = write();
        assert!(written == 0 && outcome.is_err());
        std::fs::remove_file(&path).unwrap();
        let _second = UnixDatagram::bind(&path).unwrap();
        assert_eq!(write().0, 1);
    }

    #[test]
    fn no_value_passes_for_another_field() {
        let mut bytes = Vec::new();
        put(&mut bytes, "ONE", "value\nPRIORITY=0\nUID\n\u{1}");
        put(&mut bytes, "TWO", "");
        let expected = [("ONE", "value\nPRIORITY=0\nUID\n\u{1}"), ("TWO", "")];
        assert_eq!(fields(&bytes), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}

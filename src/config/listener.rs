//! `[[listener]]`: where callers find the daemon.

use std::path::PathBuf;

use super::layer::Value;

use super::accounts::{gid, uid};
use super::problem::Checked;
use super::reader::{Reader, Setting};
use super::schema::{self, LISTENER};
use super::values::{Parsed, absolute_path, boolean, integer, within};
use super::{Listener, allow, socket_dir};

/// Where client commands look when they are told nothing.
const DEFAULT_PATH: &str = "/run/cloakroom/cloakroom.sock";

/// `sockaddr_un.sun_path` has 108 bytes, the last of which is a zero (unix(7)).
const LONGEST_PATH: usize = 107;

/// Owner and group may connect, nobody else.
const DEFAULT_MODE: u32 = 0o660;

/// Every listener; the default one if there is none.
pub(super) fn read(reader: &mut Reader) -> Checked<Vec<Listener>> {
    let listeners: Vec<_> = match reader.length(LISTENER) {
        0 => vec![one(reader, &schema::join(LISTENER, "0"))],
        length => {
            (0..length).map(|index| element(reader, &schema::join(LISTENER, &index.to_string()))).collect()
        }
    };
    let mut paths: Vec<Setting<PathBuf>> = Vec::new();
    let mut checked = Vec::new();
    for listener in listeners {
        checked.push(listener.and_then(|(path, listener)| {
            // Paths are compared part by part, so that a doubled slash makes no difference.
            let double = paths.iter().find(|other| other.value == path.value);
            if let Some(double) = double {
                return Err(reader.refuse(&path, format!("is the same socket as {}", double.key)));
            }
            paths.push(path);
            Ok(listener)
        }));
    }
    checked.into_iter().collect()
}

fn element(reader: &mut Reader, table: &str) -> Checked<(Setting<PathBuf>, Listener)> {
    reader.element(table)?;
    one(reader, table)
}

fn one(reader: &mut Reader, table: &str) -> Checked<(Setting<PathBuf>, Listener)> {
    let key = |name: &str| format!("{table}.{name}");
    let path = reader.setting(&key("path"), DEFAULT_PATH.into(), parse_path);
    let mode = reader.setting(&key("mode"), DEFAULT_MODE, parse_mode);
    let owner = reader.optional(&key("owner"), uid);
    let group = reader.optional(&key("group"), gid);
    let max_connections =
        reader.value(&key("max_connections"), 1024, |value| count(within(1..=65_536, integer)(value)?));
    // Off only for callers that cannot set a header; it is what keeps a browser or a proxy from being a caller.
    let require_request_header = reader.value(&key("require_request_header"), true, boolean);
    let allow = allow::read(reader, &key("allow"));
    if let (Ok(mode), Ok(allow)) = (&mode, &allow) {
        warn_of_others(reader, mode, !allow.is_empty());
    }

    let (path, owner) = (path?, owner?.map(|owner| owner.value));
    warn_of_squatters(reader, &path, owner);
    let listener = Listener {
        path: path.value.clone(),
        mode: mode?.value,
        owner,
        group: group?.map(|group| group.value),
        max_connections: max_connections?,
        require_request_header: require_request_header?,
        allow: allow?,
    };
    Ok((path, listener))
}

fn parse_path(value: &Value) -> Parsed<PathBuf> {
    let path = absolute_path(value)?;
    if path.len() > LONGEST_PATH {
        return Err(format!(
            "is {} bytes long; the kernel takes {LONGEST_PATH} for a socket's path",
            path.len()
        ));
    }
    if path.ends_with('/') {
        return Err("must be the path of a socket, not of a directory: no slash at its end".to_owned());
    }
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("must not hold . or .. as a part".to_owned());
    }
    Ok(path.into())
}

fn parse_mode(value: &Value) -> Parsed<u32> {
    let example = r#"must be three or four octal digits in quotes, such as "0660""#;
    let Value::Text(text) = value else { return Err(example.to_owned()) };
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| octal).ok_or(example)?;
    if mode > 0o777 {
        return Err("must begin with 0: setuid, setgid and sticky mean nothing on a socket".to_owned());
    }
    if mode & 0o222 == 0 {
        return Err("lets nobody in: connecting to a socket takes permission to write to it".to_owned());
    }
    Ok(mode)
}

/// Not refused: who is answered is decided by the kernel's word about the caller, not by the mode, and a socket
/// shared between containers of different users may have no other way.
fn warn_of_others(reader: &mut Reader, mode: &Setting<u32>, ruled: bool) {
    let answered = if ruled { "those whom a rule names" } else { "root and the daemon's own user" };
    if mode.value & 0o002 != 0 {
        reader.warn(mode, format!("every user of this machine may connect; only {answered} are answered"));
    }
}

/// The socket's owner owns the directory as well that is made for it.
fn warn_of_squatters(reader: &mut Reader, path: &Setting<PathBuf>, owner: Option<u32>) {
    let own = nix::unistd::geteuid().as_raw();
    if let Some(risk) = socket_dir::risk(&path.value, &[own, owner.unwrap_or(own)]) {
        reader.warn(path, risk);
    }
}

fn count(number: i64) -> Parsed<usize> {
    usize::try_from(number).map_err(|_| "is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_into_an_address() {
        let good = |path: &str| parse_path(&path.into()).is_ok();
        assert!(good(DEFAULT_PATH));
        assert!(good(&format!("/{}", "x".repeat(106))));
        for bad in [
            &format!("/{}", "x".repeat(107)),
            "run/x",
            "@x",
            "/",
            "/run/",
            "/run/../x",
            "/run/./x",
            "",
            "/a\0b",
        ] {
            assert!(!good(bad), "{bad}");
        }
    }

    #[test]
    fn modes_are_octal_and_let_somebody_in() {
        let mode = |text: &str| parse_mode(&text.into());
        assert_eq!([mode("0660"), mode("600"), mode("0666")], [Ok(0o660), Ok(0o600), Ok(0o666)]);
        for bad in ["", "66", "00660", "0o660", "0668", "+660", "1660", "0444", "rw-rw----"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        assert!(parse_mode(&Value::Integer(660)).is_err());
    }
}

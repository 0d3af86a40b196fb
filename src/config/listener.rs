//! `[[listener]]`: where callers find the daemon.

use std::path::PathBuf;

use ::config::ValueKind;
use nix::unistd::{Group, User};

use super::keys::{self, Kind, LISTENER};
use super::problem::{Checked, Wrong};
use super::reader::{Reader, Setting};
use super::values::{Parsed, absolute_path, boolean, integer, line, within, wrong_type};
use super::{Listener, allow, place};

/// Where client commands look when they are told nothing.
const DEFAULT_PATH: &str = "/run/cloakroom/cloakroom.sock";

/// `sockaddr_un.sun_path` has 108 bytes, the last of which is a zero (unix(7)).
const LONGEST_PATH: usize = 107;

/// Owner and group may connect, nobody else.
const DEFAULT_MODE: u32 = 0o660;

/// Every listener; the default one if there is none.
pub(super) fn read(reader: &mut Reader) -> Checked<Vec<Listener>> {
    let listeners: Vec<_> = match reader.length(LISTENER) {
        0 => vec![one(reader, &keys::join(LISTENER, "0"))],
        length => {
            (0..length).map(|index| element(reader, &keys::join(LISTENER, &index.to_string()))).collect()
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

fn parse_path(value: &ValueKind) -> Parsed<PathBuf> {
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

fn parse_mode(value: &ValueKind) -> Parsed<u32> {
    let example = r#"must be three or four octal digits in quotes, such as "0660""#;
    let ValueKind::String(text) = value else { return Err(example.to_owned()) };
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
    if let Some(risk) = place::risk(&path.value, &[own, owner.unwrap_or(own)]) {
        reader.warn(path, risk);
    }
}

fn count(number: i64) -> Parsed<usize> {
    usize::try_from(number).map_err(|_| "is too large".to_owned())
}

/// A user's number, or the number that goes with its name.
pub(super) fn uid(value: &ValueKind) -> Result<u32, Wrong> {
    account(value, "user", user)
}

/// A group's number, or the number that goes with its name.
pub(super) fn gid(value: &ValueKind) -> Result<u32, Wrong> {
    account(value, "group", group)
}

/// A name that is not known may be known later: directories such as LDAP, and `DynamicUser=` of another unit, bring
/// users after the start.
fn account(
    value: &ValueKind,
    what: &str,
    find: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, Wrong> {
    if let ValueKind::I64(number) = value {
        return Ok(id(*number)?);
    }
    if !matches!(value, ValueKind::String(_)) {
        return Ok(wrong_type(Kind::Account, value)?);
    }
    let name = line(value)?;
    if let Ok(number) = name.parse() {
        return Ok(id(number)?);
    }
    let text = match find(name) {
        Ok(Some(id)) => return Ok(id),
        Ok(None) => format!("there is no {what} of that name on this machine"),
        Err(error) => format!("the {what} cannot be looked up: {}", error.desc()),
    };
    Err(Wrong { text, may_pass: true })
}

fn id(number: i64) -> Parsed<u32> {
    // The largest one is -1 to chown(2), which leaves the owner as it is.
    u32::try_from(number)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| "is no user or group number".to_owned())
}

fn user(name: &str) -> nix::Result<Option<u32>> {
    Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
}

fn group(name: &str) -> nix::Result<Option<u32>> {
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
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
        assert!(parse_mode(&ValueKind::I64(660)).is_err());
    }

    #[test]
    fn accounts_go_by_name_or_number() {
        let read = |value: ValueKind| account(&value, "user", user);
        assert_eq!([read("root".into()), read("0".into()), read(7.into())], [Ok(0), Ok(0), Ok(7)]);
        assert_eq!(
            read("nosuchuser".into()),
            Err(Wrong { text: "there is no user of that name on this machine".to_owned(), may_pass: true })
        );
        assert!(read("".into()).is_err() && read("ro\0ot".into()).is_err());
        assert!(read((-1).into()).is_err() && read(i64::from(u32::MAX).into()).is_err());
        assert!(!read("".into()).unwrap_err().may_pass);
        assert!(read(true.into()).unwrap_err().text.contains("a name in quotes or a number"));
    }
}

//! `[[listener]]`: the sockets that callers connect to.

use std::path::PathBuf;

use super::accounts::{Gid, Uid};
use super::problem::{Checked, Wrong};
use super::proxied_api::ProxiedApi;
use super::reader::{Reader, Setting};
use super::reloadable::Reloadable;
use super::schema::{self, LISTENER_PATH, Type};
use super::source_values::Value;
use super::values::{Parsed, Typed, absolute_path};
use super::{allow, socket_dir};
use crate::domain::policy::Rule;

/// `sockaddr_un.sun_path` has 108 bytes, the last of which is a zero (unix(7)).
const LONGEST_PATH: usize = 107;

/// `[[listener]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Absolute path of the socket.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// The owner's uid; `None` for the daemon's.
    pub owner: Option<u32>,
    /// The group's gid; `None` for the daemon's.
    pub group: Option<u32>,
    /// How many connections may be open at a time. Further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// How many calls of other APIs may be in progress at a time.
    pub max_streams: usize,
    /// Whether `Cloakroom-Request: true` is required.
    pub require_request_header: bool,
    /// `[[listener.allow]]`: which callers may do what. Without rules, root and the daemon's own uid are answered.
    pub allow: Vec<Rule>,
}

impl Reloadable for Listener {
    fn restore_fixed(&mut self, running: &Self) {
        *self = Self {
            require_request_header: self.require_request_header,
            allow: std::mem::take(&mut self.allow),
            ..running.clone()
        };
    }
}

/// Reads every listener, or the default one if there is none. `apis` are those that rules can name, if they are valid.
pub(super) fn read(reader: &mut Reader, apis: Option<&[ProxiedApi]>) -> Checked<Vec<Listener>> {
    let listeners: Vec<_> = match reader.length(LISTENER_PATH) {
        0 => vec![one(reader, &schema::join(LISTENER_PATH, "0"), apis)],
        length => (0..length)
            .map(|index| element(reader, &schema::join(LISTENER_PATH, &index.to_string()), apis))
            .collect(),
    };
    let mut paths: Vec<Setting<PathBuf>> = Vec::new();
    let mut checked = Vec::new();
    for listener in listeners {
        checked.push(listener.and_then(|(path, listener)| {
            // `Path` compares components, so that a doubled slash makes no difference.
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

fn element(
    reader: &mut Reader,
    table: &str,
    apis: Option<&[ProxiedApi]>,
) -> Checked<(Setting<PathBuf>, Listener)> {
    reader.element(table)?;
    one(reader, table, apis)
}

fn one(
    reader: &mut Reader,
    table: &str,
    apis: Option<&[ProxiedApi]>,
) -> Checked<(Setting<PathBuf>, Listener)> {
    let key = |name: &str| format!("{table}.{name}");
    let path = reader.parsed(&key("path"), parse_path);
    let path = path.and_then(|path| reader.required(&key("path"), path));
    let mode = reader.setting(&key("mode"));
    let owner = reader.optional(&key("owner"));
    let group = reader.optional(&key("group"));
    let max_connections = reader.value(&key("max_connections"));
    let max_streams = reader.value(&key("max_streams"));
    let require_request_header = reader.value(&key("require_request_header"));
    let allow = allow::read(reader, &key("allow"), apis);
    if let (Ok(mode), Ok(allow)) = (&mode, &allow) {
        warn_of_open_mode(reader, mode, !allow.is_empty());
    }

    let (path, owner) = (path?, owner?.map(|Setting { value: Uid(uid), .. }| uid));
    warn_of_open_directory(reader, &path, owner);
    let listener = Listener {
        path: path.value.clone(),
        mode: mode?.value.0,
        owner,
        group: group?.map(|Setting { value: Gid(gid), .. }| gid),
        max_connections: max_connections?,
        max_streams: max_streams?,
        require_request_header: require_request_header?,
        allow: allow?,
    };
    Ok((path, listener))
}

fn parse_path(takes: Type, value: &Value) -> Parsed<PathBuf> {
    let path = absolute_path(takes, value)?;
    if path.len() > LONGEST_PATH {
        return Err(format!(
            "is {} bytes long; the path of a socket has at most {LONGEST_PATH} bytes",
            path.len()
        ));
    }
    if path.ends_with('/') {
        return Err("must be the path of a socket, without a slash at its end".to_owned());
    }
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("must not contain . or .. as a component".to_owned());
    }
    Ok(path.into())
}

/// Permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode(u32);

impl Typed for Mode {
    fn parse(_: Type, value: &Value) -> Result<Self, Wrong> {
        let example = r#"must be three or four octal digits in quotes, such as "0660""#;
        let Value::Text(text) = value else { return Err(example.into()) };
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| octal).ok_or(example)?;
        if mode > 0o777 {
            return Err("must not set setuid, setgid or sticky, which have no effect on a socket".into());
        }
        if mode & 0o222 == 0 {
            return Err(
                "no user could connect; connecting to a socket requires the permission to write".into()
            );
        }
        Ok(Self(mode))
    }

    fn shown(&self) -> String {
        format!("{:04o}", self.0)
    }
}

/// Warns of a mode that lets every user connect. That is not an error: the caller's uid and gid decide who is
/// answered, and a socket that containers of different users share may need such a mode.
fn warn_of_open_mode(reader: &mut Reader, mode: &Setting<Mode>, ruled: bool) {
    let answered = if ruled { "callers that a rule names" } else { "root and the daemon's own user" };
    if mode.value.0 & 0o002 != 0 {
        reader.warn(mode, format!("every user of this machine can connect; only {answered} are answered"));
    }
}

/// Warns if another user could replace the socket. The socket's owner also owns the directory that is created for it.
fn warn_of_open_directory(reader: &mut Reader, path: &Setting<PathBuf>, owner: Option<u32>) {
    let own = nix::unistd::geteuid().as_raw();
    if let Some(risk) = socket_dir::risk(&path.value, &[own, owner.unwrap_or(own)]) {
        reader.warn(path, risk.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_into_an_address() {
        let good = |path: &str| parse_path(Type::Path, &path.into()).is_ok();
        assert!(good("/run/cloakroom/cloakroom.sock"));
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
    fn modes_are_octal_and_let_a_user_connect() {
        let mode = |text: &str| Mode::parse(Type::Mode, &text.into()).map(|Mode(mode)| mode);
        assert_eq!([mode("0660"), mode("600"), mode("0666")], [Ok(0o660), Ok(0o600), Ok(0o666)]);
        for bad in ["", "66", "00660", "0o660", "0668", "+660", "1660", "0444", "rw-rw----"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        assert!(Mode::parse(Type::Mode, &Value::Integer(660)).is_err());
    }
}

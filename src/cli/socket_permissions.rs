//! Explains why the kernel denies a connection, as far as modes and groups tell.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgroups};

/// Rights that connecting needs: to write to the socket, and to search (`x`) every directory above it (unix(7)).
const WRITE: u32 = 0o2;
const PASS: u32 = 0o1;

/// A file's owner, group and mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Permissions {
    owner: u32,
    group: u32,
    mode: u32,
}

/// The ids that permissions are checked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ids {
    uid: u32,
    /// The effective group first, then the supplementary ones.
    groups: Vec<u32>,
}

/// What is known of the socket or of a directory above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Seen(Permissions),
    /// A symbolic link whose target cannot be read.
    Link,
    Hidden,
}

/// What denies the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Obstacle {
    Socket(Permissions),
    /// `None` if a link leads to the directory, whose path is not known then.
    Directory(Option<(PathBuf, Permissions)>),
    /// Modes and groups allow the connection, so something else denies it.
    Unknown,
}

/// A denied connection, with the ids of the client. Prints as the cause and what to do.
#[derive(Debug)]
pub struct Access {
    obstacle: Obstacle,
    ids: Ids,
}

impl Access {
    /// Examines the socket and the directories above it after `errno` (EACCES or EPERM).
    pub fn of(socket: &Path, errno: Option<i32>) -> Self {
        let (gid, more) = (getegid().as_raw(), getgroups().unwrap_or_default());
        let groups = [gid].into_iter().chain(more.into_iter().map(Gid::as_raw)).collect();
        let ids = Ids { uid: geteuid().as_raw(), groups };
        let path = std::path::absolute(socket).unwrap_or_else(|_| socket.to_owned());
        let mut way: Vec<_> = path.ancestors().map(|step| (step.to_owned(), see(step))).collect();
        way.reverse();
        let errno = errno.map_or(Errno::EACCES, Errno::from_raw);
        Self { obstacle: find(errno, &way, &ids), ids }
    }
}

fn see(path: &Path) -> Sight {
    match path.metadata() {
        Ok(found) => {
            Sight::Seen(Permissions { owner: found.uid(), group: found.gid(), mode: found.mode() & 0o7777 })
        }
        Err(_) if path.is_symlink() => Sight::Link,
        Err(_) => Sight::Hidden,
    }
}

/// Finds what denies `ids` the connection. `way` goes from the root to the socket.
fn find(errno: Errno, way: &[(PathBuf, Sight)], ids: &Ids) -> Obstacle {
    // Modes cause EACCES. EPERM comes from a security module or a filter.
    let Some(((_, socket), directories)) = way.split_last().filter(|_| errno != Errno::EPERM) else {
        return Obstacle::Unknown;
    };
    for (path, sight) in directories {
        match sight {
            Sight::Seen(permissions) if permissions.allow(ids, PASS) => {}
            Sight::Seen(permissions) => return Obstacle::Directory(Some((path.clone(), *permissions))),
            Sight::Link => return Obstacle::Directory(None),
            Sight::Hidden => return Obstacle::Unknown,
        }
    }
    match socket {
        Sight::Seen(permissions) if !permissions.allow(ids, WRITE) => Obstacle::Socket(*permissions),
        Sight::Link => Obstacle::Directory(None),
        Sight::Seen(_) | Sight::Hidden => Obstacle::Unknown,
    }
}

impl Permissions {
    /// Decides like the kernel without access control lists: one class applies, and none to root (path_resolution(7)).
    fn allow(self, ids: &Ids, wanted: u32) -> bool {
        let shift = match (ids.uid == self.owner, ids.groups.contains(&self.group)) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        ids.uid == 0 || (self.mode >> shift) & wanted != 0
    }

    fn shown(self) -> String {
        format!(
            "belongs to user {} and group {} with mode {:04o}",
            user_name(self.owner),
            group_name(self.group),
            self.mode
        )
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = self.ids.groups.first().map_or_else(String::new, |gid| group_name(*gid));
        let who = format!("user {} with group {group}", user_name(self.ids.uid));
        match &self.obstacle {
            Obstacle::Socket(socket) => write!(
                f,
                "the socket {}, and this is {who}; run as its owner, join its group (which counts from the next login), or \
                 change owner, group or mode of that listener",
                socket.shown()
            ),
            Obstacle::Directory(Some((path, directory))) => write!(
                f,
                "a directory above it is closed to {who}: {} {}; open it to them, or run as another user",
                path.display(),
                directory.shown()
            ),
            Obstacle::Directory(None) => {
                write!(f, "a directory above it is closed to {who}; open it to them, or run as another user")
            }
            Obstacle::Unknown => {
                write!(
                    f,
                    "owners, groups and modes would let {who} in, so something else denies it: SELinux, AppArmor or \
                     another security module (`ausearch -m avc -ts recent`, `dmesg` or `journalctl -k` show what it denied)"
                )?;
                f.write_str(match self.ids.uid {
                    0 => ", or root lacks CAP_DAC_OVERRIDE here and modes bind it, too",
                    _ => ", or an access control list (`getfacl`)",
                })
            }
        }
    }
}

fn user_name(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("{} ({uid})", user.name),
        _ => uid.to_string(),
    }
}

fn group_name(gid: u32) -> String {
    match Group::from_gid(gid.into()) {
        Ok(Some(group)) => format!("{} ({gid})", group.name),
        _ => gid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(owner: u32, group: u32, mode: u32) -> Sight {
        Sight::Seen(Permissions { owner, group, mode })
    }

    /// What denies uid 1000 with the groups 1000 and 77 the socket `/run/x/s`.
    fn found(errno: Errno, directory: Sight, socket: Sight) -> Obstacle {
        let way = [
            ("/", seen(0, 0, 0o755)),
            ("/run", seen(0, 0, 0o755)),
            ("/run/x", directory),
            ("/run/x/s", socket),
        ];
        let way = way.map(|(path, sight)| (PathBuf::from(path), sight));
        find(errno, &way, &Ids { uid: 1000, groups: vec![1000, 77] })
    }

    #[test]
    fn what_modes_explain_is_distinguished_from_what_they_do_not() {
        let open = seen(0, 0, 0o755);
        for (owner, group, mode, is_let_in) in [
            (0, 0, 0o660, false),
            (0, 77, 0o660, true),
            (0, 1000, 0o660, true),
            (0, 0, 0o666, true),
            (1000, 0, 0o600, true),
            // The first class that fits applies, and no other.
            (1000, 77, 0o066, false),
            (0, 77, 0o606, false),
            // Reading is not enough.
            (0, 0, 0o664, false),
        ] {
            let expected = match is_let_in {
                true => Obstacle::Unknown,
                false => Obstacle::Socket(Permissions { owner, group, mode }),
            };
            assert_eq!(
                found(Errno::EACCES, open, seen(owner, group, mode)),
                expected,
                "{owner} {group} {mode:o}"
            );
            assert_eq!(found(Errno::EPERM, open, seen(owner, group, mode)), Obstacle::Unknown);
        }
    }

    #[test]
    fn the_directory_that_is_closed_is_named() {
        let closed = Permissions { owner: 0, group: 0, mode: 0o750 };
        let expected = Obstacle::Directory(Some(("/run/x".into(), closed)));
        assert_eq!(found(Errno::EACCES, Sight::Seen(closed), Sight::Hidden), expected);
        // Its mode allows the search, but nothing below it can be read.
        assert_eq!(found(Errno::EACCES, seen(0, 77, 0o750), Sight::Hidden), Obstacle::Unknown);
        assert_eq!(found(Errno::EACCES, Sight::Hidden, Sight::Hidden), Obstacle::Unknown);
        assert_eq!(found(Errno::EACCES, Sight::Link, Sight::Hidden), Obstacle::Directory(None));
        assert_eq!(found(Errno::EACCES, seen(0, 0, 0o755), Sight::Link), Obstacle::Directory(None));
    }

    #[test]
    fn a_security_module_is_named_and_joining_a_group_is_not_advised() {
        let access =
            |uid, obstacle| Access { obstacle, ids: Ids { uid, groups: vec![4_000_000] } }.to_string();
        let text = access(4_000_000, Obstacle::Unknown);
        for named in ["SELinux", "AppArmor", "ausearch -m avc", "dmesg", "getfacl"] {
            assert!(text.contains(named), "{text}");
        }
        assert!(!text.contains("join"), "{text}");
        assert!(access(0, Obstacle::Unknown).contains("CAP_DAC_OVERRIDE"));
        let closed = Permissions { owner: 4_000_001, group: 4_000_002, mode: 0o660 };
        let text = access(4_000_000, Obstacle::Socket(closed));
        assert!(
            text.contains("user 4000001 and group 4000002 with mode 0660") && text.contains("join its group"),
            "{text}"
        );
    }
}

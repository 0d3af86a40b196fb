//! The sandbox that the daemon is in once it has started: Landlock, which the kernel keeps it in, and which anybody may
//! enter and nobody can leave.
//!
//! What remains is what a running daemon does: read its configuration again, resolve names, read what the kernel says
//! of it in `/proc`, add to its audit log, and remove its sockets at the end. Descriptors that are open stay as they are, and so do sockets:
//! Landlock is about opening, making, removing and executing.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};

use super::links::Way;

/// What is read wherever the daemon runs: by the C library and whatever `nsswitch.conf` has it load, to resolve names,
/// and by ourselves in `/proc`. DirectoryWatch and not files, because a rule is about what is there now, and `resolv.conf`
/// is replaced while the daemon runs. Those that a machine does not have are left out.
const ALWAYS_READ: [&str; 12] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/run/NetworkManager",
    "/run/nscd",
    "/run/resolvconf",
    "/run/systemd",
    "/var/lib/sss",
    "/dev/urandom",
];

/// Where the C library looks for name servers; often a link to somewhere else.
const NAME_SERVERS: &str = "/etc/resolv.conf";

/// What this daemon needs of the file system.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Files to be read again; those beside them may be read, too, since a new one may take an old one's place.
    pub read: Vec<PathBuf>,
    /// Files to be removed at the end; those beside them may be removed, too, since the kernel knows directories only.
    pub remove: Vec<PathBuf>,
    /// Files to be added to; others may be made beside them, since whoever rotates them moves the old one away.
    pub add_to: Vec<PathBuf>,
}

/// Says which of `files` a running daemon could not read any more, if a directory on the way to it were replaced.
pub fn lost(files: &[PathBuf]) -> Vec<String> {
    let said = files.iter().filter_map(|file| {
        let (file, directory) = (file.display(), Way::to(file).lost()?.display().to_string());
        Some(format!(
            "{file} leads to {directory}: if that is replaced by another directory, a running daemon is kept from it by its \
             sandbox until it is restarted; one that lies a level deeper, such as {directory}.d/1, is followed"
        ))
    });
    said.collect()
}

/// How much of it the kernel enforces.
#[derive(Debug)]
pub enum Sandbox {
    /// All there is.
    Whole,
    /// An older kernel's share: files, if not the rest.
    Partial,
    /// Nothing, and why.
    None(String),
}

/// Puts the calling thread, and whatever threads it starts from now on, into the sandbox.
pub fn enter(needs: &Needs) -> Sandbox {
    match restrict(needs) {
        Ok(RestrictionStatus { ruleset: RulesetStatus::FullyEnforced, .. }) => Sandbox::Whole,
        Ok(RestrictionStatus { ruleset: RulesetStatus::PartiallyEnforced, .. }) => Sandbox::Partial,
        Ok(RestrictionStatus { landlock, .. }) => Sandbox::None(match landlock {
            LandlockStatus::NotEnabled => "the kernel's Landlock is not turned on".to_owned(),
            _ => "the kernel has no Landlock, or a container hides it".to_owned(),
        }),
        Err(cause) => Sandbox::None(cause.to_string()),
    }
}

fn restrict(needs: &Needs) -> Result<RestrictionStatus, RulesetError> {
    const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    const ADD: BitFlags<AccessFs> = make_bitflags!(AccessFs::{WriteFile | MakeReg});
    const BOTH: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile});

    // Named versions, not the newest: a kernel that learns of another right must not take it away from us.
    let read = needs.read.iter().flat_map(|path| on_the_way(path));
    let remove = needs.remove.iter().flat_map(|path| beside(path));
    let add_to = needs.add_to.iter().flat_map(|path| beside(path));
    let standing = ALWAYS_READ.iter().map(PathBuf::from).chain(beside(Path::new(NAME_SERVERS)));
    Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(standing.chain(read), READ))?
        .add_rules(path_beneath_rules(remove, AccessFs::RemoveFile))?
        .add_rules(path_beneath_rules(add_to, ADD))?
        .add_rules(path_beneath_rules(["/dev/null"], BOTH))?
        .restrict_self()
}

/// The directories that `path`, a file to be read, is found in, now and after one of those on the way to it has been
/// replaced as a whole: a rule holds for the directory that is there now, and not for another of its name.
fn on_the_way(path: &Path) -> Vec<PathBuf> {
    let around: Vec<_> = Way::to(path).around().map(Path::to_owned).collect();
    beside(path).into_iter().chain(around).collect()
}

/// The directories that `path` lies in: by its name, and by where links lead. The file alone where that would be
/// everything there is.
fn beside(path: &Path) -> Vec<PathBuf> {
    let real = path.canonicalize().ok();
    let named = std::path::absolute(path).ok();
    let parent = |path: PathBuf| match path.parent() {
        Some(parent) if parent != Path::new("/") => parent.to_owned(),
        _ => path,
    };
    [named, real].into_iter().flatten().map(parent).collect()
}

impl Sandbox {
    /// Writes a line to the log.
    pub fn tell(&self) {
        match self {
            Self::Whole => {
                tracing::info!(
                    "Sandboxed: nothing can be executed or bound, and only what is needed can be read or written"
                );
            }
            Self::Partial => {
                tracing::info!(
                    "Sandboxed as far as this kernel can: nothing can be executed, and only what is needed can be read \
                     or written"
                );
            }
            Self::None(why) => tracing::warn!(%why, "Not sandboxed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{ErrorKind, Write};
    use std::net::{TcpListener, TcpStream, ToSocketAddrs};

    use super::*;

    /// In a thread of its own, which is all that the sandbox holds. Where the kernel has none, there is nothing to see.
    #[test]
    fn what_is_not_needed_is_denied_and_what_is_needed_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["etc", "run", "log", "other"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), name).unwrap();
        }
        fs::create_dir(path("kubernetes")).unwrap();
        fs::write(path("kubernetes/secret"), "first").unwrap();
        std::os::unix::fs::symlink("../kubernetes/secret", path("etc/secret")).unwrap();
        let needs = Needs {
            read: vec![path("etc/file"), path("etc/secret")],
            remove: vec![path("run/file")],
            add_to: vec![path("log/file")],
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut open = fs::File::create(path("other/log")).unwrap();

        let inside = || {
            if let Sandbox::None(why) = enter(&needs) {
                return Err(why);
            }
            let denied = |outcome: std::io::Result<()>| {
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::PermissionDenied);
            };
            denied(fs::read(path("other/file")).map(drop));
            denied(fs::read_dir(dir.path()).map(drop));
            denied(fs::write(path("other/new"), "x"));
            denied(fs::write(path("etc/file"), "x"));
            denied(fs::remove_file(path("etc/file")));
            denied(fs::create_dir(path("run/new")));
            denied(fs::read(path("log/file")).map(drop));
            denied(fs::remove_file(path("log/file")));
            denied(std::os::unix::net::UnixListener::bind(path("run/new.sock")).map(drop));
            denied(std::process::Command::new("/bin/true").status().map(drop));

            // What has been replaced is read as well, by whatever way it came.
            assert_eq!(fs::read_to_string(path("etc/file")).unwrap(), "etc");
            assert_eq!(fs::read_to_string(path("etc/secret")).unwrap(), "first");
            fs::remove_file(path("run/file")).unwrap();
            open.write_all(b"still open").unwrap();
            for file in ["log/file", "log/new"] {
                let mut options = fs::OpenOptions::new();
                options.append(true).create(true).open(path(file)).unwrap().write_all(b"x").unwrap();
            }
            assert!(fs::read_to_string("/proc/self/stat").is_ok());
            assert!("localhost:1".to_socket_addrs().unwrap().next().is_some());
            drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            // Inherited by those it starts.
            std::thread::scope(|scope| {
                scope.spawn(|| denied(fs::read(path("other/file")).map(drop))).join().unwrap();
            });
            Ok(TcpListener::bind("127.0.0.1:0").map(drop).err().map(|error| error.kind()))
        };
        let outcome = std::thread::scope(|scope| scope.spawn(inside).join().unwrap());
        if let Ok(bound) = outcome {
            // From the fourth version on.
            assert!(matches!(bound, None | Some(ErrorKind::PermissionDenied)), "{bound:?}");
        }
    }

    #[test]
    fn no_need_opens_everything() {
        assert_eq!(beside(Path::new("/cloakroom.toml")), [Path::new("/cloakroom.toml")]);
        assert!(beside(Path::new("/etc/hosts")).contains(&PathBuf::from("/etc")));
        assert!(beside(Path::new("cloakroom.toml")).iter().all(|path| path.is_absolute()));
    }
}

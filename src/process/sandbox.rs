//! The Landlock sandbox, which the daemon enters at its start. Entering needs no privilege, and a process cannot leave.
//!
//! The rules allow what a running daemon does: reread its configuration, resolve names, read its own statistics in
//! `/proc`, append to its audit log, and remove its sockets at the end. Open descriptors and sockets are not affected:
//! Landlock restricts opening, creating, removing and executing files.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};

use super::path_resolution::ResolvedPath;

/// Directories that are always readable: the C library and the modules of `nsswitch.conf` read them to resolve names,
/// and the daemon reads `/proc`. They are directories, because a rule applies to the file that exists now, and
/// `resolv.conf` is replaced while the daemon runs. Those that do not exist on a machine are skipped.
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

/// The C library's list of name servers; often a link.
const NAME_SERVERS: &str = "/etc/resolv.conf";

/// Files that the daemon accesses after its start.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Files to read again. Their whole directories become readable, because a file may be replaced.
    pub read: Vec<PathBuf>,
    /// Files to remove at the end. The right applies to all files of their directories, because Landlock grants it for
    /// directories only.
    pub remove: Vec<PathBuf>,
    /// Files to append to. New files may be created in their directories, because log rotation moves the old file away.
    pub add_to: Vec<PathBuf>,
}

/// Warns about each of `files` that a running daemon could not read any more if a directory in its path were replaced.
pub fn lost(files: &[PathBuf]) -> Vec<String> {
    let warnings = files.iter().filter_map(|file| {
        let (file, directory) = (file.display(), ResolvedPath::of(file).unreadable_if_replaced()?.display().to_string());
        Some(format!(
            "{file} leads to {directory}: if that is replaced by another directory, the sandbox keeps a running daemon \
             from reading it until a restart; a directory one level deeper, such as {directory}.d/1, may be replaced"
        ))
    });
    warnings.collect()
}

/// How much of the sandbox the kernel enforces.
#[derive(Debug)]
pub enum Sandbox {
    /// Every rule.
    Whole,
    /// The rules that an older kernel knows: those for files, but not all others.
    Partial,
    /// No rule, with the reason.
    None(String),
}

/// Puts the calling thread, and every thread that it starts later, into the sandbox.
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

    // A fixed ABI version: a newer kernel must not restrict a right that these rules do not consider.
    let read = needs.read.iter().flat_map(|path| directories_to_read(path));
    let remove = needs.remove.iter().flat_map(|path| parents_of(path));
    let add_to = needs.add_to.iter().flat_map(|path| parents_of(path));
    let standing = ALWAYS_READ.iter().map(PathBuf::from).chain(parents_of(Path::new(NAME_SERVERS)));
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

/// The directories that contain the file `path`, now and after a directory in its path is replaced as a whole. A rule
/// applies to the existing directory, and not to a later one of the same name.
fn directories_to_read(path: &Path) -> Vec<PathBuf> {
    let parents: Vec<_> = ResolvedPath::of(path).replacement_parents().map(Path::to_owned).collect();
    parents_of(path).into_iter().chain(parents).collect()
}

/// The directories that contain `path`, before and after following links. For a file directly below `/` it is the file
/// itself, because a rule for `/` would allow everything.
fn parents_of(path: &Path) -> Vec<PathBuf> {
    let real = path.canonicalize().ok();
    let named = std::path::absolute(path).ok();
    let parent = |path: PathBuf| match path.parent() {
        Some(parent) if parent != Path::new("/") => parent.to_owned(),
        _ => path,
    };
    [named, real].into_iter().flatten().map(parent).collect()
}

impl Sandbox {
    /// Logs how much of the sandbox is enforced.
    pub fn log(&self) {
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

    /// Runs in a thread of its own, because the sandbox applies to a thread. Passes if the kernel has no Landlock.
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

            // Files that were replaced can be read, whichever way they were replaced.
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
            // Threads inherit the sandbox.
            std::thread::scope(|scope| {
                scope.spawn(|| denied(fs::read(path("other/file")).map(drop))).join().unwrap();
            });
            Ok(TcpListener::bind("127.0.0.1:0").map(drop).err().map(|error| error.kind()))
        };
        let outcome = std::thread::scope(|scope| scope.spawn(inside).join().unwrap());
        if let Ok(bound) = outcome {
            // Denied from Landlock's fourth version on.
            assert!(matches!(bound, None | Some(ErrorKind::PermissionDenied)), "{bound:?}");
        }
    }

    #[test]
    fn no_need_opens_everything() {
        assert_eq!(parents_of(Path::new("/cloakroom.toml")), [Path::new("/cloakroom.toml")]);
        assert!(parents_of(Path::new("/etc/hosts")).contains(&PathBuf::from("/etc")));
        assert!(parents_of(Path::new("cloakroom.toml")).iter().all(|path| path.is_absolute()));
    }
}

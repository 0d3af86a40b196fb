//! Binds a Unix socket with the configured mode, owner and group, and verifies them. Replaces only a dead socket.

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};

use crate::config::Listener;

use super::socket_file::SocketFile;

/// The mode of a directory that is created for a socket: open to its owner and group alone.
const DIRECTORY_MODE: u32 = 0o750;

/// The mode of directories that are created above that one. Clients have to pass through them, and they contain only
/// the next directory.
const PARENT_MODE: u32 = 0o755;

/// A listening socket, and its file if this daemon has created it.
#[derive(Debug)]
pub struct BoundSocket {
    listener: UnixListener,
    file: Option<SocketFile>,
}

/// Why a socket cannot be bound as configured.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon listens on the path.
    #[error("{0}: a daemon answers on this socket already; stop it, or choose another path for this one")]
    InUse(PathBuf),
    /// The path is taken by a file of another type, which is named.
    #[error("{0}: there is {1} at this path, which is left alone; remove it, or choose another path")]
    NotASocket(PathBuf, &'static str),
    /// There is a socket, and the test connection failed in a way that leaves open whether a process listens on it.
    #[error(
        "{0}: there is a socket at this path that cannot be tried ({1}); remove it if no process uses it"
    )]
    Unknown(PathBuf, io::ErrorKind),
    /// A system call failed.
    #[error("{path}: cannot {step} ({cause}); {fix}")]
    System {
        /// The socket or its directory.
        path: PathBuf,
        /// What the call was for.
        step: &'static str,
        /// The kernel's error.
        cause: io::Error,
        /// What the operator can do.
        fix: &'static str,
    },
    /// The file system did not apply the mode, the owner or the group.
    #[error("{path}: {what} should be {wanted} and is {found}; the file system may not support it")]
    NotApplied {
        /// The socket.
        path: PathBuf,
        /// `mode`, `owner` or `group`.
        what: &'static str,
        /// The configured value.
        wanted: String,
        /// The value that was read back.
        found: String,
    },
}

impl BoundSocket {
    /// Binds the socket that `settings` describes, and listens on it once its owner, group and mode are set.
    pub fn bind(settings: &Listener) -> Result<Self, SocketError> {
        let path = settings.path.as_path();
        let directory = path.parent().unwrap_or(Path::new("/"));
        create_directory(directory, settings)?;
        // Without a lock, two daemons that start at once could each find the other's socket dead before it listens.
        let _lock = lock(directory);
        remove_dead_socket(path)?;
        let listener = bind_only(path)?;
        let meta = metadata(path)?;
        let fix = "raise the limit on open files";
        let clone = listener.try_clone().map_err(system_error(path, "keep the socket open", fix))?;
        let file = SocketFile::new(path.to_owned(), &meta, clone);
        let socket = Self { listener, file: Some(file) };
        apply(path, settings)?;
        verify(path, settings)?;
        // As many as the system lets wait, which is what the standard library asks for.
        let listening = listen(&socket.listener, Backlog::MAXALLOWABLE).map_err(io::Error::from);
        listening.map_err(system_error(path, "listen on the socket", "look at the system's log"))?;
        // Until then another daemon could take the socket for a dead one, if the directory could not be locked.
        match socket.file.as_ref().is_some_and(SocketFile::is_own) {
            true => Ok(socket),
            false => Err(SocketError::InUse(path.to_owned())),
        }
    }

    /// A socket that the service manager has passed. The service manager owns its file, and decides its mode and owner.
    pub fn passed(listener: UnixListener) -> Self {
        Self { listener, file: None }
    }

    /// The listener and its file.
    pub fn into_parts(self) -> (UnixListener, Option<SocketFile>) {
        (self.listener, self.file)
    }
}

/// Creates the socket's directory, with the socket's owner and group, and missing directories above it.
fn create_directory(directory: &Path, settings: &Listener) -> Result<(), SocketError> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        create_parents(parent)?;
    }
    create_one(directory, DIRECTORY_MODE)?;
    if settings.owner.is_none() && settings.group.is_none() {
        return Ok(());
    }
    let fix =
        "only root may change its owner; create it by hand, or leave listener.owner and listener.group out";
    chown(directory, settings.owner, settings.group).map_err(system_error(
        directory,
        "set the directory's owner and group",
        fix,
    ))
}

fn create_parents(directory: &Path) -> Result<(), SocketError> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        create_parents(parent)?;
    }
    create_one(directory, PARENT_MODE)
}

fn create_one(directory: &Path, mode: u32) -> Result<(), SocketError> {
    let failed =
        system_error(directory, "create the directory", "create it, or start the daemon as a user that may");
    match fs::create_dir(directory) {
        // Another daemon, which starts at the same time, has created it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => return Ok(()),
        created => created.map_err(&failed)?,
    }
    // The umask may have removed bits that clients need to pass through.
    fs::set_permissions(directory, Permissions::from_mode(mode)).map_err(&failed)
}

/// Locks the directory itself, which needs no lock file, while a socket is bound.
///
/// The lock is advisory, between daemons that start at once. The start goes on without it, because any process that may
/// read the directory could hold the lock for ever, and some file systems have no locks. The test connection is made in
/// either case.
fn lock(directory: &Path) -> Option<File> {
    let path = directory.display();
    let handle = File::open(directory)
        .inspect_err(|cause| tracing::debug!(%path, %cause, "The directory cannot be locked"))
        .ok()?;
    for _ in 0..20 {
        match handle.try_lock() {
            Ok(()) => return Some(handle),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
            Err(TryLockError::Error(cause)) => {
                tracing::debug!(%path, %cause, "The directory cannot be locked");
                return None;
            }
        }
    }
    tracing::warn!(%path, "Another process has locked the socket's directory; going on without the lock");
    None
}

/// Removes a dead socket. A file of any other type, and a socket on which a process listens, is an error.
fn remove_dead_socket(path: &Path) -> Result<(), SocketError> {
    let kind = match fs::symlink_metadata(path) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(system_error(path, "inspect the path", "check its directories' permissions")(error));
        }
    };
    if !kind.is_socket() {
        let found = match () {
            () if kind.is_symlink() => "a symbolic link",
            () if kind.is_dir() => "a directory",
            () if kind.is_file() => "a regular file",
            () => "something that is not a socket",
        };
        return Err(SocketError::NotASocket(path.to_owned(), found));
    }
    match try_connect(path) {
        Err(Errno::ECONNREFUSED) => {}
        Err(Errno::ENOENT) => return Ok(()),
        // EAGAIN is a full backlog: the daemon that listens there is busy.
        Ok(()) | Err(Errno::EAGAIN) => return Err(SocketError::InUse(path.to_owned())),
        Err(other) => return Err(SocketError::Unknown(path.to_owned(), io::Error::from(other).kind())),
    }
    tracing::info!(path = %path.display(), "Removing a socket that no process listens on");
    fs::remove_file(path).map_err(system_error(path, "remove the dead socket", "remove it by hand"))
}

/// Makes a test connection, without blocking: `connect(2)` blocks for as long as a listener's backlog is full.
fn try_connect(path: &Path) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(probe.as_raw_fd(), &UnixAddr::new(path)?)
}

/// Binds and does not listen: the kernel refuses connections until [`apply`] has set the file's mode. A umask would have
/// that effect too, but it applies to the whole process, whose other threads create files.
fn bind_only(path: &Path) -> Result<UnixListener, SocketError> {
    let bound = UnixAddr::new(path).and_then(|address| {
        let bound = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(bound.as_raw_fd(), &address)?;
        Ok(bound)
    });
    bound.map(UnixListener::from).map_err(io::Error::from).map_err(system_error(
        path,
        "bind the socket",
        "check that the daemon's user may write to its directory",
    ))
}

/// Sets owner and group, then the mode: until then no client may connect.
fn apply(path: &Path, settings: &Listener) -> Result<(), SocketError> {
    if settings.owner.is_some() {
        let fix = "only root may change a socket's owner; leave listener.owner out, or start the daemon as that user";
        lchown(path, settings.owner, None).map_err(system_error(path, "set the socket's owner", fix))?;
    }
    if settings.group.is_some() {
        let fix = "the daemon's user must be root or in that group; see listener.group";
        lchown(path, None, settings.group).map_err(system_error(path, "set the socket's group", fix))?;
    }
    let fix = "see listener.mode";
    fs::set_permissions(path, Permissions::from_mode(settings.mode)).map_err(system_error(
        path,
        "set the socket's mode",
        fix,
    ))
}

fn verify(path: &Path, settings: &Listener) -> Result<(), SocketError> {
    let meta = metadata(path)?;
    let mode = meta.mode() & 0o7777;
    let checks = [
        ("mode", Some(settings.mode), mode, mode == settings.mode),
        ("owner", settings.owner, meta.uid(), settings.owner.is_none_or(|owner| owner == meta.uid())),
        ("group", settings.group, meta.gid(), settings.group.is_none_or(|group| group == meta.gid())),
    ];
    for (what, wanted, found, right) in checks {
        if !right {
            let text =
                |number: u32| if what == "mode" { format!("{number:04o}") } else { number.to_string() };
            let wanted = wanted.map(text).unwrap_or_default();
            return Err(SocketError::NotApplied { path: path.to_owned(), what, wanted, found: text(found) });
        }
    }
    Ok(())
}

fn metadata(path: &Path) -> Result<Metadata, SocketError> {
    fs::symlink_metadata(path).map_err(system_error(
        path,
        "inspect the socket",
        "another process removed it during the start",
    ))
}

fn system_error(path: &Path, step: &'static str, fix: &'static str) -> impl Fn(io::Error) -> SocketError {
    let path = path.to_owned();
    move |cause| SocketError::System { path: path.clone(), step, cause, fix }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixStream;

    fn listener(path: PathBuf, mode: u32) -> Listener {
        let text = "[tenant]\ndomain = \"tenant.eu.auth0.com\"\n[tenant.client]\nid = \"app\"\nsecret = \"canary\"\n";
        let config = config::parse("test.toml", text, &config::Env::default()).unwrap().config;
        let mut listener = config.listeners.into_iter().next().unwrap();
        (listener.path, listener.mode) = (path, mode);
        listener
    }

    #[test]
    fn a_socket_is_created_with_its_directory_and_removed_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/api.sock");
        let socket = BoundSocket::bind(&listener(path.clone(), 0o660)).unwrap();
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o750);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        UnixStream::connect(&path).unwrap();
        drop(socket.into_parts());
        assert!(!path.exists());
    }

    #[test]
    fn directories_above_its_own_are_open_to_all_users_and_its_own_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = listener(dir.path().join("a/b/run/api.sock"), 0o660);
        let root = nix::unistd::geteuid().is_root();
        (settings.owner, settings.group) = if root { (Some(1234), Some(2345)) } else { (None, None) };
        let _socket = BoundSocket::bind(&settings).unwrap();
        let seen = |path: &str| fs::metadata(dir.path().join(path)).unwrap();
        assert_eq!(["a", "a/b", "a/b/run"].map(|path| seen(path).mode() & 0o7777), [0o755, 0o755, 0o750]);
        if root {
            assert_eq!((seen("a/b/run").uid(), seen("a/b/run").gid()), (1234, 2345));
            assert_eq!((seen("a/b").uid(), seen("a/b").gid()), (0, seen(".").gid()));
        }
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        drop(UnixListener::bind(&path).unwrap());
        let live = BoundSocket::bind(&listener(path.clone(), 0o600)).unwrap();
        let refusal = BoundSocket::bind(&listener(path.clone(), 0o600)).unwrap_err();
        assert!(matches!(refusal, SocketError::InUse(_)), "{refusal}");
        UnixStream::connect(&path).unwrap();
        drop(live);
    }

    #[test]
    fn only_a_socket_is_ever_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "precious").unwrap();
        let link = dir.path().join("link");
        symlink(dir.path().join("nowhere"), &link).unwrap();
        for path in [&file, &link, &dir.path().to_owned()] {
            let refusal = BoundSocket::bind(&listener(path.clone(), 0o600)).unwrap_err();
            assert!(matches!(refusal, SocketError::NotASocket(..)), "{refusal}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        assert!(fs::symlink_metadata(&link).is_ok());
    }

    /// Some file systems accept a change without applying it.
    #[test]
    fn a_setting_that_is_not_applied_is_named_with_its_wanted_and_its_real_value() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = listener(dir.path().join("api.sock"), 0o600);
        let _socket = BoundSocket::bind(&settings).unwrap();
        fs::set_permissions(&settings.path, Permissions::from_mode(0o666)).unwrap();
        let error = |settings: &Listener| verify(&settings.path, settings).unwrap_err().to_string();
        assert!(error(&settings).contains(": mode should be 0600 and is 0666; "), "{}", error(&settings));
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        (settings.mode, settings.owner) = (0o666, Some(uid + 1));
        assert!(error(&settings).contains(&format!(": owner should be {} and is {uid}; ", uid + 1)));
        (settings.owner, settings.group) = (None, Some(gid + 1));
        assert!(error(&settings).contains(&format!(": group should be {} and is {gid}; ", gid + 1)));
    }

    /// One daemon ends while the next one starts.
    #[test]
    fn a_daemon_that_ends_leaves_its_successors_socket_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let settings = listener(path.clone(), 0o600);
        for _ in 0..10 {
            let (accepting, file) = BoundSocket::bind(&settings).unwrap().into_parts();
            drop(accepting);
            let early = BoundSocket::bind(&settings).unwrap_err();
            assert!(matches!(early, SocketError::InUse(_)), "its file is still there: {early}");
            drop(file);
            let successor = BoundSocket::bind(&settings).unwrap();
            UnixStream::connect(&path).unwrap();
            drop(successor);
        }
        // In the order of a shutdown: the file is removed first, and the backlog is accepted after that.
        let (accepting, file) = BoundSocket::bind(&settings).unwrap().into_parts();
        let _early = UnixStream::connect(&path).unwrap();
        drop(file);
        let successor = BoundSocket::bind(&settings).unwrap();
        accepting.accept().unwrap();
        drop(accepting);
        UnixStream::connect(&path).unwrap();
        drop(successor);
    }

    #[test]
    fn a_file_that_replaced_the_sockets_own_is_left_alone_on_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let socket = BoundSocket::bind(&listener(path.clone(), 0o600)).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(socket);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
    }
}

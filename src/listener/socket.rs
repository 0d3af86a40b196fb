//! Makes the Unix socket right, or says why not: nobody else's file is touched, and no permission is left to luck.

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

/// For a directory that is made for a socket: those who own it, nobody else.
const DIRECTORY_MODE: u32 = 0o750;

/// For those that are made above it: they are on the way of whoever may enter that one, and hold nothing themselves.
const PARENT_MODE: u32 = 0o755;

/// A socket that listens, and its file, if that is ours to remove.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: Option<SocketFile>,
}

/// The file of a socket, told by device and inode. Dropping it removes the file, unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// As long as the file is there, somebody listens: whoever finds a dead socket may replace it, and its successor
    /// may be given the same inode, so that we would remove that one. Closed after the file is gone.
    _alive: UnixListener,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something answers there.
    #[error("{0}: a daemon answers on this socket already; stop it, or choose another path for this one")]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{0}: there is {1} at this path, which is left alone; remove it, or choose another path")]
    NotASocket(PathBuf, &'static str),
    /// A socket is there, and whether anybody listens cannot be found out.
    #[error("{0}: there is a socket at this path that cannot be tried ({1}); remove it if it is nobody's")]
    Unknown(PathBuf, io::ErrorKind),
    /// The system said no.
    #[error("{path}: cannot {step} ({cause}); {mend}")]
    System {
        /// What it was about.
        path: PathBuf,
        /// What was to be done.
        step: &'static str,
        /// The system's word.
        cause: io::Error,
        /// What helps.
        mend: &'static str,
    },
    /// Mode, owner or group did not take.
    #[error("{path}: {what} should be {wanted} and is {found}; the file system may not support it")]
    NotApplied {
        /// The socket.
        path: PathBuf,
        /// `mode`, `owner` or `group`.
        what: &'static str,
        /// As configured.
        wanted: String,
        /// As it is.
        found: String,
    },
}

impl Socket {
    /// Binds the socket that `settings` describes, and listens on it once its owner, group and mode are right.
    pub fn bind(settings: &Listener) -> Result<Self, SocketError> {
        let path = settings.path.as_path();
        let directory = path.parent().unwrap_or(Path::new("/"));
        make_directory(directory, settings)?;
        // Two daemons that start at once would each find the other's socket dead before it listens.
        let _lock = lock(directory);
        clear_the_way(path)?;
        let listener = bind_silent(path)?;
        let meta = inspect(path)?;
        let mend = "raise the limit on open files";
        let alive = listener.try_clone().map_err(system(path, "keep the socket open", mend))?;
        let file = SocketFile { path: path.to_owned(), device: meta.dev(), inode: meta.ino(), _alive: alive };
        let socket = Self { listener, file: Some(file) };
        apply(path, settings)?;
        verify(path, settings)?;
        // As many as the system lets wait, which is what the standard library asks for.
        let listening = listen(&socket.listener, Backlog::MAXALLOWABLE).map_err(io::Error::from);
        listening.map_err(system(path, "listen on the socket", "look at the system's log"))?;
        Ok(socket)
    }

    /// A socket that somebody else has made and keeps: its mode, owner and file are theirs.
    pub fn passed(listener: UnixListener) -> Self {
        Self { listener, file: None }
    }

    /// Takes the listener and its file apart.
    pub fn into_parts(self) -> (UnixListener, Option<SocketFile>) {
        (self.listener, self.file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| meta.dev() == self.device && meta.ino() == self.inode);
        if ours && let Err(cause) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %cause, "The socket's file stays behind");
        }
    }
}

/// Makes the socket's directory, which belongs to those to whom the socket belongs, and what is missing above it.
fn make_directory(directory: &Path, settings: &Listener) -> Result<(), SocketError> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        make_parents(parent)?;
    }
    make_one(directory, DIRECTORY_MODE)?;
    if settings.owner.is_none() && settings.group.is_none() {
        return Ok(());
    }
    let mend = "only root may give it away; make it by hand, or leave listener.owner and listener.group out";
    chown(directory, settings.owner, settings.group).map_err(system(
        directory,
        "set the directory's owner and group",
        mend,
    ))
}

fn make_parents(directory: &Path) -> Result<(), SocketError> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        make_parents(parent)?;
    }
    make_one(directory, PARENT_MODE)
}

fn make_one(directory: &Path, mode: u32) -> Result<(), SocketError> {
    let failed = system(directory, "make the directory", "make it, or start the daemon as a user who may");
    match fs::create_dir(directory) {
        // Somebody else who starts now was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => return Ok(()),
        made => made.map_err(&failed)?,
    }
    // The umask may have taken bits away, and callers have to get through.
    fs::set_permissions(directory, Permissions::from_mode(mode)).map_err(&failed)
}

/// A lock on the directory itself, which leaves no file behind. Held only while a socket is made.
///
/// It is a courtesy between daemons that start at once, and nothing depends on it: whoever may read the directory
/// could hold it for ever, and some file systems have none. Without it, there is still the attempt to connect first.
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

/// Removes a dead socket, and nothing but that.
fn clear_the_way(path: &Path) -> Result<(), SocketError> {
    let kind = match fs::symlink_metadata(path) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(system(path, "look at the path", "check its directories' permissions")(error));
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
    match dial(path) {
        Err(Errno::ECONNREFUSED) => {}
        Err(Errno::ENOENT) => return Ok(()),
        // A full queue is somebody who is busy.
        Ok(()) | Err(Errno::EAGAIN) => return Err(SocketError::InUse(path.to_owned())),
        Err(other) => return Err(SocketError::Unknown(path.to_owned(), io::Error::from(other).kind())),
    }
    tracing::info!(path = %path.display(), "Removing a socket that nobody listens on");
    fs::remove_file(path).map_err(system(path, "remove the dead socket", "remove it by hand"))
}

/// Tries whether anybody listens. Does not wait: a listener whose queue is full would keep a blocking call for
/// as long as it likes.
fn dial(path: &Path) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(probe.as_raw_fd(), &UnixAddr::new(path)?)
}

/// Binds and does not listen: whatever the file's mode is until [`apply`] has set it, the kernel refuses connections.
/// A umask would do as much, but it is the whole process's, where other threads make files.
fn bind_silent(path: &Path) -> Result<UnixListener, SocketError> {
    let bound = UnixAddr::new(path).and_then(|address| {
        let bound = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(bound.as_raw_fd(), &address)?;
        Ok(bound)
    });
    bound.map(UnixListener::from).map_err(io::Error::from).map_err(system(
        path,
        "bind the socket",
        "check that the daemon's user may write to its directory",
    ))
}

/// Owner and group first: until they are right, nobody may connect.
fn apply(path: &Path, settings: &Listener) -> Result<(), SocketError> {
    if settings.owner.is_some() {
        let mend =
            "only root may give a socket away; leave listener.owner out, or start the daemon as that user";
        lchown(path, settings.owner, None).map_err(system(path, "set the socket's owner", mend))?;
    }
    if settings.group.is_some() {
        let mend = "the daemon's user must be root or in that group; see listener.group";
        lchown(path, None, settings.group).map_err(system(path, "set the socket's group", mend))?;
    }
    let mend = "see listener.mode";
    fs::set_permissions(path, Permissions::from_mode(settings.mode)).map_err(system(
        path,
        "set the socket's mode",
        mend,
    ))
}

fn verify(path: &Path, settings: &Listener) -> Result<(), SocketError> {
    let meta = inspect(path)?;
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

fn inspect(path: &Path) -> Result<Metadata, SocketError> {
    fs::symlink_metadata(path).map_err(system(
        path,
        "look at the socket",
        "something removed it while it was made",
    ))
}

fn system(path: &Path, step: &'static str, mend: &'static str) -> impl Fn(io::Error) -> SocketError {
    let path = path.to_owned();
    move |cause| SocketError::System { path: path.clone(), step, cause, mend }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixStream;

    fn listener(path: PathBuf, mode: u32) -> Listener {
        Listener {
            path,
            mode,
            owner: None,
            group: None,
            max_connections: 1,
            require_request_header: true,
            allow: Vec::new(),
        }
    }

    #[test]
    fn a_socket_is_made_with_its_directory_and_removed_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/api.sock");
        let socket = Socket::bind(&listener(path.clone(), 0o660)).unwrap();
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o750);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        UnixStream::connect(&path).unwrap();
        drop(socket.into_parts());
        assert!(!path.exists());
    }

    #[test]
    fn directories_above_its_own_let_everybody_through_and_its_own_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = listener(dir.path().join("a/b/run/api.sock"), 0o660);
        let root = nix::unistd::geteuid().is_root();
        (settings.owner, settings.group) = if root { (Some(1234), Some(2345)) } else { (None, None) };
        let _socket = Socket::bind(&settings).unwrap();
        let seen = |path: &str| fs::metadata(dir.path().join(path)).unwrap();
        assert_eq!(["a", "a/b", "a/b/run"].map(|path| seen(path).mode() & 0o7777), [0o755, 0o755, 0o750]);
        if root {
            assert_eq!((seen("a/b/run").uid(), seen("a/b/run").gid()), (1234, 2345));
            assert_eq!((seen("a/b").uid(), seen("a/b").gid()), (0, seen(".").gid()));
        }
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        drop(UnixListener::bind(&path).unwrap());
        let live = Socket::bind(&listener(path.clone(), 0o600)).unwrap();
        let refusal = Socket::bind(&listener(path.clone(), 0o600)).unwrap_err();
        assert!(matches!(refusal, SocketError::InUse(_)), "{refusal}");
        UnixStream::connect(&path).unwrap();
        drop(live);
    }

    #[test]
    fn nothing_but_a_socket_is_ever_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "precious").unwrap();
        let link = dir.path().join("link");
        symlink(dir.path().join("nowhere"), &link).unwrap();
        for path in [&file, &link, &dir.path().to_owned()] {
            let refusal = Socket::bind(&listener(path.clone(), 0o600)).unwrap_err();
            assert!(matches!(refusal, SocketError::NotASocket(..)), "{refusal}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        assert!(fs::symlink_metadata(&link).is_ok());
    }

    /// There are file systems that take a change and do not keep it.
    #[test]
    fn what_did_not_take_is_named_with_what_it_should_be_and_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = listener(dir.path().join("api.sock"), 0o600);
        let _socket = Socket::bind(&settings).unwrap();
        fs::set_permissions(&settings.path, Permissions::from_mode(0o666)).unwrap();
        let said = |settings: &Listener| verify(&settings.path, settings).unwrap_err().to_string();
        assert!(said(&settings).contains(": mode should be 0600 and is 0666; "), "{}", said(&settings));
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        (settings.mode, settings.owner) = (0o666, Some(uid + 1));
        assert!(said(&settings).contains(&format!(": owner should be {} and is {uid}; ", uid + 1)));
        (settings.owner, settings.group) = (None, Some(gid + 1));
        assert!(said(&settings).contains(&format!(": group should be {} and is {gid}; ", gid + 1)));
    }

    /// The end of one daemon and the start of the next, as close together as can be.
    #[test]
    fn a_daemon_that_ends_leaves_its_successors_socket_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let settings = listener(path.clone(), 0o600);
        for _ in 0..10 {
            let (accepting, file) = Socket::bind(&settings).unwrap().into_parts();
            drop(accepting);
            let early = Socket::bind(&settings).unwrap_err();
            assert!(matches!(early, SocketError::InUse(_)), "its file is still there: {early}");
            drop(file);
            let successor = Socket::bind(&settings).unwrap();
            UnixStream::connect(&path).unwrap();
            drop(successor);
        }
        // And in the order in which the end goes: the file is gone first, what came before is still accepted.
        let (accepting, file) = Socket::bind(&settings).unwrap().into_parts();
        let _early = UnixStream::connect(&path).unwrap();
        drop(file);
        let successor = Socket::bind(&settings).unwrap();
        accepting.accept().unwrap();
        drop(accepting);
        UnixStream::connect(&path).unwrap();
        drop(successor);
    }

    #[test]
    fn a_file_that_took_the_sockets_place_is_not_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let socket = Socket::bind(&listener(path.clone(), 0o600)).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(socket);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
    }
}

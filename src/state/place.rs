//! The state file: created, locked, and watched for other programs that replace or change it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use nix::unistd::AccessFlags;
use redb::StorageBackend;

use super::trouble::{StateError, Trouble};

/// Where a database is stored. A test can store one elsewhere, with failures.
pub trait Place: std::fmt::Debug + Send + 'static {
    /// The storage that the database reads and writes.
    type Backend: StorageBackend;

    /// Opens the storage, at first and again after an error. What was written and not synced may be lost by then.
    fn open(&mut self) -> Result<Self::Backend, Trouble>;

    /// Whether the storage is as this process has left it, or another program has written to it. An error if it is not
    /// at its place any more.
    fn look(&self) -> Result<Look, Trouble>;

    /// Notes that this process has written to the storage.
    fn leave(&mut self);
}

/// What a look at a storage shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The file is as this process has left it.
    Untouched,
    /// The file may have been changed.
    Touched,
}

/// A locked file.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// The one descriptor that has the lock, until the daemon ends.
    file: File,
    /// The size and the time of the last change, as this process has left them.
    left: Option<(u64, i64, i64)>,
}

/// A storage in a file.
#[derive(Debug)]
pub struct FileStorage(File);

impl StateFile {
    /// Opens and locks the file at `path`. If none exists, `fill` writes the first content of a new one, which appears
    /// under that path only when it is complete. Returns whether it is new.
    pub fn open(
        path: &Path,
        fill: impl FnOnce(FileStorage) -> Result<(), Trouble>,
    ) -> Result<(Self, bool), StateError> {
        let uid = nix::unistd::geteuid().as_raw();
        let directory = path.parent().unwrap_or(path);
        let is_new = match fs::symlink_metadata(path) {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(path, directory, uid, fill)?;
                true
            }
            Err(_) => return Err(StateError::Forbidden { what: "access", path: path.to_owned(), uid }),
        };
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path);
        let file = file.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ELOOP | Errno::EISDIR) => StateError::NotAFile(path.to_owned()),
            Some(Errno::EACCES | Errno::EPERM) => {
                StateError::Forbidden { what: "open", path: path.to_owned(), uid }
            }
            _ => StateError::Trouble { path: path.to_owned(), trouble: error.into() },
        })?;
        check(path, &file, uid)?;
        match file.try_lock() {
            Ok(()) => Ok((Self { path: path.to_owned(), file, left: None }, is_new)),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => {
                Err(StateError::Trouble { path: path.to_owned(), trouble: error.into() })
            }
        }
    }
}

/// Creates the file under another name and then moves it to `path`, so that a crash leaves no incomplete one there.
fn create(
    path: &Path,
    directory: &Path,
    uid: u32,
    fill: impl FnOnce(FileStorage) -> Result<(), Trouble>,
) -> Result<(), StateError> {
    let trouble = |trouble: Trouble| StateError::Trouble { path: path.to_owned(), trouble };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => StateError::NoDirectory(directory.to_owned()),
        io::ErrorKind::PermissionDenied => {
            StateError::Forbidden { what: "create a file in", path: directory.to_owned(), uid }
        }
        _ => trouble(error.into()),
    };
    let prefix = format!(".{}.new-", path.file_name().unwrap_or_default().to_string_lossy());
    remove_abandoned(directory, &prefix);
    // Created with mode 0600.
    let new = tempfile::Builder::new().prefix(&prefix).tempfile_in(directory).map_err(failed)?;
    fill(FileStorage(new.as_file().try_clone().map_err(failed)?)).map_err(trouble)?;
    new.as_file().sync_all().map_err(failed)?;
    // It does not replace a file that another process has created meanwhile; then that one is opened.
    if let Err(error) = new.persist_noclobber(path)
        && error.error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(failed(error.error));
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// Whether the directory for a file at `path` exists and this process can write to it.
pub fn check_directory(path: &Path) -> Result<(), StateError> {
    let directory = path.parent().unwrap_or(path);
    let uid = nix::unistd::geteuid().as_raw();
    match nix::unistd::access(directory, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Ok(()),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Err(StateError::NoDirectory(directory.to_owned())),
        Err(Errno::EROFS) => Err(StateError::Trouble { path: path.to_owned(), trouble: Trouble::ReadOnly }),
        Err(_) => Err(StateError::Forbidden { what: "create a file in", path: directory.to_owned(), uid }),
    }
}

/// Removes what an earlier start that was interrupted has left. That fails where a file is not ours, which then stays.
fn remove_abandoned(directory: &Path, prefix: &str) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        fs::remove_file(entry.path()).ok();
    }
}

/// Checks whose file it is and who can access it, and takes rights of the group away. Kubernetes grants these to the
/// group of a volume (`fsGroup`) each time that it mounts one.
fn check(path: &Path, file: &File, uid: u32) -> Result<(), StateError> {
    let path = || path.to_owned();
    let about =
        file.metadata().map_err(|error| StateError::Trouble { path: path(), trouble: error.into() })?;
    let mode = about.permissions().mode();
    if !about.is_file() {
        return Err(StateError::NotAFile(path()));
    }
    if about.uid() != uid {
        return Err(StateError::OfAnotherUser { path: path(), owner: about.uid(), uid });
    }
    if mode & 0o007 != 0 {
        return Err(StateError::Exposed(path()));
    }
    if about.len() == 0 {
        return Err(StateError::Unusable { path: path(), what: "empty" });
    }
    if mode & 0o070 != 0 {
        let private = fs::Permissions::from_mode(0o600);
        file.set_permissions(private)
            .map_err(|error| StateError::Trouble { path: path(), trouble: error.into() })?;
    }
    Ok(())
}

impl Place for StateFile {
    type Backend = FileStorage;

    fn open(&mut self) -> Result<FileStorage, Trouble> {
        // After a sync that failed, the kernel may hold pages in its cache that it counts as written and that are not
        // on the disk (https://lwn.net/Articles/752063/). Without these, what is read is what is there.
        posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).ok();
        Ok(FileStorage(self.file.try_clone()?))
    }

    fn look(&self) -> Result<Look, Trouble> {
        let at_path = fs::symlink_metadata(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Trouble::Replaced,
            _ => error.into(),
        })?;
        let ours = self.file.metadata()?;
        if (at_path.dev(), at_path.ino()) != (ours.dev(), ours.ino()) {
            return Err(Trouble::Replaced);
        }
        let is_untouched = self.left.is_none_or(|left| left == change(&ours));
        Ok(if is_untouched { Look::Untouched } else { Look::Touched })
    }

    fn leave(&mut self) {
        self.left = self.file.metadata().ok().map(|about| change(&about));
    }
}

fn change(about: &fs::Metadata) -> (u64, i64, i64) {
    (about.len(), about.mtime(), about.mtime_nsec())
}

/// Without locks, because [`StateFile`] has locked the file.
impl StorageBackend for FileStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

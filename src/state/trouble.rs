//! Why the state file cannot be used.

use std::io;
use std::path::PathBuf;

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use super::sealing::CryptoFailed;

/// Why the state file cannot be read or written now. No text quotes the operating system or a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// ENOSPC or EDQUOT.
    #[error("no space is left for it; free some, or raise the quota")]
    Full,
    /// EROFS.
    #[error("its file system is read-only")]
    ReadOnly,
    /// The path leads to another file, or to none.
    #[error(
        "it was removed or replaced; put the file back if it was moved, or restart the daemon to begin with what is there now"
    )]
    Replaced,
    /// Another program has written to the file.
    #[error(
        "another program has changed it, for example by restoring a copy; restart the daemon to begin with what is there now"
    )]
    Changed,
    /// The content is not what this program wrote.
    #[error("it is damaged")]
    Damaged,
    /// Any other error of the file system.
    #[error("reading or writing it fails: {0}")]
    Io(io::ErrorKind),
    /// No answer within the time that redemptions wait.
    #[error("its disk does not answer")]
    Hanging,
    /// The daemon is shutting down.
    #[error("it is closed, because the daemon is shutting down")]
    Closed,
    /// An error that is not known to happen.
    #[error("internal error in cloakroom; please report this")]
    Fault,
}

impl Trouble {
    /// Whether the file may be readable all the same.
    pub fn is_about_writing(self) -> bool {
        matches!(self, Self::Full | Self::ReadOnly)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            // As redb reports a file that is no database.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged,
            kind => Self::Io(kind),
        }
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => error.into(),
            StorageError::Corrupted(_) => Self::Damaged,
            _ => Self::Fault,
        }
    }
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            // A file format of another time, or a repair that failed.
            _ => Self::Damaged,
        }
    }
}

impl From<TransactionError> for Trouble {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            _ => Self::Fault,
        }
    }
}

impl From<TableError> for Trouble {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            // A table of another type, or none.
            _ => Self::Damaged,
        }
    }
}

impl From<CommitError> for Trouble {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            _ => Self::Fault,
        }
    }
}

impl From<CryptoFailed> for Trouble {
    fn from(CryptoFailed: CryptoFailed) -> Self {
        Self::Fault
    }
}

/// Why a daemon does not start with its state file. Each text names the file, and the fix.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory of the file does not exist.
    #[error(
        "state.path: the directory {} does not exist; create it for the daemon's user alone (StateDirectory= in a systemd \
         unit, or a volume)", .0.display()
    )]
    NoDirectory(PathBuf),
    /// The directory or the file cannot be used by this user.
    #[error("state.path: permission to {what} {} is denied to uid {uid}", path.display())]
    Forbidden {
        /// What is denied.
        what: &'static str,
        /// The directory or the file.
        path: PathBuf,
        /// The daemon's user.
        uid: u32,
    },
    /// Another process has locked the file.
    #[error("state.path: another daemon uses {}; each daemon needs a file of its own, and is to end before the next begins", .0.display())]
    InUse(PathBuf),
    /// A directory, a symbolic link, a device.
    #[error("state.path: {} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The file belongs to another user.
    #[error("state.path: {} belongs to uid {owner}, and the daemon runs as uid {uid}; give it to the daemon's user", path.display())]
    OfAnotherUser {
        /// The file.
        path: PathBuf,
        /// The file's owner.
        owner: u32,
        /// The daemon's user.
        uid: u32,
    },
    /// Every user can read or change the file.
    #[error("state.path: every user of this machine can access {}; set its mode to 0600", .0.display())]
    Exposed(PathBuf),
    /// The file has no content, or none that this program wrote.
    #[error(
        "state.path: {} is {what}; only if no better copy exists, move it away: users whose refresh tokens rotate then \
         have to log in again", path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Records are sealed with keys that `state.key_file` lacks.
    #[error(
        "state.key_file: {lacking} of {all} records in {} are sealed with a key that is not in the file; add that key as \
         a further line", path.display()
    )]
    KeyMissing {
        /// The file.
        path: PathBuf,
        /// How many cannot be opened.
        lacking: u64,
        /// How many there are.
        all: u64,
    },
    /// Records were written by a later version.
    #[error("state.path: a later version of cloakroom has written {}; use that version, or one after it", .0.display())]
    Newer(PathBuf),
    /// Anything that can also happen while the daemon runs.
    #[error("state.path: {} cannot be used: {trouble}", path.display())]
    Trouble {
        /// The file.
        path: PathBuf,
        /// What happened.
        trouble: Trouble,
    },
}

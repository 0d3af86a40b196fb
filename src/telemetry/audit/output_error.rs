//! Why the audit log's output cannot be used.

use std::io;
use std::path::PathBuf;

/// The reason why the audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Standard output cannot be used.
    #[error("audit.output is \"stdout\", which cannot be used: {0}")]
    Stdout(io::Error),
    /// The file cannot be opened.
    #[error("audit.output: {0} cannot be opened: {1}")]
    File(PathBuf, io::Error),
    /// The path is a symbolic link: a user who may replace the link would choose the file that is written.
    #[error("audit.output: {0} is a symbolic link: name the file itself")]
    Link(PathBuf),
    /// The path is a directory, a pipe or a device.
    #[error("audit.output: {0} is not a regular file: name one, or \"stdout\"")]
    Irregular(PathBuf),
    /// Every user may write to the file, and could forge lines.
    #[error(
        "audit.output: every user of this machine may write to {0}: remove that permission with chmod o-w"
    )]
    WritableByOthers(PathBuf),
    /// journald does not listen.
    #[error(
        "audit.output is \"journald\", but no journald listens at {0}: {1}; without systemd, as in most containers, \
         choose \"stdout\" or a file"
    )]
    Journal(PathBuf, io::Error),
    /// The thread that writes cannot be started.
    #[error("the audit log's thread cannot be started: {0}")]
    Thread(io::Error),
}

//! Where audit lines go, and why they cannot.

use std::io;
use std::path::PathBuf;

use crate::config::AuditOutput;
use crate::domain::freshness::Moment;

use super::journal::Journal;
use super::line::Line;
use super::stream::Stream;

/// Takes lines.
pub enum Output {
    /// Standard output or a file.
    Stream(Stream),
    /// journald.
    Journal(Journal),
}

impl Output {
    /// Opens it, so that what is wrong shows at the start.
    pub fn open(output: &AuditOutput) -> Result<Self, OutputError> {
        match output {
            AuditOutput::Stdout => Stream::stdout().map(Self::Stream),
            AuditOutput::File(path) => Stream::file(path).map(Self::Stream),
            AuditOutput::Journald(socket) => Journal::open(socket).map(Self::Journal),
        }
    }

    /// Writes lines in order, the first of them from `now`, and stops at the first that cannot be written. Returns
    /// how many were.
    pub fn write<'a>(
        &mut self,
        lines: impl Iterator<Item = Line<'a>>,
        now: Moment,
    ) -> (usize, io::Result<()>) {
        match self {
            Self::Stream(stream) => stream.write(lines, now),
            Self::Journal(journal) => journal.write(lines),
        }
    }
}

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Standard output.
    #[error("audit.output is \"stdout\", which cannot be used: {0}")]
    Stdout(io::Error),
    /// Opening the file.
    #[error("audit.output: {0} cannot be opened: {1}")]
    File(PathBuf, io::Error),
    /// Whoever may replace a link decides what is written to.
    #[error("audit.output: {0} is a symbolic link: name the file itself")]
    Link(PathBuf),
    /// A directory, a pipe, a device.
    #[error("audit.output: {0} is no regular file: name one, or \"stdout\"")]
    Irregular(PathBuf),
    /// Lines could be forged.
    #[error("audit.output: every user of this machine may write to {0}: take that away with chmod o-w")]
    WritableByOthers(PathBuf),
    /// journald.
    #[error(
        "audit.output is \"journald\", and there is none at {0}: {1}; without systemd, as in most containers, choose \
         \"stdout\" or a file"
    )]
    Journal(PathBuf, io::Error),
    /// The thread that writes.
    #[error("the audit log's thread cannot be started: {0}")]
    Thread(io::Error),
}

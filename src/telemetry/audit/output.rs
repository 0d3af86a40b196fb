//! The output of the audit log: standard output, a file, or journald.

use std::io;

use crate::config::AuditOutput;
use crate::domain::freshness::Moment;

use super::journal::Journal;
use super::line::AuditLine;
use super::output_error::OutputError;
use super::stream::Stream;

/// An open output.
pub enum Output {
    /// Standard output or a file.
    Stream(Stream),
    /// journald.
    Journal(Journal),
}

impl Output {
    /// Opens the configured output, so that an unusable one is reported at the start.
    pub fn open(output: &AuditOutput) -> Result<Self, OutputError> {
        match output {
            AuditOutput::Stdout => Stream::stdout().map(Self::Stream),
            AuditOutput::File(path) => Stream::file(path).map(Self::Stream),
            AuditOutput::Journald(socket) => Journal::open(socket).map(Self::Journal),
        }
    }

    /// Writes lines in order, and stops at the first that cannot be written. Returns how many were written. `now` is
    /// the moment of the first line.
    pub fn write<'a>(
        &mut self,
        lines: impl Iterator<Item = AuditLine<'a>>,
        now: Moment,
    ) -> (usize, io::Result<()>) {
        match self {
            Self::Stream(stream) => stream.write(lines, now),
            Self::Journal(journal) => journal.write(lines),
        }
    }
}

//! Writes audit lines as JSON, to standard output or to a file.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::domain::freshness::Moment;

use super::line::AuditLine;
use super::output_error::OutputError;
use crate::telemetry::writer::LineWriter;

/// How often the path is checked for a file that was moved away, as logrotate does.
const BETWEEN_CHECKS: Duration = Duration::from_secs(1);

/// Mode of a new file: only the daemon's user may read and write it.
const OWNER_ONLY: u32 = 0o600;

/// Standard output or an open file.
pub struct Stream {
    lines: LineWriter,
    /// `None` for standard output.
    file: Option<NamedFile>,
}

/// The path of the open file, and what is known of the file there.
struct NamedFile {
    path: PathBuf,
    /// When the path was last checked.
    checked: Option<Moment>,
    /// Whether the log says already that the file was moved and no new one can be opened.
    is_logged: bool,
}

impl Stream {
    /// Standard output, by a descriptor of its own. The standard library's handle has a lock and a buffer, by which the
    /// process would wait for a reader that does not read before it ends.
    pub fn stdout() -> Result<Self, OutputError> {
        let own = io::stdout().as_fd().try_clone_to_owned().map_err(OutputError::Stdout)?;
        Ok(Self::new(own.into(), None))
    }

    /// Opens the file at `path`, and creates it if it does not exist.
    pub fn file(path: &Path) -> Result<Self, OutputError> {
        let named = NamedFile { path: path.to_owned(), checked: None, is_logged: false };
        Ok(Self::new(open(path)?, Some(named)))
    }

    fn new(opened: File, file: Option<NamedFile>) -> Self {
        Self { lines: LineWriter::new(opened), file }
    }

    /// Writes lines in order; see [`super::output::Output::write`].
    pub fn write<'a>(
        &mut self,
        lines: impl Iterator<Item = AuditLine<'a>>,
        now: Moment,
    ) -> (usize, io::Result<()>) {
        self.follow(now);
        self.lines.write(lines.map(|line| {
            move |buffer: &mut Vec<u8>| {
                // Serialisation of `AuditLine` cannot fail: it is a struct of texts and numbers.
                if serde_json::to_writer(&mut *buffer, &line).is_ok() {
                    buffer.push(b'\n');
                }
            }
        }))
    }

    /// Opens a new file if the old one was moved away. Until that succeeds, lines go to the old one.
    fn follow(&mut self, now: Moment) {
        let Some(file) = &mut self.file else { return };
        if file.checked.is_some_and(|checked| checked.age(now) < BETWEEN_CHECKS) {
            return;
        }
        file.checked = Some(now);
        let here = self.lines.file.metadata();
        let there = fs::symlink_metadata(&file.path);
        if let (Ok(here), Ok(there)) = (here, there)
            && is_same(&here, &there)
        {
            file.is_logged = false;
            return;
        }
        match open(&file.path) {
            Ok(opened) => self.lines = LineWriter::new(opened),
            Err(why) if !file.is_logged => {
                file.is_logged = true;
                tracing::warn!(%why, "The audit log's file was moved, and a new one cannot be used; still writing to the old one");
            }
            Err(_) => {}
        }
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Opens a file to append to it. An existing file keeps its owner and mode, which a log rotation may choose.
fn open(path: &Path) -> Result<File, OutputError> {
    // O_NONBLOCK: opening a pipe that has no reader fails, where it would otherwise block.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.append(true).mode(OWNER_ONLY).custom_flags(flags.bits());
    let opened = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // The umask may have removed bits of the mode.
            let made = options.create_new(true).open(path);
            made.and_then(|file| file.set_permissions(Permissions::from_mode(OWNER_ONLY)).map(|()| file))
        }
        other => other,
    };
    let file = opened.map_err(|error| match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::ELOOP => OutputError::Link(path.to_owned()),
        Errno::EISDIR | Errno::ENXIO => OutputError::Irregular(path.to_owned()),
        _ => OutputError::File(path.to_owned(), error),
    })?;
    let about = file.metadata().map_err(|error| OutputError::File(path.to_owned(), error))?;
    if !about.is_file() {
        return Err(OutputError::Irregular(path.to_owned()));
    }
    if about.mode() & 0o002 != 0 {
        return Err(OutputError::WritableByOthers(path.to_owned()));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Read};
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::symlink;

    use serde_json::Value;

    use super::super::event::Event;
    use super::super::tests::{at, event, names};
    use super::*;

    impl Stream {
        pub fn of_pipe(pipe: PipeWriter) -> Self {
            Self::new(OwnedFd::from(pipe).into(), None)
        }
    }

    /// Writes a line for each request, at second `seconds`.
    fn put(stream: &mut Stream, seconds: u64, requests: &[&str]) -> (usize, io::Result<()>) {
        let events: Vec<Event> = requests.iter().map(|request| event(request)).collect();
        stream.write(events.iter().map(|event| AuditLine::new(event, &names(), 0)), at(seconds))
    }

    fn requests(path: &Path) -> Vec<String> {
        let line =
            |line| serde_json::from_str::<Value>(line).unwrap()["request_id"].as_str().unwrap().to_owned();
        fs::read_to_string(path).unwrap().lines().map(line).collect()
    }

    #[test]
    fn a_file_is_for_its_owner_and_added_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        put(&mut Stream::file(&path).unwrap(), 0, &["1", "2"]).1.unwrap();
        put(&mut Stream::file(&path).unwrap(), 0, &["3"]).1.unwrap();
        assert_eq!(requests(&path), ["1", "2", "3"]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        Stream::file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640, "as a log rotation has chosen");
    }

    #[test]
    fn a_file_that_is_moved_away_is_followed_by_a_new_one_within_a_second() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("audit.log"), directory.path().join("audit.log.1"));
        let mut stream = Stream::file(&path).unwrap();
        put(&mut stream, 10, &["1"]).1.unwrap();
        fs::rename(&path, &old).unwrap();
        put(&mut stream, 10, &["2"]).1.unwrap();
        put(&mut stream, 11, &["3"]).1.unwrap();
        assert_eq!((requests(&old), requests(&path)), (vec!["1".into(), "2".into()], vec!["3".to_owned()]));
        // copytruncate, the other way to rotate.
        fs::copy(&path, &old).unwrap();
        fs::write(&path, "").unwrap();
        put(&mut stream, 11, &["4"]).1.unwrap();
        assert_eq!(requests(&path), ["4"]);
        // The file at the path is checked as at the start.
        fs::rename(&path, &old).unwrap();
        symlink(directory.path().join("elsewhere"), &path).unwrap();
        put(&mut stream, 12, &["5"]).1.unwrap();
        assert!(!directory.path().join("elsewhere").exists());
        assert_eq!(requests(&old), ["4", "5"]);
        fs::remove_file(&path).unwrap();
        put(&mut stream, 13, &["6"]).1.unwrap();
        assert_eq!(requests(&path), ["6"]);
    }

    #[test]
    fn nothing_but_a_file_that_others_cannot_write_to_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let refusal = |path: &Path| Stream::file(path).err().unwrap();
        symlink(path("elsewhere"), path("link")).unwrap();
        assert!(matches!(refusal(&path("link")), OutputError::Link(_)));
        assert!(!path("elsewhere").exists());
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(refusal(&path("fifo")), OutputError::Irregular(_)), "without waiting for a reader");
        let _reader =
            OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path("fifo")).unwrap();
        assert!(matches!(refusal(&path("fifo")), OutputError::Irregular(_)));
        for other in [directory.path(), Path::new("/dev/null")] {
            assert!(matches!(refusal(other), OutputError::Irregular(_)), "{}", other.display());
        }
        fs::write(path("open"), "").unwrap();
        fs::set_permissions(path("open"), PermissionsExt::from_mode(0o646)).unwrap();
        assert!(matches!(refusal(&path("open")), OutputError::WritableByOthers(_)));
        assert!(matches!(refusal(&path("absent/audit.log")), OutputError::File(..)));
    }

    #[test]
    fn a_full_disk_shows_in_the_count() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (written, outcome) = put(&mut Stream::new(full, None), 0, &["1", "2"]);
        assert_eq!((written, outcome.unwrap_err().kind()), (0, ErrorKind::StorageFull));
    }

    /// Here the reader goes away in the middle; a disk that becomes full does the same.
    #[test]
    fn a_line_that_was_cut_short_does_not_spoil_the_next() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let mut stream = Stream::of_pipe(pipe);
        let many: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let reading = std::thread::spawn(move || reader.read_exact(&mut [0; 100]).unwrap());
        let (written, outcome) = put(&mut stream, 0, &many);
        reading.join().unwrap();
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(0 < written && written < 1000 && stream.lines.is_midway);

        let (mut reader, pipe) = io::pipe().unwrap();
        stream.lines.file = OwnedFd::from(pipe).into();
        assert_eq!(put(&mut stream, 0, &["next"]).0, 1);
        drop(stream);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("\n{") && text.ends_with("}\n"), "{text}");
    }
}

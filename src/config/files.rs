//! Files that the configuration names. Each way of not being readable has its own sentence.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::problem::{Cause, Wrong};

/// What is in a file.
pub(super) struct Content {
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// What others may do with it.
    pub(super) exposure: Option<Exposure>,
}

/// What others than its owner may do with a file, beyond what a secret can bear: its group may read it, and nobody
/// else anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exposure {
    /// They may change it; else everybody may read it.
    is_writable: bool,
    mounted: Mounted,
}

/// Who has put a file where it is. What keeps others from one that is mounted into a container is that they are in
/// other containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mounted {
    /// Users and programs of this machine.
    Not,
    /// Kubernetes.
    ByKubernetes,
    /// Compose, Docker or Podman, as a secret of this container alone.
    IntoContainer,
}

impl Exposure {
    /// Whether it can be no more than a warning. Compose heeds no mode: it is that of a file on the host.
    pub(super) fn is_bearable(self) -> bool {
        match self.mounted {
            Mounted::Not => false,
            Mounted::ByKubernetes => true,
            Mounted::IntoContainer => !self.is_writable,
        }
    }

    /// What is wrong, and what would be right.
    pub(super) fn of(self, file: &str) -> String {
        let who = match (self.is_writable, self.mounted) {
            (true, _) => "users other than its owner can change",
            (false, Mounted::ByKubernetes | Mounted::IntoContainer) => {
                "every process in this container can read"
            }
            (false, Mounted::Not) => "every user of this machine can read",
        };
        let fix = match self.mounted {
            Mounted::ByKubernetes => "; set defaultMode of its volume to 0400, or to 0440 with fsGroup",
            Mounted::IntoContainer => {
                "; on the host, make it owned by this container's user with mode 0400, or close its directory to \
                 other users"
            }
            Mounted::Not => "; set its mode to 0400 or 0440, or mount it with that mode",
        };
        format!("{who} {file}{fix}")
    }
}

/// Why a file cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("file not found")]
    Absent,
    #[error("the file cannot be read: permission denied to uid {0}")]
    Forbidden(nix::unistd::Uid),
    #[error("is a directory, not a file")]
    Directory,
    /// A pipe among others: opening one would wait until somebody writes.
    #[error("is not a regular file")]
    Irregular,
    #[error("the file is larger than {0} KiB")]
    TooLarge(u64),
    #[error("the file cannot be read: no file descriptor is left")]
    NoDescriptors,
    #[error("the file cannot be read: {0}")]
    Other(ErrorKind),
}

impl From<Unusable> for Wrong {
    fn from(unusable: Unusable) -> Self {
        let cause = match unusable {
            Unusable::Forbidden(_) => Cause::PermissionDenied,
            _ => Cause::Configuration,
        };
        Self { text: unusable.to_string(), cause }
    }
}

/// Reads a regular file of at most `limit_kib` KiB.
pub(super) fn read(path: &Path, limit_kib: u64) -> Result<Content, Unusable> {
    let about = fs::metadata(path).map_err(|error| unusable(&error))?;
    if about.is_dir() {
        return Err(Unusable::Directory);
    }
    if !about.is_file() {
        return Err(Unusable::Irregular);
    }
    let limit = limit_kib.saturating_mul(1024);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unusable(&error))?;
    // One byte more than allowed tells a file that is too large from one that just fits.
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    let length = read.map_err(|error| unusable(&error))?;
    if u64::try_from(length).is_ok_and(|length| length <= limit) {
        Ok(Content { bytes, exposure: exposure(path, about.permissions().mode()) })
    } else {
        Err(Unusable::TooLarge(limit_kib))
    }
}

fn exposure(path: &Path, mode: u32) -> Option<Exposure> {
    const OTHERS_READ: u32 = 0o004;
    const OTHERS_WRITE: u32 = 0o022;

    (mode & (OTHERS_READ | OTHERS_WRITE) != 0)
        .then(|| Exposure { is_writable: mode & OTHERS_WRITE != 0, mounted: mounted(path) })
}

fn mounted(path: &Path) -> Mounted {
    let is_secret = || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let is_container = CONTAINER_MARKS.iter().any(|mark| Path::new(mark).exists());
        path.canonicalize().is_ok_and(|path| is_mounted_secret(&path, &mounts, is_container))
    };
    match is_kubernetes(path) {
        true => Mounted::ByKubernetes,
        false if is_secret() => Mounted::IntoContainer,
        false => Mounted::Not,
    }
}

/// What Docker and Podman put into a container.
const CONTAINER_MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// Where Compose, Docker and Podman mount secrets.
const SECRETS: &str = "/run/secrets";

/// Whether `path` is a secret that has been mounted into a container: below `/run/secrets`, on a mount of its own or
/// of that directory.
fn is_mounted_secret(path: &Path, mounts: &str, is_container: bool) -> bool {
    // The fifth field is where (proc_pid_mountinfo(5)).
    let mut places = mounts.lines().filter_map(|line| line.split(' ').nth(4).map(Path::new));
    is_container
        && path.starts_with(SECRETS)
        && path != Path::new(SECRETS)
        && places.any(|place| place == path || place == Path::new(SECRETS))
}

/// Whether the file is in a volume of Kubernetes' making: a link through another one, `..data`, which is moved to a new
/// directory when the content changes, all of it in memory. Its mode is the pod's business, and often 0644.
fn is_kubernetes(path: &Path) -> bool {
    let through = fs::read_link(path).is_ok_and(|target| target.starts_with("..data"));
    let swapped = path.parent().is_some_and(|parent| parent.join("..data").is_symlink());
    through && swapped && statfs(path).is_ok_and(|about| about.filesystem_type() == TMPFS_MAGIC)
}

fn unusable(error: &io::Error) -> Unusable {
    if let Some(Errno::EMFILE | Errno::ENFILE) = error.raw_os_error().map(Errno::from_raw) {
        return Unusable::NoDescriptors;
    }
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Unusable::Absent,
        ErrorKind::PermissionDenied => Unusable::Forbidden(nix::unistd::geteuid()),
        other => Unusable::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_just_fits_is_read_and_one_byte_more_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let outcome = |size: usize| {
            fs::write(&path, vec![b'x'; size]).unwrap();
            read(&path, 1).map(|content| content.bytes.len())
        };
        assert_eq!(outcome(1024), Ok(1024));
        assert_eq!(outcome(1025), Err(Unusable::TooLarge(1)));
        assert_eq!(read(dir.path(), 1).err(), Some(Unusable::Directory));
        assert_eq!(read(&path.join("below"), 1).err(), Some(Unusable::Absent));
        assert_eq!(read(Path::new("/dev/null"), 1).err(), Some(Unusable::Irregular));
    }

    #[test]
    fn a_secret_that_was_mounted_is_told_from_any_other_file() {
        let root = "600 500 0:50 / / ro,relatime - overlay overlay rw\n";
        let secret = "610 600 8:1 /home/x/secret /run/secrets/client_secret ro - ext4 /dev/sda1 rw\n";
        let swarm = "610 600 0:60 / /run/secrets ro,relatime - tmpfs tmpfs ro\n";
        let is = |path: &str, mounts: &[&str]| is_mounted_secret(Path::new(path), &mounts.concat(), true);
        let path = "/run/secrets/client_secret";
        assert!(is(path, &[root, secret]) && is(path, &[root, swarm]));
        assert!(!is(path, &[root]), "a part of the image");
        assert!(!is_mounted_secret(Path::new(path), &[root, secret].concat(), false), "no container");
        assert!(!is("/run/secrets/other", &[root, secret]));
        assert!(!is("/etc/cloakroom/secret", &[root, "6 5 8:1 / /etc/cloakroom/secret ro - ext4 x rw\n"]));
        assert!(!is("/run/secrets", &[root, swarm]) && !is(path, &["\n - \n1 2 3\n"]));
    }
}

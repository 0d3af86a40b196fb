//! Reads the files that the configuration names, and judges their permissions.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::problem::{Cause, Wrong};

/// The content of a file, and its permissions.
pub(super) struct Content {
    /// The whole content.
    pub(super) bytes: Vec<u8>,
    /// Set if other users can do more with the file than a secret allows.
    pub(super) exposure: Option<Exposure>,
}

/// The permissions of a file that are too open for a secret, which its owner and its group may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exposure {
    /// Users other than the owner can change the file; otherwise every user can read it.
    is_writable: bool,
    mounted: Mounted,
}

/// The program that mounted a file, if any. A file that is mounted into a container is out of reach for processes in
/// other containers, whatever its mode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mounted {
    /// The file lies on this machine's file system.
    Not,
    /// Kubernetes mounted it.
    ByKubernetes,
    /// Compose, Docker or Podman mounted it as a secret of this container.
    IntoContainer,
}

impl Exposure {
    /// Whether this is a warning and not an error. Compose takes no mode: a secret has that of the file on the host.
    pub(super) fn is_only_a_warning(self) -> bool {
        match self.mounted {
            Mounted::Not => false,
            Mounted::ByKubernetes => true,
            Mounted::IntoContainer => !self.is_writable,
        }
    }

    /// What is wrong with the permissions of `file`, and how to fix it.
    pub(super) fn describe(self, file: &str) -> String {
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

/// Why a file cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    #[error("file not found")]
    Absent,
    #[error("the file cannot be read: permission denied to uid {0}")]
    Forbidden(nix::unistd::Uid),
    #[error("is a directory, not a file")]
    Directory,
    /// For example a pipe, which would block until a process opens it for writing.
    #[error("is not a regular file")]
    Irregular,
    #[error("the file is larger than {0} KiB")]
    TooLarge(u64),
    #[error("the file cannot be read: no file descriptor is left")]
    NoDescriptors,
    #[error("the file cannot be read: {0}")]
    Other(ErrorKind),
}

impl From<ReadError> for Wrong {
    fn from(error: ReadError) -> Self {
        let cause = match error {
            ReadError::Forbidden(_) => Cause::PermissionDenied,
            _ => Cause::Configuration,
        };
        Self { text: error.to_string(), cause }
    }
}

/// Reads a regular file of at most `limit_kib` KiB.
pub(super) fn read(path: &Path, limit_kib: u64) -> Result<Content, ReadError> {
    let about = fs::metadata(path).map_err(|error| read_error(&error))?;
    if about.is_dir() {
        return Err(ReadError::Directory);
    }
    if !about.is_file() {
        return Err(ReadError::Irregular);
    }
    let limit = limit_kib.saturating_mul(1024);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| read_error(&error))?;
    // One byte more than the limit distinguishes a file that is too large from one that just fits.
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    let length = read.map_err(|error| read_error(&error))?;
    if u64::try_from(length).is_ok_and(|length| length <= limit) {
        Ok(Content { bytes, exposure: exposure(path, about.permissions().mode()) })
    } else {
        Err(ReadError::TooLarge(limit_kib))
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

/// Files that Docker and Podman create in every container.
const CONTAINER_MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// The directory into which Compose, Docker and Podman mount secrets.
const SECRETS: &str = "/run/secrets";

/// Whether `path` is a secret that was mounted into a container: below `/run/secrets`, on a mount of its own or on
/// one of that directory.
fn is_mounted_secret(path: &Path, mounts: &str, is_container: bool) -> bool {
    // The fifth field is the mount point (proc_pid_mountinfo(5)).
    let mut mount_points = mounts.lines().filter_map(|line| line.split(' ').nth(4).map(Path::new));
    is_container
        && path.starts_with(SECRETS)
        && path != Path::new(SECRETS)
        && mount_points.any(|mounted| mounted == path || mounted == Path::new(SECRETS))
}

/// Whether Kubernetes created the file's volume: the file is a link through another link, `..data`, which the kubelet
/// moves to a new directory when the content changes, and all of it is in memory. The pod sets the mode, often to
/// 0644.
fn is_kubernetes(path: &Path) -> bool {
    let through = fs::read_link(path).is_ok_and(|target| target.starts_with("..data"));
    let swapped = path.parent().is_some_and(|parent| parent.join("..data").is_symlink());
    through && swapped && statfs(path).is_ok_and(|about| about.filesystem_type() == TMPFS_MAGIC)
}

fn read_error(error: &io::Error) -> ReadError {
    if let Some(Errno::EMFILE | Errno::ENFILE) = error.raw_os_error().map(Errno::from_raw) {
        return ReadError::NoDescriptors;
    }
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => ReadError::Absent,
        ErrorKind::PermissionDenied => ReadError::Forbidden(nix::unistd::geteuid()),
        other => ReadError::Other(other),
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
        assert_eq!(outcome(1025), Err(ReadError::TooLarge(1)));
        assert_eq!(read(dir.path(), 1).err(), Some(ReadError::Directory));
        assert_eq!(read(&path.join("below"), 1).err(), Some(ReadError::Absent));
        assert_eq!(read(Path::new("/dev/null"), 1).err(), Some(ReadError::Irregular));
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

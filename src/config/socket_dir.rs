//! Whether another user could replace a socket, because of who may write to the directories above it.
//!
//! A user that may write to a directory can rename or remove what is in it, and bind a socket of its own in that place.
//! Callers would then connect to that socket: it could answer with tokens of its choosing, and receive what callers
//! send. This is a warning and never an error: a volume that containers share (Kubernetes' `emptyDir`) is writable by
//! every user, and whether its other users mount it read-only cannot be seen from here.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const OTHERS_MAY_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// How another user could put a socket in the place of the daemon's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Risk {
    /// Every user can rename the socket or a directory above it.
    AnyUserCanReplace,
    /// Every user can create the socket before the daemon does. The sticky bit protects it from then on.
    AnyUserCanCreate,
    /// A directory above the socket belongs to another user, in a directory in which every user can create one.
    OwnedByAnother,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnyUserCanReplace => {
                "every user of this machine can write to its directory or to one above it, and so replace the socket; \
                 remove that permission (chmod o-w), or let callers mount the volume read-only, with which they can \
                 still connect"
            }
            Self::AnyUserCanCreate => {
                "every user of this machine can write to its directory, and so create a socket there before the daemon \
                 does; use a directory of its own for the socket"
            }
            Self::OwnedByAnother => {
                "its directory, or one above it, belongs to another user, who can replace the socket; remove it, or \
                 choose another path"
            }
        })
    }
}

/// The risk for a socket at `path`. `trusted` are the uids whose directories are no risk; root's never are.
pub(super) fn risk(path: &Path, trusted: &[u32]) -> Option<Risk> {
    // Where a link leads, other users may be able to write, too.
    let real = path.ancestors().skip(1).find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    let real = real.and_then(|(above, real)| Some(real.join(path.strip_prefix(above).ok()?)));
    let places = [Some(path), real.as_deref()];
    places.into_iter().flatten().find_map(|path| risk_above(path, trusted))
}

/// Looks at each directory from the socket upwards. A user that can rename a directory can put another in its place,
/// with another socket in it.
fn risk_above(path: &Path, trusted: &[u32]) -> Option<Risk> {
    path.ancestors().zip(path.ancestors().skip(1)).find_map(|(name, directory)| {
        // A directory that does not exist yet is created by the daemon, and not writable by others.
        let writable = fs::metadata(directory).ok().filter(|meta| mode(meta) & OTHERS_MAY_WRITE != 0)?;
        let sticky = mode(&writable) & STICKY != 0;
        let trusted = |meta: &Metadata| meta.uid() == 0 || trusted.contains(&meta.uid());
        match fs::symlink_metadata(name) {
            _ if !sticky => Some(Risk::AnyUserCanReplace),
            // Between the end of one daemon and the start of the next, the socket does not exist.
            _ if name == path => Some(Risk::AnyUserCanCreate),
            Ok(meta) if !trusted(&meta) => Some(Risk::OwnedByAnother),
            Ok(_) | Err(_) => None,
        }
    })
}

fn mode(meta: &Metadata) -> u32 {
    meta.permissions().mode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};
    use std::path::PathBuf;

    /// Creates a directory of this mode in one that only its owner can write to.
    fn directory(root: &Path, name: &str, mode: u32) -> PathBuf {
        let path = root.join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_risk_depends_on_who_can_rename_the_socket_or_what_is_above_it() {
        let own = nix::unistd::geteuid().as_raw();
        let risk_of = |path: &Path| risk(path, &[own]);
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let safe = directory(root, "safe", 0o2775);
        assert_eq!(risk_of(&safe.join("s")), None);
        assert_eq!(risk_of(&safe.join("not/yet/s")), None);
        let volume = directory(root, "volume", 0o2777);
        assert_eq!(risk_of(&volume.join("s")), Some(Risk::AnyUserCanReplace));
        let below = directory(&volume, "below", 0o700);
        assert_eq!(risk_of(&below.join("s")), Some(Risk::AnyUserCanReplace), "`below` can be renamed by all");
        let shared = directory(root, "shared", 0o1777);
        assert_eq!(risk_of(&shared.join("s")), Some(Risk::AnyUserCanCreate));
        assert_eq!(risk_of(&shared.join("not-yet/s")), None, "the daemon creates it, or says why not");
        let ours = directory(&shared, "own", 0o755);
        assert_eq!(risk_of(&ours.join("s")), None);
        // What counts is where the socket really is.
        symlink(&volume, safe.join("link")).unwrap();
        assert_eq!(risk_of(&safe.join("link/s")), Some(Risk::AnyUserCanReplace));
        if nix::unistd::geteuid().is_root() {
            chown(&ours, Some(1234), None).unwrap();
            assert_eq!(risk_of(&ours.join("s")), Some(Risk::OwnedByAnother));
            assert_eq!(risk(&ours.join("s"), &[1234]), None, "listener.owner, for example");
            symlink(&safe, shared.join("link")).unwrap();
            std::os::unix::fs::lchown(shared.join("link"), Some(1234), None).unwrap();
            assert_eq!(
                risk_of(&shared.join("link/s")),
                Some(Risk::OwnedByAnother),
                "a link has an owner, too"
            );
        }
    }
}

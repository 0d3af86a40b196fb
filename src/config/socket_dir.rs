//! Who else may put a socket where the daemon's is to be.
//!
//! Whoever may write to a directory may take a name out of it and give that name to something of its own. Callers
//! would then ask it instead of the daemon: it could answer with tokens of its choosing, and be handed whatever they
//! send. Said, never refused: a volume that containers share (Kubernetes' `emptyDir`) is writable by everybody, and
//! whether its other users mount it read-only cannot be seen from here.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const OTHERS_MAY_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// What is wrong with the place of a socket at `path`, in a daemon's words to its operator. `trusted` are the uids that
/// may do as they like there; root's is one of them anyhow.
pub(super) fn risk(path: &Path, trusted: &[u32]) -> Option<&'static str> {
    // A link on the way leads elsewhere, and there others may write, too.
    let real = path.ancestors().skip(1).find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    let real = real.and_then(|(above, real)| Some(real.join(path.strip_prefix(above).ok()?)));
    let places = [Some(path), real.as_deref()];
    places.into_iter().flatten().find_map(|path| on_the_way(path, trusted))
}

/// From the socket upwards: who may take a directory's name may put another in its place, with another socket in it.
fn on_the_way(path: &Path, trusted: &[u32]) -> Option<&'static str> {
    path.ancestors().zip(path.ancestors().skip(1)).find_map(|(name, directory)| {
        // What is not there yet is made by the daemon, and not writable by others.
        let writable = fs::metadata(directory).ok().filter(|meta| mode(meta) & OTHERS_MAY_WRITE != 0)?;
        let sticky = mode(&writable) & STICKY != 0;
        let ours = |meta: &Metadata| meta.uid() == 0 || trusted.contains(&meta.uid());
        match fs::symlink_metadata(name) {
            _ if !sticky => Some(
                "every user of this machine may write to its directory or to one above it, and so put another socket in \
                 its place: take that right away (chmod o-w), or let callers mount the volume read-only, which connecting \
                 does not mind",
            ),
            // The socket itself is away between two daemons.
            _ if name == path => Some(
                "every user of this machine may write to its directory, and so be there before the daemon is: give it a \
                 directory of its own",
            ),
            Ok(meta) if !ours(&meta) => Some(
                "its directory, or one above it, is somebody else's who put it where everybody may, and who may put \
                 another socket in its place: remove it, or choose another path",
            ),
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

    /// A directory of this mode in one that is nobody else's business.
    fn directory(root: &Path, name: &str, mode: u32) -> PathBuf {
        let path = root.join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    }

    fn said(path: &Path) -> &'static str {
        let own = nix::unistd::geteuid().as_raw();
        risk(path, &[own]).map_or("", |text| text.split(", ").next().unwrap())
    }

    const ANYBODY: &str = "every user of this machine may write to its directory or to one above it";
    const FIRST_COME: &str = "every user of this machine may write to its directory";
    const SOMEBODY: &str = "its directory";

    #[test]
    fn places_are_told_apart_by_who_may_take_the_sockets_name() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let safe = directory(root, "safe", 0o2775);
        assert_eq!(said(&safe.join("s")), "");
        assert_eq!(said(&safe.join("not/yet/s")), "");
        let volume = directory(root, "volume", 0o2777);
        assert_eq!(said(&volume.join("s")), ANYBODY);
        let below = directory(&volume, "below", 0o700);
        assert_eq!(said(&below.join("s")), ANYBODY, "it can be renamed, whoever it belongs to");
        let shared = directory(root, "shared", 0o1777);
        assert_eq!(said(&shared.join("s")), FIRST_COME);
        assert_eq!(said(&shared.join("not-yet/s")), "", "the daemon makes it, or says why not");
        let own = directory(&shared, "own", 0o755);
        assert_eq!(said(&own.join("s")), "");
        // What counts is where the socket really is.
        symlink(&volume, safe.join("link")).unwrap();
        assert_eq!(said(&safe.join("link/s")), ANYBODY);
        if nix::unistd::geteuid().is_root() {
            chown(&own, Some(1234), None).unwrap();
            assert_eq!(said(&own.join("s")), SOMEBODY);
            assert_eq!(risk(&own.join("s"), &[1234]), None, "listener.owner, for example");
            symlink(&safe, shared.join("link")).unwrap();
            std::os::unix::fs::lchown(shared.join("link"), Some(1234), None).unwrap();
            assert_eq!(said(&shared.join("link/s")), SOMEBODY, "a link is whoever's it is");
        }
    }
}

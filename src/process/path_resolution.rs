//! Resolves a file's path: which symbolic links it follows, and which directories may be replaced as a whole.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// How many links the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The current resolution of a file's path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedPath {
    /// Every followed link: the directory that contains it, and its name there.
    pub links: Vec<(PathBuf, OsString)>,
    /// Directories that may be replaced as a whole: the targets of links, and the file's directory if it is a mount
    /// point.
    pub replaceable: Vec<PathBuf>,
}

impl ResolvedPath {
    /// Resolves `file`, which need not exist.
    pub fn of(file: &Path) -> Self {
        let mut resolved = Self::default();
        let mut left: VecDeque<OsString> = names(file);
        let mut at = PathBuf::from("/");
        while let Some(name) = left.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let path = at.join(&name);
            match fs::read_link(&path) {
                Ok(target) if resolved.links.len() < MOST_LINKS => {
                    let directory =
                        path.canonicalize().ok().filter(|path| path.is_dir() && !is_systems(path));
                    if let Some(directory) = directory {
                        resolved.replaceable.push(directory);
                    }
                    resolved.links.push((at.clone(), name));
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    names(&target).into_iter().rev().for_each(|name| left.push_front(name));
                }
                Ok(_) | Err(_) => at = path,
            }
        }
        let directory = at.parent().filter(|directory| is_mount(directory));
        // Kubernetes replaces the content of a volume by a link within it, never the mount itself.
        if let Some(directory) = directory.filter(|directory| !directory.join("..data").is_symlink()) {
            resolved.replaceable.push(directory.to_owned());
        }
        resolved
    }

    /// The parents of replaceable directories, where a replacement appears: `/run/s.d` for `/run/s.d/1`. Parents that
    /// are shared with other programs, such as `/run`, are left out, because access to them would be too broad.
    pub fn replacement_parents(&self) -> impl Iterator<Item = &Path> {
        self.replaceable.iter().filter_map(|directory| directory.parent()).filter(|parent| is_narrow(parent))
    }

    /// The first directory whose replacement a sandboxed daemon could not read.
    pub fn unreadable_if_replaced(&self) -> Option<&Path> {
        let is_unreadable = |directory: &&PathBuf| !directory.parent().is_some_and(is_narrow);
        self.replaceable.iter().find(is_unreadable).map(PathBuf::as_path)
    }
}

/// Returns whether a rule for `directory` exposes little: it is not `/`, not a directory directly below `/`, `/var` or
/// `/home`, such as `/var/lib`, which other programs share. `/etc` is readable in any case.
fn is_narrow(directory: &Path) -> bool {
    let shared = ["/var", "/home"].iter().any(|above| directory.parent() == Some(Path::new(above)));
    (directory.components().count() > 2 && !shared) || directory == Path::new("/etc")
}

/// Returns whether `directory` is a target of the system's own links, such as `/var/run`. The system does not replace
/// it while it runs.
fn is_systems(directory: &Path) -> bool {
    directory == Path::new("/run") || directory.starts_with("/usr")
}

/// Returns whether `directory` is a mount point. A bind mount of the same file system is not detected.
fn is_mount(directory: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|about| about.dev()).ok();
    let devices = directory.parent().and_then(|above| Some((device(directory)?, device(above)?)));
    devices.is_some_and(|(own, above)| own != above)
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_of_a_path_is_found_with_its_target() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let path = |name: &str| root.join(name);
        for name in ["s.d/1", "other", "plain"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        fs::write(path("other/file"), "x").unwrap();
        symlink("s.d/1", path("s")).unwrap();
        symlink(path("other/file"), path("s.d/1/secret")).unwrap();
        let resolved = ResolvedPath::of(&path("s/secret"));
        let link = |directory: PathBuf, name: &str| (directory, OsString::from(name));
        assert_eq!(resolved.links, [link(root.clone(), "s"), link(path("s.d/1"), "secret")]);
        assert_eq!(resolved.replaceable, [path("s.d/1")]);
        assert_eq!(resolved.replacement_parents().collect::<Vec<_>>(), [path("s.d")]);
        assert_eq!(resolved.unreadable_if_replaced(), None);
        assert_eq!(ResolvedPath::of(&path("s/../../plain/none")).replaceable, [path("s.d/1")]);
        assert_eq!(ResolvedPath::of(&path("plain/none")), ResolvedPath::default());
        symlink("loop", path("loop")).unwrap();
        assert_eq!(ResolvedPath::of(&path("loop/x")).links.len(), MOST_LINKS);
    }

    #[test]
    fn shared_directories_such_as_run_are_too_broad() {
        for wide in ["/run/s-1", "/var/lib/s", "/var/s", "/home/ops/s"] {
            let resolved =
                ResolvedPath { links: Vec::new(), replaceable: vec![wide.into(), "/run/s.d/1".into()] };
            assert_eq!(resolved.replacement_parents().collect::<Vec<_>>(), [Path::new("/run/s.d")]);
            assert_eq!(resolved.unreadable_if_replaced(), Some(Path::new(wide)));
        }
    }

    /// Kubernetes mounts its own secrets below `/var/run`, which is a link to `/run` nearly everywhere.
    #[test]
    fn targets_of_the_systems_own_links_are_not_replaceable() {
        let root = tempfile::tempdir().unwrap();
        for (link, target) in [("run", "/run"), ("lib", "/usr/lib")] {
            symlink(target, root.path().join(link)).unwrap();
            let resolved = ResolvedPath::of(&root.path().join(link).join("secrets/auth0"));
            assert_eq!((resolved.links.len(), resolved.unreadable_if_replaced()), (1, None), "{link}");
        }
    }
}

//! What a file's path leads through: symbolic links, and directories that may be replaced as a whole.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The way to a file, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Each link on the way: the directory that it lies in, and its name there.
    pub links: Vec<(PathBuf, OsString)>,
    /// DirectoryWatch that may be replaced as a whole: those that a link leads to, and one that is a mount of its own.
    pub replaceable: Vec<PathBuf>,
}

impl Way {
    /// The way to `file`, which need not be there.
    pub fn to(file: &Path) -> Self {
        let mut way = Self::default();
        let mut left: VecDeque<OsString> = names(file);
        let mut at = PathBuf::from("/");
        while let Some(name) = left.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let path = at.join(&name);
            match fs::read_link(&path) {
                Ok(target) if way.links.len() < MOST_LINKS => {
                    let directory =
                        path.canonicalize().ok().filter(|path| path.is_dir() && !is_systems(path));
                    if let Some(directory) = directory {
                        way.replaceable.push(directory);
                    }
                    way.links.push((at.clone(), name));
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    names(&target).into_iter().rev().for_each(|name| left.push_front(name));
                }
                Ok(_) | Err(_) => at = path,
            }
        }
        let directory = at.parent().filter(|directory| is_mount(directory));
        // Kubernetes replaces what is in its volumes by a link within them, never the mount.
        if let Some(directory) = directory.filter(|directory| !directory.join("..data").is_symlink()) {
            way.replaceable.push(directory.to_owned());
        }
        way
    }

    /// The directories that replacements of those that may be replaced lie in, as far as that can be said of a directory
    /// that other users do not share: of `/run/s.d/1` it is `/run/s.d`. Reading all of `/run` would be too much for that.
    pub fn around(&self) -> impl Iterator<Item = &Path> {
        self.replaceable.iter().filter_map(|directory| directory.parent()).filter(|around| is_narrow(around))
    }

    /// The first directory whose replacement a sandboxed daemon could not read.
    pub fn lost(&self) -> Option<&Path> {
        let is_lost = |directory: &&PathBuf| !directory.parent().is_some_and(is_narrow);
        self.replaceable.iter().find(is_lost).map(PathBuf::as_path)
    }
}

/// Neither `/` nor what lies directly in it, nor a part of `/var` or `/home`, such as `/var/lib`, where much of others is.
/// `/etc` may be read anyhow.
fn is_narrow(directory: &Path) -> bool {
    let shared = ["/var", "/home"].iter().any(|above| directory.parent() == Some(Path::new(above)));
    (directory.components().count() > 2 && !shared) || directory == Path::new("/etc")
}

/// Where the system's own links lead, as `/var/run` does: these are not replaced while it runs.
fn is_systems(directory: &Path) -> bool {
    directory == Path::new("/run") || directory.starts_with("/usr")
}

/// A bind mount of the same file system is not seen.
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
    fn every_link_on_the_way_is_found_and_what_it_leads_to() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let path = |name: &str| root.join(name);
        for name in ["s.d/1", "other", "plain"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        fs::write(path("other/file"), "x").unwrap();
        symlink("s.d/1", path("s")).unwrap();
        symlink(path("other/file"), path("s.d/1/secret")).unwrap();
        let way = Way::to(&path("s/secret"));
        let link = |directory: PathBuf, name: &str| (directory, OsString::from(name));
        assert_eq!(way.links, [link(root.clone(), "s"), link(path("s.d/1"), "secret")]);
        assert_eq!(way.replaceable, [path("s.d/1")]);
        assert_eq!(way.around().collect::<Vec<_>>(), [path("s.d")]);
        assert_eq!(way.lost(), None);
        assert_eq!(Way::to(&path("s/../../plain/none")).replaceable, [path("s.d/1")]);
        assert_eq!(Way::to(&path("plain/none")), Way::default());
        symlink("loop", path("loop")).unwrap();
        assert_eq!(Way::to(&path("loop/x")).links.len(), MOST_LINKS);
    }

    #[test]
    fn all_of_run_or_of_what_others_keep_is_too_much() {
        for wide in ["/run/s-1", "/var/lib/s", "/var/s", "/home/ops/s"] {
            let way = Way { links: Vec::new(), replaceable: vec![wide.into(), "/run/s.d/1".into()] };
            assert_eq!(way.around().collect::<Vec<_>>(), [Path::new("/run/s.d")]);
            assert_eq!(way.lost(), Some(Path::new(wide)));
        }
    }

    /// Kubernetes mounts its own secrets below `/var/run`, which is a link to `/run` nearly everywhere.
    #[test]
    fn the_systems_own_links_are_no_sign_of_a_directory_that_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        for (link, target) in [("run", "/run"), ("lib", "/usr/lib")] {
            symlink(target, root.path().join(link)).unwrap();
            let way = Way::to(&root.path().join(link).join("secrets/auth0"));
            assert_eq!((way.links.len(), way.lost()), (1, None), "{link}");
        }
    }
}

//! Watches the paths of files by inotify(7): the directories that contain a file, and the links in its path.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;

use super::path_resolution::ResolvedPath;

/// A watch over the directories that contain some files, before and after following links, and over each link in their
/// paths.
#[derive(Debug)]
pub struct DirectoryWatch(Option<AsyncFd<Watch>>);

#[derive(Debug)]
struct Watch {
    inotify: Inotify,
    /// Watched directories, each with the name whose changes count; `None` counts every change.
    counting: Vec<(WatchDescriptor, Option<OsString>)>,
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }
}

impl DirectoryWatch {
    /// Watches the paths of `files` from now on. If the kernel refuses, no change is ever reported. Takes as long as the
    /// file system does.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn of(files: &[PathBuf]) -> Self {
        let watch = watched(files).await;
        if let (Err(cause), Some(file)) = (&watch, files.first()) {
            tracing::warn!(file = %file.display(), %cause, "The file's directory cannot be watched; the file is checked once a minute");
        }
        Self(watch.ok())
    }

    /// Watches the current directories: a replaced directory needs a new watch.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn renew(&mut self, files: &[PathBuf]) {
        // Closed first, because the kernel limits inotify instances per user.
        self.0 = None;
        self.0 = watched(files).await.ok();
    }

    /// Waits until something in the path has changed. The future may be dropped at any time.
    pub async fn changed(&mut self) {
        let Some(watch) = &self.0 else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = watch.readable().await else { return std::future::pending().await };
            match ready.try_io(|watch| Ok(watch.get_ref().inotify.read_events()?)) {
                Ok(Ok(events)) if events.iter().any(|event| watch.get_ref().counts(event)) => return,
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(_)) => return std::future::pending().await,
            }
        }
    }
}

impl Watch {
    /// Returns whether `event` may concern the file. An event without a name concerns the directory itself.
    fn counts(&self, event: &InotifyEvent) -> bool {
        event.name.is_none()
            || self.counting.iter().any(|(directory, name)| {
                *directory == event.wd && name.as_ref().is_none_or(|name| event.name.as_ref() == Some(name))
            })
    }
}

/// Makes the watch on a blocking thread: on a network file system whose server does not respond, it would block a
/// thread of the runtime.
async fn watched(files: &[PathBuf]) -> std::io::Result<AsyncFd<Watch>> {
    let files = files.to_owned();
    tokio::task::spawn_blocking(move || watch(&files)).await.map_err(std::io::Error::other)?
}

fn watch(files: &[PathBuf]) -> std::io::Result<AsyncFd<Watch>> {
    // Without IN_DELETE: a deleted file matters only once another one takes its place. A deleted directory does matter,
    // because its watch ends.
    let changes = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    let parent = |path: PathBuf| path.parent().map(|parent| (parent.to_owned(), None));
    let (mut counting, mut failed) = (Vec::new(), None);
    for file in files {
        let of_file = [Some(file.clone()), file.canonicalize().ok()].into_iter().flatten().filter_map(parent);
        let links = ResolvedPath::of(file).links.into_iter().map(|(directory, name)| (directory, Some(name)));
        for (directory, name) in of_file.chain(links) {
            match inotify.add_watch(&directory, changes) {
                Ok(watched) => counting.push((watched, name)),
                Err(cause) => failed = Some(cause),
            }
        }
    }
    // The watches that remain report when the missing directories come back.
    if counting.is_empty() {
        return Err(failed.unwrap_or(Errno::ENOENT).into());
    }
    #[expect(
        deprecated,
        reason = "its successor is unsafe, and requires what `Watch` guarantees: it owns its descriptor as long as it \
                  exists, and never changes it"
    )]
    AsyncFd::new(Watch { inotify, counting })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    /// Replaces the content of a volume like the kubelet: a new directory, and a link to it that is moved over the old
    /// one.
    fn swap(volume: &Path, generation: &str, content: &str) {
        fs::create_dir(volume.join(generation)).unwrap();
        fs::write(volume.join(generation).join("secret"), content).unwrap();
        symlink(generation, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    }

    #[tokio::test]
    async fn each_swap_of_a_volume_is_reported_and_so_is_a_written_file() {
        let dir = tempfile::tempdir().unwrap();
        swap(dir.path(), "..1", "first");
        let secret = dir.path().join("secret");
        symlink("..data/secret", &secret).unwrap();
        let mut directories = DirectoryWatch::of(std::slice::from_ref(&secret)).await;
        let reported = async |directories: &mut DirectoryWatch| {
            tokio::time::timeout(Duration::from_secs(20), directories.changed()).await.is_ok()
        };
        for (generation, content) in [("..2", "second"), ("..3", "third")] {
            swap(dir.path(), generation, content);
            assert!(reported(&mut directories).await, "{generation}");
            assert_eq!(fs::read_to_string(&secret).unwrap(), content);
            while tokio::time::timeout(Duration::from_millis(50), directories.changed()).await.is_ok() {}
        }
        fs::write(dir.path().join("other"), "x").unwrap();
        assert!(reported(&mut directories).await);
    }

    /// A link whose target is a new directory each time.
    #[tokio::test]
    async fn a_directory_replaced_behind_a_link_is_reported_each_time_and_its_neighbours_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let generation = |name: &str| {
            fs::create_dir_all(path("s.d").join(name)).unwrap();
            fs::write(path("s.d").join(name).join("secret"), name).unwrap();
            symlink(path("s.d").join(name), path("new")).unwrap();
            fs::rename(path("new"), path("s")).unwrap();
        };
        generation("1");
        let secret = path("s/secret");
        let files = [secret.clone()];
        let mut directories = DirectoryWatch::of(&files).await;
        for name in ["2", "3"] {
            fs::write(path("neighbour"), "x").unwrap();
            let reported = async |directories: &mut DirectoryWatch, timeout| {
                tokio::time::timeout(timeout, directories.changed()).await.is_ok()
            };
            assert!(
                !reported(&mut directories, Duration::from_millis(50)).await,
                "a change of another file is not reported"
            );
            generation(name);
            assert!(reported(&mut directories, Duration::from_secs(20)).await, "{name}");
            directories.renew(&files).await;
            assert_eq!(fs::read_to_string(&secret).unwrap(), name);
        }
    }
}

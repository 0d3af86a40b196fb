//! Tells when something on the way to a file has changed (inotify(7)): in its directories, or one of the links in its path.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;

use super::links::Way;

/// What is watched of a file: the directory that it lies in, by its name and by where links lead; and each link on the
/// way there.
#[derive(Debug)]
pub struct DirectoryWatch(Option<AsyncFd<Watch>>);

#[derive(Debug)]
struct Watch {
    inotify: Inotify,
    /// DirectoryWatch, and the name in it that counts; all do in those that the file lies in.
    counting: Vec<(WatchDescriptor, Option<OsString>)>,
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }
}

impl DirectoryWatch {
    /// Those of `file`, from now on. Where the kernel does not watch, they never change. May take as long as the file
    /// system does.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn of(file: &Path) -> Self {
        let watch = watched(file).await;
        if let Err(cause) = &watch {
            tracing::warn!(file = %file.display(), %cause, "Its directory cannot be watched; it is looked at once a minute");
        }
        Self(watch.ok())
    }

    /// Watches those that are there now: a directory that has been replaced is another one.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn renew(&mut self, file: &Path) {
        // First given back, since there are few for each user of the machine.
        self.0 = None;
        self.0 = watched(file).await.ok();
    }

    /// Waits until something in them has changed. May be dropped at any time.
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
    /// What exactly has changed does not matter. Events without a name are about a directory itself.
    fn counts(&self, event: &InotifyEvent) -> bool {
        event.name.is_none()
            || self.counting.iter().any(|(directory, name)| {
                *directory == event.wd && name.as_ref().is_none_or(|name| event.name.as_ref() == Some(name))
            })
    }
}

/// On a thread of its own: a network file system whose server is away would keep the runtime's from everything else.
async fn watched(file: &Path) -> std::io::Result<AsyncFd<Watch>> {
    let file = file.to_owned();
    tokio::task::spawn_blocking(move || watch(&file)).await.map_err(std::io::Error::other)?
}

fn watch(file: &Path) -> std::io::Result<AsyncFd<Watch>> {
    // Not deletions: what is gone is no news until something else is there. That a directory is gone is, because its
    // watch has gone with it.
    let changes = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    let parent = |path: PathBuf| path.parent().map(|parent| (parent.to_owned(), None));
    let of_file = [Some(file.to_owned()), file.canonicalize().ok()].into_iter().flatten().filter_map(parent);
    let links = Way::to(file).links.into_iter().map(|(directory, name)| (directory, Some(name)));
    let (mut counting, mut failed) = (Vec::new(), None);
    for (directory, name) in of_file.chain(links) {
        match inotify.add_watch(&directory, changes) {
            Ok(watched) => counting.push((watched, name)),
            Err(cause) => failed = Some(cause),
        }
    }
    // What is left of the way tells when the rest of it comes back.
    if counting.is_empty() {
        return Err(failed.unwrap_or(Errno::ENOENT).into());
    }
    #[expect(
        deprecated,
        reason = "its successor is unsafe, and asks of us what `Watch` holds to: it owns its descriptor for as long as it \
                  lives, and always names the same"
    )]
    AsyncFd::new(Watch { inotify, counting })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    /// As the kubelet replaces what is in a volume: a new directory, and a link to it that is moved over the old one.
    fn swap(volume: &Path, generation: &str, content: &str) {
        fs::create_dir(volume.join(generation)).unwrap();
        fs::write(volume.join(generation).join("secret"), content).unwrap();
        symlink(generation, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    }

    #[tokio::test]
    async fn each_swap_of_a_volume_is_told_and_so_is_a_file_that_is_written() {
        let dir = tempfile::tempdir().unwrap();
        swap(dir.path(), "..1", "first");
        let secret = dir.path().join("secret");
        symlink("..data/secret", &secret).unwrap();
        let mut directories = DirectoryWatch::of(&secret).await;
        let told = async |directories: &mut DirectoryWatch| {
            tokio::time::timeout(Duration::from_secs(20), directories.changed()).await.is_ok()
        };
        for (generation, content) in [("..2", "second"), ("..3", "third")] {
            swap(dir.path(), generation, content);
            assert!(told(&mut directories).await, "{generation}");
            assert_eq!(fs::read_to_string(&secret).unwrap(), content);
            while tokio::time::timeout(Duration::from_millis(50), directories.changed()).await.is_ok() {}
        }
        fs::write(dir.path().join("other"), "x").unwrap();
        assert!(told(&mut directories).await);
    }

    /// A link to a directory, of which there is a new one each time.
    #[tokio::test]
    async fn a_directory_that_is_replaced_behind_a_link_is_told_each_time_and_its_neighbours_are_not() {
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
        let mut directories = DirectoryWatch::of(&secret).await;
        for name in ["2", "3"] {
            fs::write(path("neighbour"), "x").unwrap();
            let told = async |directories: &mut DirectoryWatch, patience| {
                tokio::time::timeout(patience, directories.changed()).await.is_ok()
            };
            assert!(!told(&mut directories, Duration::from_millis(50)).await, "a busy directory is no news");
            generation(name);
            assert!(told(&mut directories, Duration::from_secs(20)).await, "{name}");
            directories.renew(&secret).await;
            assert_eq!(fs::read_to_string(&secret).unwrap(), name);
        }
    }
}

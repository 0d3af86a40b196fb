//! Tells when something in a file's directories has changed (inotify(7)).

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// The directories that a file lies in: by its name, and by where links lead.
#[derive(Debug)]
pub struct Directories(Option<AsyncFd<Watch>>);

#[derive(Debug)]
struct Watch(Inotify);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Directories {
    /// Those of `file`, from now on. Where the kernel does not watch, they never change.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn of(file: &Path) -> Self {
        #[expect(
            deprecated,
            reason = "its successor is unsafe, and asks of us what `Watch` holds to: it owns its descriptor for as \
                      long as it lives, and always names the same"
        )]
        let watch = watch(file).and_then(AsyncFd::new);
        if let Err(cause) = &watch {
            tracing::warn!(file = %file.display(), %cause, "Its directory cannot be watched; it is looked at once a minute");
        }
        Self(watch.ok())
    }

    /// Waits until something in them has changed. May be dropped at any time.
    pub async fn changed(&mut self) {
        let Some(watch) = &self.0 else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = watch.readable().await else { return std::future::pending().await };
            // What exactly has changed does not matter; that there is nothing more to be read does.
            match ready.try_io(|watch| Ok(watch.get_ref().0.read_events()?)) {
                Ok(Ok(events)) if !events.is_empty() => return,
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(_)) => return std::future::pending().await,
            }
        }
    }
}

fn watch(file: &Path) -> std::io::Result<Watch> {
    // Not deletions: what is gone is no news until something else is there.
    let changes = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_ONLYDIR;
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    let mut directories: Vec<PathBuf> = [
        file.parent().map(Path::to_owned),
        file.canonicalize().ok().and_then(|real| Some(real.parent()?.to_owned())),
    ]
    .into_iter()
    .flatten()
    .collect();
    directories.dedup();
    for directory in directories {
        inotify.add_watch(&directory, changes)?;
    }
    Ok(Watch(inotify))
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
        let mut directories = Directories::of(&secret);
        let told = async |directories: &mut Directories| {
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
}

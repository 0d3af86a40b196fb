//! Reloads the configuration when a secret is replaced on disk: that of the client, or of a connection's client.
//!
//! The kernel reports changes in the directories of a file's path, before and after following links. The file itself
//! is not watched: a replacement, such as Kubernetes makes by moving a link, is another file. Directories may be
//! replaced in the same way, so their watches are renewed. Only the content decides. A slow check in addition is for
//! file systems that report no changes, and for mounts over a directory.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::process::watch::DirectoryWatch;
use crate::secret::TagKey;

use super::reload::{By, Reloads};
use super::secret_files::{Found, SecretFile};

/// Delay after the first change, because a replacement usually takes several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// Delay before an unusable file is checked again and reported.
const RECHECK: Duration = Duration::from_secs(2);

/// Interval of checks without a reported change.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Watches the files of the secrets in force, until the future is dropped. `key` distinguishes secrets without storing
/// them.
///
/// Each content causes one reload. If the configuration with a new secret is refused, the refusal is logged once; after
/// the operator has fixed it, the operator requests the reload.
pub async fn watch(mut files: watch::Receiver<Vec<SecretFile>>, reloads: Reloads, key: TagKey) {
    loop {
        // Dropping the set ends the watches of files that may no longer be in force.
        let mut watches = JoinSet::new();
        for file in files.borrow_and_update().iter() {
            watches.spawn(watch_one(file.clone(), reloads.clone(), key.clone()));
        }
        if files.changed().await.is_err() {
            return;
        }
    }
}

/// Watches one file until its content was reloaded.
async fn watch_one(file: SecretFile, reloads: Reloads, key: TagKey) {
    let mut directories = DirectoryWatch::of(file.path()).await;
    let (mut last, mut reported) = (Found::Same, Found::Same);
    loop {
        let (file_now, with) = (file.clone(), key.clone());
        let found = tokio::task::spawn_blocking(move || file_now.check(&with)).await;
        let found = found.unwrap_or(Found::Same);
        // A file may be half written; it is reported if it stays unusable.
        let is_certain = found != Found::Unusable || last == Found::Unusable;
        if is_certain && found != reported {
            reported = found;
            if found != Found::Same && is_reloaded(file.path(), &reloads).await {
                return;
            }
        }
        let wait = if is_certain { CHECK_INTERVAL } else { RECHECK };
        last = found;
        tokio::select! {
            () = directories.changed() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(wait) => {}
        }
        // Before the next check, so that no change is missed.
        directories.renew(file.path()).await;
    }
}

/// Reloads the configuration. Returns whether the new one is in force.
async fn is_reloaded(file: &Path, reloads: &Reloads) -> bool {
    let file = file.display();
    tracing::info!(%file, "A secret was replaced; reloading the configuration");
    reloads.ask(By::Watch).await.is_ok()
}

//! Reloads the configuration when credentials are replaced on disk: the client's secret, keys or certificate, the secret of
//! a connection's client, or the key of Token Vault.
//!
//! The kernel reports changes in the directories of a file's path, before and after following links. The file itself
//! is not watched: a replacement, such as Kubernetes makes by moving a link, is another file. Directories may be
//! replaced in the same way, so their watches are renewed. Only the content decides. A slow check in addition is for
//! file systems that report no changes, and for mounts over a directory.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::process::watch::DirectoryWatch;
use crate::secret::TagKey;

use super::reload::{By, Reloads};
use super::secret_files::{Found, SecretFiles};

/// Delay after the first change, because a replacement usually takes several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// Delay before unusable files are checked again and reported.
const RECHECK: Duration = Duration::from_secs(2);

/// Interval of checks without a reported change.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Watches the files of the credentials in force, until the future is dropped. `key` distinguishes secrets without
/// storing them.
///
/// Each content causes one reload. If the configuration with new credentials is refused, the refusal is logged once;
/// after the operator has fixed it, the operator requests the reload.
pub async fn watch(mut files: watch::Receiver<Vec<SecretFiles>>, reloads: Reloads, key: TagKey) {
    loop {
        // Dropping the set ends the watches of files that may no longer be in force.
        let mut watches = JoinSet::new();
        for of_one in files.borrow_and_update().iter() {
            watches.spawn(watch_one(of_one.clone(), reloads.clone(), key.clone()));
        }
        if files.changed().await.is_err() {
            return;
        }
    }
}

/// Watches the files of one client until their content was reloaded.
async fn watch_one(files: SecretFiles, reloads: Reloads, key: TagKey) {
    let mut directories = DirectoryWatch::of(files.paths()).await;
    let (mut last, mut reported) = (Found::Same, Found::Same);
    loop {
        let (files_now, with) = (files.clone(), key.clone());
        let found = tokio::task::spawn_blocking(move || files_now.check(&with)).await;
        let found = found.unwrap_or(Found::Same);
        // A file may be half written; it is reported if it stays unusable.
        let is_certain = found != Found::Unusable || last == Found::Unusable;
        if is_certain && found != reported {
            reported = found;
            if found != Found::Same && is_reloaded(files.paths(), &reloads).await {
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
        directories.renew(files.paths()).await;
    }
}

/// Reloads the configuration. Returns whether the new one is in force.
async fn is_reloaded(files: &[PathBuf], reloads: &Reloads) -> bool {
    let files = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ");
    tracing::info!(files, "Credentials were replaced on disk; reloading the configuration");
    reloads.ask(By::Watch).await.is_ok()
}

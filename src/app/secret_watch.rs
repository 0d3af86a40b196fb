//! Reloads the configuration when the client's secret is replaced on disk.
//!
//! The kernel reports changes in the directories of the file's path, before and after following links. The file itself
//! is not watched: a replacement, such as Kubernetes makes by moving a link, is another file. Directories may be
//! replaced in the same way, so their watches are renewed. Only the content decides. A slow check in addition is for
//! file systems that report no changes, and for mounts over a directory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::{self, Client};
use crate::process::watch::DirectoryWatch;
use crate::secret::{Tag, TagKey};

use super::reload::{By, Reloads};

/// Delay after the first change, because a replacement usually takes several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// Delay before an unusable file is checked again and reported.
const RECHECK: Duration = Duration::from_secs(2);

/// Interval of checks without a reported change.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The content of a client's secret file, compared with the current secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The current secret.
    Same,
    /// Another secret.
    Another(Tag),
    /// No secret, as while the file is being written; or the file cannot be read.
    Unusable,
}

fn check(client: &Client, key: &TagKey) -> Found {
    match client.secret_file.as_deref().map(config::secret_in) {
        None => Found::Same,
        Some(None) => Found::Unusable,
        Some(Some(there)) if there == *client.secret => Found::Same,
        Some(Some(there)) => Found::Another(key.tag("secret", there.expose())),
    }
}

/// Watches the secret file of the current client, until the future is dropped. `key` distinguishes secrets without
/// storing them.
///
/// Each content causes one reload. If the configuration with a new secret is refused, the refusal is logged once; after
/// the operator has fixed it, the operator requests the reload.
pub async fn watch(mut client: watch::Receiver<Arc<Client>>, reloads: Reloads, key: TagKey) {
    loop {
        let now = Arc::clone(&client.borrow_and_update());
        let Some(file) = now.secret_file.clone() else {
            if client.changed().await.is_err() {
                return;
            }
            continue;
        };
        let mut directories = DirectoryWatch::of(&file).await;
        let (mut last, mut reported) = (Found::Same, Found::Same);
        loop {
            let (client_now, with) = (Arc::clone(&now), key.clone());
            let found = tokio::task::spawn_blocking(move || check(&client_now, &with)).await;
            let found = found.unwrap_or(Found::Same);
            // A file may be half written; it is reported if it stays unusable.
            let is_certain = found != Found::Unusable || last == Found::Unusable;
            if is_certain && found != reported {
                reported = found;
                if found != Found::Same {
                    let file = file.display();
                    tracing::info!(%file, "The client's secret was replaced; reloading the configuration");
                    if reloads.ask(By::Watch).await.is_ok() {
                        tokio::time::sleep(SETTLE).await;
                        break;
                    }
                }
            }
            let wait = if is_certain { CHECK_INTERVAL } else { RECHECK };
            last = found;
            tokio::select! {
                // The client has another file or another secret.
                changed = client.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = directories.changed() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(wait) => {}
            }
            // Before the next check, so that no change is missed.
            directories.renew(&file).await;
        }
    }
}

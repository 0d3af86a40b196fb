//! Notices that the client's secret has been replaced on disk, and has the configuration read again.
//!
//! The kernel tells of changes in the directories of the file, of its name and of what that leads to: a file that is
//! replaced, as Kubernetes does by moving a link, is another one afterwards, and a watch over the first hears nothing
//! more; the same holds for directories. What counts is the content. A slow look besides, along the path as it is then, is
//! for file systems that tell nothing, and for what is mounted over a directory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::{self, Client};
use crate::process::watch::DirectoryWatch;
use crate::secret::{Tag, TagKey};

use super::reload::{By, Reloads};

/// What is replaced is rarely replaced by one step; after the first, time for the others.
const SETTLE: Duration = Duration::from_millis(100);

/// What is no secret is looked at again after this long, before anything is said of it.
const SOON: Duration = Duration::from_secs(2);

/// Between two looks without being told.
const LOOK: Duration = Duration::from_secs(60);

/// What is in a client's file, compared with the secret in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The same.
    Same,
    /// Another one.
    Another(Tag),
    /// None, as while it is being written; or one that cannot be read.
    Unusable,
}

fn look(client: &Client, key: &TagKey) -> Found {
    match client.secret_file.as_deref().map(config::secret_in) {
        None => Found::Same,
        Some(None) => Found::Unusable,
        Some(Some(there)) if there == *client.secret => Found::Same,
        Some(Some(there)) => Found::Another(key.tag("secret", there.expose())),
    }
}

/// Watches over the client in force for as long as it is not dropped. `key` tells secrets apart without keeping them.
///
/// What is found is asked to be read once, and again only when something else is found: a configuration that is refused
/// beside a new secret is said once, and read again once somebody has mended it and says so.
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
        let (mut last, mut told) = (Found::Same, Found::Same);
        loop {
            let (client_now, with) = (Arc::clone(&now), key.clone());
            let found = tokio::task::spawn_blocking(move || look(&client_now, &with)).await;
            let found = found.unwrap_or(Found::Same);
            // Half a file is no news; one that stays so is.
            let is_certain = found != Found::Unusable || last == Found::Unusable;
            if is_certain && found != told {
                told = found;
                if found != Found::Same {
                    let file = file.display();
                    tracing::info!(%file, "The client's secret was replaced; reading the configuration again");
                    if reloads.ask(By::Watch).await.is_ok() {
                        tokio::time::sleep(SETTLE).await;
                        break;
                    }
                }
            }
            let wait = if is_certain { LOOK } else { SOON };
            last = found;
            tokio::select! {
                // Another file, or another secret in force.
                changed = client.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = directories.changed() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(wait) => {}
            }
            // Before the next look, so that nothing comes between.
            directories.renew(&file).await;
        }
    }
}

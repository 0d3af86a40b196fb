//! Notices that the client's secret has been replaced on disk, and has the configuration read again.
//!
//! The kernel tells of changes in the directories of the file, of its name and of what that leads to: a file that is
//! replaced, as Kubernetes does by moving a link, is another one afterwards, and a watch over the first hears nothing
//! more. What counts is the content. A slow look besides is for file systems that tell nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::{self, Client};
use crate::process::directories::Directories;

use super::reload::Reloads;

/// What is replaced is rarely replaced by one step; after the first, time for the others.
const SETTLE: Duration = Duration::from_millis(100);

/// Between two looks without being told.
const LOOK: Duration = Duration::from_secs(60);

/// Whether the file of `client` holds another secret than the one in force. One that cannot be read, or is no secret,
/// may be half written.
fn is_replaced(client: &Client) -> bool {
    let there = client.secret_file.as_deref().and_then(config::secret_in);
    there.is_some_and(|there| there != client.secret)
}

/// Watches over the client in force for as long as it is not dropped.
pub async fn watch(mut client: watch::Receiver<Arc<Client>>, reloads: Reloads) {
    loop {
        let now = Arc::clone(&client.borrow_and_update());
        let Some(file) = now.secret_file.clone() else {
            if client.changed().await.is_err() {
                return;
            }
            continue;
        };
        let mut directories = Directories::of(&file);
        loop {
            let look = Arc::clone(&now);
            let is_replaced = tokio::task::spawn_blocking(move || is_replaced(&look)).await;
            if is_replaced.unwrap_or(false) {
                tracing::info!(file = %file.display(), "The client's secret was replaced; reading the configuration again");
                if reloads.ask().await.is_ok() {
                    break;
                }
            }
            tokio::select! {
                // Another file, or another secret in force.
                changed = client.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = directories.changed() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

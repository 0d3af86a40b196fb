//! Notices that the client's secret has been replaced on disk, and has the configuration read again.
//!
//! The kernel tells of changes in the directories of the file, of its name and of what that leads to: a file that is
//! replaced, as Kubernetes does by moving a link, is another one afterwards, and a watch over the first hears nothing
//! more. What counts is the content. A slow look besides is for file systems that tell nothing.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::{self, Client};
use crate::process::directories::Directories;
use crate::secret::Secret;

use super::reload::Reloads;

/// What is replaced is rarely replaced by one step; after the first, time for the others.
const SETTLE: Duration = Duration::from_millis(100);

/// Between two looks without being told.
const LOOK: Duration = Duration::from_secs(60);

/// The file to watch, and the secret in force.
#[derive(Clone, Debug)]
pub struct Watched {
    file: Option<PathBuf>,
    secret: Secret,
}

impl Watched {
    /// Those of `client`.
    pub fn of(client: &Client) -> Self {
        Self { file: client.secret_file.clone(), secret: client.secret.clone() }
    }

    /// Whether the file holds another secret than the one in force. One that cannot be read, or is no secret, may be
    /// half written.
    fn is_replaced(&self) -> bool {
        let there = self.file.as_deref().and_then(config::secret_in);
        there.is_some_and(|there| there != self.secret)
    }
}

/// Watches for as long as it is not dropped.
pub async fn watch(mut watched: watch::Receiver<Watched>, reloads: Reloads) {
    loop {
        let now = watched.borrow_and_update().clone();
        let Some(file) = now.file.clone() else {
            if watched.changed().await.is_err() {
                return;
            }
            continue;
        };
        let mut directories = Directories::of(&file);
        loop {
            let look = now.clone();
            let is_replaced = tokio::task::spawn_blocking(move || look.is_replaced()).await;
            if is_replaced.unwrap_or(false) {
                tracing::info!(file = %file.display(), "The client's secret was replaced; reading the configuration again");
                if reloads.ask().await.is_ok() {
                    break;
                }
            }
            tokio::select! {
                // Another file, or another secret in force.
                changed = watched.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = directories.changed() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

//! Reloads the configuration when the client's secret, key or certificate is replaced on disk.
//!
//! The kernel reports changes in the directories of a file's path, before and after following links. The file itself
//! is not watched: a replacement, such as Kubernetes makes by moving a link, is another file. Directories may be
//! replaced in the same way, so their watches are renewed. Only the content decides. A slow check in addition is for
//! file systems that report no changes, and for mounts over a directory.
//!
//! A certificate and its key are two files, which are replaced one after the other. While they do not belong together
//! they are unusable, like a file that is half written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::{Client, Credential};
use crate::process::watch::DirectoryWatch;
use crate::secret::{Tag, TagKey};

use super::reload::{By, Reloads};

/// Delay after the first change, because a replacement usually takes several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// Delay before unusable files are checked again and reported.
const RECHECK: Duration = Duration::from_secs(2);

/// Interval of checks without a reported change.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The content of a client's files, compared with its current credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The current credentials.
    Same,
    /// Other credentials.
    Others(Tag),
    /// No credentials, as while a file is being written; or a file cannot be read.
    Unusable,
}

fn check(client: &Client, key: &TagKey) -> Found {
    match client.reread() {
        None => Found::Unusable,
        Some(there) if there.has_credentials_of(client) => Found::Same,
        Some(there) => Found::Others(tag(&there, key)),
    }
}

/// Names the credentials of a client.
fn tag(client: &Client, key: &TagKey) -> Tag {
    let mut names = String::new();
    for credential in client.next.iter().chain([&client.credential]) {
        let name = match credential {
            Credential::SecretPost(secret) | Credential::SecretBasic(secret) => {
                key.tag("secret", secret.expose()).to_string()
            }
            Credential::PrivateKeyJwt(key) => key.kid().to_owned(),
            Credential::TlsClientAuth(certificate) => certificate.fingerprint(),
        };
        names.push_str(&name);
        names.push(' ');
    }
    key.tag("credentials", &names)
}

/// Watches the files of the current client's credentials, until the future is dropped. `key` distinguishes secrets
/// without storing them.
///
/// Each content causes one reload. If the configuration with new credentials is refused, the refusal is logged once;
/// after the operator has fixed it, the operator requests the reload.
pub async fn watch(mut client: watch::Receiver<Arc<Client>>, reloads: Reloads, key: TagKey) {
    loop {
        let now = Arc::clone(&client.borrow_and_update());
        let files: Vec<_> = now.files.paths().into_iter().map(Path::to_owned).collect();
        if files.is_empty() {
            if client.changed().await.is_err() {
                return;
            }
            continue;
        }
        let mut directories = DirectoryWatch::of(&files).await;
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
                    let files = listed(&files);
                    tracing::info!(
                        files,
                        "The client's credentials were replaced; reloading the configuration"
                    );
                    if reloads.ask(By::Watch).await.is_ok() {
                        tokio::time::sleep(SETTLE).await;
                        break;
                    }
                }
            }
            let wait = if is_certain { CHECK_INTERVAL } else { RECHECK };
            last = found;
            tokio::select! {
                // The client has other files or other credentials.
                changed = client.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = directories.changed() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(wait) => {}
            }
            // Before the next check, so that no change is missed.
            directories.renew(&files).await;
        }
    }
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ")
}

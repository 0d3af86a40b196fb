//! The secrets in force that are from files, and whether a file contains another one now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Config};
use crate::secret::{Secret, Tag, TagKey};

/// A secret in force, and the file that it was read from.
#[derive(Clone, Debug)]
pub struct SecretFile {
    path: PathBuf,
    secret: Arc<Secret>,
}

impl SecretFile {
    /// The secrets of `config` that are from files.
    pub fn all_of(config: &Config) -> Vec<Self> {
        let of_client = config.client.secret_file.as_deref().map(|file| (file, &config.client.secret));
        let refreshes = config.connections.iter().filter_map(|connection| connection.refresh.as_deref());
        let of_connections = refreshes.flat_map(|refresh| refresh.secrets());
        let all = of_client.into_iter().chain(of_connections);
        let mut files: Vec<Self> =
            all.map(|(path, secret)| Self { path: path.to_owned(), secret: Arc::clone(secret) }).collect();
        // Several clients may share a file.
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files.dedup_by(|one, other| one.path == other.path);
        files
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compares what the file contains now. Blocks. `key` distinguishes secrets without storing them.
    pub fn check(&self, key: &TagKey) -> Found {
        match config::secret_in(&self.path) {
            None => Found::Unusable,
            Some(there) if there == *self.secret => Found::Same,
            Some(there) => Found::Another(key.tag("secret", there.expose())),
        }
    }
}

/// The content of a secret file, compared with the secret in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The secret in force.
    Same,
    /// Another secret.
    Another(Tag),
    /// No secret, as while the file is being written; or the file cannot be read.
    Unusable,
}

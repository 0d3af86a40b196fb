//! The credentials in force that are from files, and whether the files contain others now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Client, Config, Credential};
use crate::secret::{Secret, Tag, TagKey};

/// Credentials in force, and the files that they were read from.
#[derive(Clone, Debug)]
pub struct SecretFiles {
    paths: Vec<PathBuf>,
    credentials: Credentials,
}

/// What was read from the files.
#[derive(Clone, Debug)]
enum Credentials {
    /// The credentials of a client of the tenant: a secret, keys, or a certificate with its key.
    Client(Arc<Client>),
    /// A secret of a connection's client.
    Connection(Arc<Secret>),
    /// The key that signs subject tokens for Token Vault.
    Vault(config::Vault),
}

impl SecretFiles {
    /// The credentials of `config` that are from files.
    pub fn all_of(config: &Config) -> Vec<Self> {
        let paths: Vec<_> = config.client.files.paths().into_iter().map(Path::to_owned).collect();
        let refreshes = config.connections.iter().filter_map(|connection| connection.refresh.as_deref());
        let mut of_connections: Vec<_> = refreshes.flat_map(|refresh| refresh.secrets()).collect();
        // Several clients may share a file.
        of_connections.sort_by_key(|(path, _)| *path);
        of_connections.dedup_by(|(one, _), (other, _)| one == other);
        let of_connections =
            of_connections.into_iter().filter(|(path, _)| !paths.iter().any(|of| of == path));
        let mut files: Vec<Self> = of_connections
            .map(|(path, secret)| Self {
                paths: vec![path.to_owned()],
                credentials: Credentials::Connection(Arc::clone(secret)),
            })
            .collect();
        let of_vault = config.vault.as_ref().and_then(|vault| Some((vault, vault.key_file.as_ref()?)));
        if let Some((vault, path)) = of_vault.filter(|(_, path)| !paths.contains(path)) {
            files.push(Self { paths: vec![path.clone()], credentials: Credentials::Vault(vault.clone()) });
        }
        let clients = std::iter::once(&config.client).chain(&config.management_api);
        files.extend(clients.filter_map(|client| {
            let paths: Vec<_> = client.files.paths().into_iter().map(Path::to_owned).collect();
            let credentials = Credentials::Client(Arc::clone(client));
            (!paths.is_empty()).then_some(Self { paths, credentials })
        }));
        files
    }

    /// Where they were read from.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Compares what the files contain now. Blocks. `tags` distinguishes secrets without storing them.
    pub fn check(&self, tags: &TagKey) -> Found {
        match &self.credentials {
            Credentials::Connection(secret) => {
                match self.paths.first().and_then(|path| config::secret_in(path)) {
                    None => Found::Unusable,
                    Some(there) if there == **secret => Found::Same,
                    Some(there) => Found::Others(tags.tag("secret", there.expose())),
                }
            }
            Credentials::Vault(vault) => match vault.reread().and_then(|there| there.key) {
                None => Found::Unusable,
                Some(there) if vault.key.as_ref() == Some(&there) => Found::Same,
                Some(there) => Found::Others(tags.tag("credentials", there.kid())),
            },
            Credentials::Client(client) => match client.reread() {
                None => Found::Unusable,
                Some(there) if there.has_credentials_of(client) => Found::Same,
                Some(there) => Found::Others(tag(&there, tags)),
            },
        }
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

/// The content of files, compared with the credentials in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The credentials in force.
    Same,
    /// Other credentials.
    Others(Tag),
    /// No credentials, as while a file is being written; or a file cannot be read. A certificate and its key are two
    /// files, which are replaced one after the other: while they do not belong together, they are unusable.
    Unusable,
}

//! `[connection.refresh]`: a connection's client at its identity provider.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::client_secret;
use super::problem::Checked;
use super::reader::{Reader, Setting};
use super::schema::variable;
use super::token_endpoint::{self, TokenEndpoint};
use super::values::{absolute_path, choice, line};
use crate::domain::provider::{Endpoint, Provider, ProviderAuth};
use crate::domain::source::Rotation;
use crate::secret::Secret;

/// `[connection.refresh]`, with the provider's defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Refresh {
    /// The provider.
    pub provider: &'static Provider,
    /// The client id.
    pub client_id: String,
    /// The client secret, from `secret_file`.
    pub secret: Arc<Secret>,
    /// The file with the secret.
    pub secret_file: PathBuf,
    /// The client secret before this one, from `previous_secret_file`.
    pub previous_secret: Option<Arc<Secret>>,
    /// The file with the previous secret.
    pub previous_secret_file: Option<PathBuf>,
    /// The token endpoint.
    pub token_endpoint: TokenEndpoint,
    /// How the client authenticates.
    pub client_auth: ProviderAuth,
    /// The scope to ask for.
    pub scope: Option<String>,
    /// What becomes of a refresh token that is redeemed.
    pub rotation: Rotation,
    /// For how long a redeemed refresh token can be redeemed once more.
    pub grace: Duration,
}

impl Refresh {
    /// The secrets with their files, the current one first.
    pub fn secrets(&self) -> impl Iterator<Item = (&Path, &Arc<Secret>)> {
        let previous = self.previous_secret_file.as_deref().zip(self.previous_secret.as_ref());
        std::iter::once((self.secret_file.as_path(), &self.secret)).chain(previous)
    }

    /// The secrets, to be replaced by equal ones that are in memory already.
    pub(super) fn secrets_mut(&mut self) -> impl Iterator<Item = &mut Arc<Secret>> {
        std::iter::once(&mut self.secret).chain(&mut self.previous_secret)
    }
}

/// Reads the table at the path `table`, and the files that it names.
pub(super) fn read(reader: &mut Reader, table: &str) -> Checked<Refresh> {
    let key = |name: &str| format!("{table}.{name}");
    let provider = reader.parsed(&key("provider"), |takes, value| choice(takes, value, Provider::named));
    let provider = provider.and_then(|provider| reader.required(&key("provider"), provider));
    let client_id = reader.owned(&key("client_id"), line);
    let client_id = client_id.and_then(|id| reader.required(&key("client_id"), id));
    let current = secret(reader, &key("secret_file"));
    let current = current.and_then(|current| reader.required(&key("secret_file"), current));
    let previous = secret(reader, &key("previous_secret_file"));
    let endpoint = reader.parsed(&key("token_endpoint"), token_endpoint::parse);
    let auth = reader.parsed(&key("client_auth"), |takes, value| choice(takes, value, ProviderAuth::named));
    let scope = reader.owned(&key("scope"), line);
    let rotation = reader.parsed(&key("rotation"), |takes, value| choice(takes, value, rotation_named));
    let grace = reader.optional(&key("grace"));

    let (provider, rotation) = (provider?, rotation?);
    let endpoint = endpoint.and_then(|endpoint| match endpoint {
        Some(set) => Ok(set.value),
        None => default_endpoint(reader, provider.value, &key("token_endpoint")),
    });
    // An empty [state] stores nothing.
    let has_state = reader.is_set("state.path");
    let state = require_state(reader, &provider, rotation.as_ref(), has_state);
    let (endpoint, current, previous) = (endpoint?, current?, previous?);
    state?;
    let (previous_secret_file, previous_secret) = previous.map(|previous| previous.value).unzip();
    let (secret_file, secret) = current.value;
    Ok(Refresh {
        provider: provider.value,
        client_id: client_id?.value,
        previous_secret: previous_secret.map(Arc::new),
        secret: Arc::new(secret),
        secret_file,
        previous_secret_file,
        token_endpoint: endpoint,
        client_auth: auth?.map_or(provider.value.client_auth, |auth| auth.value),
        scope: scope?.map(|scope| scope.value),
        rotation: rotation.map_or(provider.value.rotation, |rotation| rotation.value),
        grace: grace?.map_or(provider.value.grace, |grace| grace.value),
    })
}

/// The secret in the file that the key at `path` names, by the rules for secrets.
fn secret(reader: &mut Reader, path: &str) -> Checked<Option<Setting<(PathBuf, Secret)>>> {
    let Some(file) = reader.owned(path, absolute_path)? else { return Ok(None) };
    let secret = client_secret::from_file(reader, &file)?;
    client_secret::warn_of_spaces(reader, &file, &secret);
    let Setting { key, origin, value } = file;
    Ok(Some(Setting { key, origin, value: (value.into(), secret) }))
}

/// The provider's own endpoint; or the problem that it has none, at the key `path`.
fn default_endpoint(reader: &mut Reader, provider: &Provider, path: &str) -> Checked<TokenEndpoint> {
    match provider.token_endpoint {
        Endpoint::At(url) => TokenEndpoint::parse(url).map_err(|fault| reader.missing(path, fault)),
        Endpoint::Like(example) => {
            let (name, variable) = (provider.name, variable(path));
            let text = format!("required with provider {name:?}, as in {example}, here or in {variable}");
            Err(reader.missing(path, text))
        }
    }
}

/// Refuses a provider that invalidates refresh tokens as it redeems them, where none can be stored.
fn require_state(
    reader: &mut Reader,
    provider: &Setting<&'static Provider>,
    rotation: Option<&Setting<Rotation>>,
    has_state: bool,
) -> Checked<()> {
    let value = rotation.map_or(provider.value.rotation, |rotation| rotation.value);
    if value != Rotation::Single || has_state {
        return Ok(());
    }
    let text = "each refresh token is valid once (rotation is \"single\"), so the next one has to survive a restart, or \
                the user has to log in again: add [state]";
    Err(match rotation {
        Some(rotation) => reader.refuse(rotation, text),
        None => {
            let text = format!("with this provider {text}, or set rotation if the provider does not rotate");
            reader.refuse(provider, text)
        }
    })
}

fn rotation_named(word: &str) -> Option<Rotation> {
    match word {
        "none" => Some(Rotation::None),
        "keep_old" => Some(Rotation::KeepOld),
        "single" => Some(Rotation::Single),
        _ => None,
    }
}

//! `[vault]`: the client of Token Vault.

use std::path::PathBuf;
use std::sync::Arc;

use super::client::{Client, Credential};
use super::client_key;
use super::problem::Checked;
use super::reader::{Reader, Setting};
use super::reloadable::Reloadable;
use super::schema::Type;
use super::source_values::Value;
use super::values::{Parsed, absolute_path, choice, line};
use crate::signing::{SigningAlg, SigningKey};

const TABLE: &str = "vault";
const AUDIT_CONTEXT: &str = "vault.audit_context";
const KEY_FILE: &str = "vault.key_file";
const SIGNING_ALG: &str = "vault.signing_alg";

/// Auth0's limit on `audit_context`, in characters.
const LONGEST_CONTEXT: usize = 256;

/// `[vault]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Vault {
    /// What Auth0's tenant log states as the reason of each exchange: 1 to 256 characters.
    pub audit_context: String,
    /// The key that signs subject tokens; `None`: the client's own.
    pub key: Option<Arc<SigningKey>>,
    /// The file of that key.
    pub key_file: Option<PathBuf>,
}

/// The client of the vault without the table, which no connection uses.
impl Default for Vault {
    fn default() -> Self {
        Self { audit_context: "cloakroom".to_owned(), key: None, key_file: None }
    }
}

impl Vault {
    /// These settings with the key that its file contains now; `None` if there is no file, or it cannot be used.
    pub fn reread(&self) -> Option<Self> {
        let (path, known) = self.key_file.as_ref().zip(self.key.as_ref())?;
        let (key, _) = client_key::key_from(path, known.alg()).ok()?;
        Some(Self { key: Some(Arc::new(key)), ..self.clone() })
    }

    /// These settings with the key of `known`, if it is the same one, so that it is in memory once.
    #[must_use]
    pub fn sharing(mut self, known: Option<&Self>) -> Self {
        let known = known.and_then(|known| known.key.as_ref());
        if let Some(known) = known.filter(|known| self.key.as_ref() == Some(known)) {
            self.key = Some(Arc::clone(known));
        }
        self
    }
}

impl Reloadable for Option<Vault> {
    fn different_contents(&self, new: &Self) -> Vec<&'static str> {
        let kid = |vault: &Self| {
            let key = vault.as_ref().and_then(|vault| vault.key.as_ref());
            key.map(|key| key.kid().to_owned())
        };
        // Another algorithm is a change of `vault.signing_alg`.
        if kid(self) == kid(new) { Vec::new() } else { vec![KEY_FILE] }
    }
}

/// Reads `[vault]` and the file that it names; `None` without the table. `client` is `[tenant.client]`, if it is valid;
/// `is_used`: a connection asks the vault.
pub(super) fn read(reader: &mut Reader, client: Option<&Client>, is_used: bool) -> Checked<Option<Vault>> {
    let audit_context = reader.owned(AUDIT_CONTEXT, parse_context);
    let audit_context = audit_context.and_then(|context| reader.required(AUDIT_CONTEXT, context));
    let signing_alg = reader.parsed(SIGNING_ALG, |takes, value| choice(takes, value, SigningAlg::named));
    let key_file = reader.owned(KEY_FILE, absolute_path);
    if !reader.has_table(TABLE) {
        return Ok(None);
    }
    let key = key(reader, key_file, signing_alg);
    let has_key = key.as_ref().map_or(true, |(key, _)| key.is_some());
    // Without a connection that asks it, the vault needs no key.
    let fits = client.filter(|_| is_used).map_or(Ok(()), |client| require_key(reader, client, has_key));
    let (audit_context, (key, key_file)) = (audit_context?, key?);
    fits?;
    Ok(Some(Vault { audit_context: audit_context.value, key: key.map(Arc::new), key_file }))
}

fn key(
    reader: &mut Reader,
    path: Checked<Option<Setting<String>>>,
    alg: Checked<Option<Setting<SigningAlg>>>,
) -> Checked<(Option<SigningKey>, Option<PathBuf>)> {
    // The file is read all the same, so that its problems are reported as well.
    let read_alg = alg.as_ref().ok().and_then(Option::as_ref).map_or(SigningAlg::Rs256, |alg| alg.value);
    let Some(path) = path? else {
        return match alg? {
            Some(alg) => Err(reader.refuse(&alg, format!("has no effect without {KEY_FILE}; remove it"))),
            None => Ok((None, None)),
        };
    };
    let key = client_key::read_key(reader, &path, read_alg);
    let (key, _) = (key?, alg?);
    Ok((Some(key), Some(path.value.into())))
}

/// Refuses a client that cannot be given privileged access, and one that has no key for subject tokens.
fn require_key(reader: &mut Reader, client: &Client, has_key: bool) -> Checked<()> {
    let text = match &client.credential {
        Credential::SecretPost(_) | Credential::SecretBasic(_) => {
            "needs private_key_jwt or tls_client_auth in tenant.client.auth: privileged access to Token Vault is given to \
             a key"
                .to_owned()
        }
        credential if credential.signing_key().is_none() && !has_key => {
            format!("needs {KEY_FILE}: the certificate's key is not an RSA key, so that it cannot sign subject tokens")
        }
        _ => return Ok(()),
    };
    Err(reader.missing(TABLE, text))
}

fn parse_context(takes: Type, value: &Value) -> Parsed<&str> {
    let context = line(takes, value)?;
    if context.chars().count() > LONGEST_CONTEXT {
        return Err(format!("must have at most {LONGEST_CONTEXT} characters, which is Auth0's limit"));
    }
    Ok(context)
}

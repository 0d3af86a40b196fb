//! `[tenant.client]`: the application that obtains Management tokens, and its secret.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::{Checked, Wrong};
use super::reader::{Reader, Setting};
use super::referenced_files::{self, Content, Exposure};
use super::reloadable::Reloadable;
use super::schema::{Type, variable};
use super::source_values::Value;
use super::values::{Parsed, absolute_path, choice, line, text};
use crate::domain::invisible_characters;
use crate::secret::Secret;

const ID: &str = "tenant.client.id";
const SECRET: &str = "tenant.client.secret";
const SECRET_FILE: &str = "tenant.client.secret_file";
const AUTH: &str = "tenant.client.auth";

/// Authentication methods of later versions.
const LATER_AUTH: [&str; 2] = ["private_key_jwt", "tls_client_auth"];

/// `[tenant.client]`.
#[derive(Clone, Debug)]
pub struct Client {
    /// The application's client id.
    pub id: String,
    /// The client's secret, from `secret_file` (without one line end) or from `secret`. Shared, so that it is in
    /// memory once.
    pub secret: Arc<Secret>,
    /// The file with the secret, if it is from one.
    pub secret_file: Option<PathBuf>,
    /// The authentication method.
    pub auth: ClientAuth,
}

impl Client {
    /// Whether both have the same credentials. The source of the secret makes no difference.
    pub fn has_credentials_of(&self, other: &Self) -> bool {
        let Self { id, secret, secret_file: _, auth } = self;
        *id == other.id && *auth == other.auth && *secret == other.secret
    }
}

/// How the application authenticates at the token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `client_secret_post`: id and secret in the form.
    SecretPost,
    /// `client_secret_basic`: id and secret in the `Authorization` header.
    SecretBasic,
}

impl ClientAuth {
    /// The method's name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecretPost => "client_secret_post",
            Self::SecretBasic => "client_secret_basic",
        }
    }
}

impl Reloadable for Client {
    fn different_contents(&self, new: &Self) -> Vec<&'static str> {
        if self.secret == new.secret { Vec::new() } else { vec![SECRET] }
    }
}

/// Reads `[tenant.client]` and the file that it names.
pub(super) fn read(reader: &mut Reader) -> Checked<Client> {
    let id = id(reader);
    let secret = secret(reader);
    let auth = reader.parsed(AUTH, parse_auth);
    let auth = auth.and_then(|auth| reader.required(AUTH, auth));
    let (id, (secret, secret_file), auth) = (id?, secret?, auth?.value);
    Ok(Client { id, secret: Arc::new(secret), secret_file, auth })
}

fn id(reader: &mut Reader) -> Checked<String> {
    let id = reader.owned(ID, line)?;
    reader.required(ID, id).map(|id| id.value)
}

fn parse_auth(takes: Type, value: &Value) -> Parsed<ClientAuth> {
    if LATER_AUTH.contains(&text(takes, value)?) {
        return Err(
            "not supported by this version of cloakroom; use client_secret_post or client_secret_basic"
                .to_owned(),
        );
    }
    choice(takes, value, |word| match word {
        "client_secret_post" => Some(ClientAuth::SecretPost),
        "client_secret_basic" => Some(ClientAuth::SecretBasic),
        _ => None,
    })
}

/// Reads the secret from its file, whose path is returned, or from its own key. Both keys are parsed before they are
/// compared, so that the problems of each are reported.
fn secret(reader: &mut Reader) -> Checked<(Secret, Option<PathBuf>)> {
    let plain = reader.parsed(SECRET, parse_secret);
    let path = reader.owned(SECRET_FILE, absolute_path);
    match (plain?, path?) {
        (Some(plain), None) => {
            check_inline_secret(reader, &plain)?;
            warn_of_spaces(reader, &plain, &plain.value);
            Ok((plain.value, None))
        }
        (None, Some(path)) => {
            let secret = from_file(reader, &path)?;
            warn_of_spaces(reader, &path, &secret);
            Ok((secret, Some(path.value.into())))
        }
        (Some(plain), Some(path)) => {
            let other = path.origin.as_deref().unwrap_or_default();
            Err(reader.refuse(&plain, format!("{SECRET_FILE} is set too ({other}); set only one of them")))
        }
        (None, None) => {
            let text = format!(
                "required: the file that holds the client's secret, here or in {}",
                variable(SECRET_FILE)
            );
            Err(reader.missing(SECRET_FILE, text))
        }
    }
}

fn check_inline_secret(reader: &mut Reader, plain: &Setting<Secret>) -> Checked<()> {
    if !reader.is_from_file(plain) {
        return Ok(());
    }
    reader.warn(plain, format!("the secret is in the configuration itself; prefer {SECRET_FILE}"));
    reader.require_private(plain, "the configuration, which contains the secret", reader.exposure)
}

/// Warns of a secret with spaces around it. Auth0 generates none, but accepts any text through its API.
pub(super) fn warn_of_spaces<T>(reader: &mut Reader, setting: &Setting<T>, secret: &Secret) {
    if secret.expose().trim().len() != secret.len() {
        reader.warn(setting, "the secret begins or ends with a space, which counts as part of it");
    }
}

/// Reads a secret from its file, by the rules for secrets.
pub(super) fn from_file(reader: &mut Reader, path: &Setting<String>) -> Checked<Secret> {
    let (secret, exposure) =
        secret_from(Path::new(&path.value)).map_err(|wrong| reader.refuse(path, wrong))?;
    reader.require_private(path, "the file", exposure)?;
    reader.files.push(path.value.clone().into());
    Ok(secret)
}

/// The secret in a file, and what other users can do with that file.
pub(super) fn secret_from(path: &Path) -> Result<(Secret, Option<Exposure>), Wrong> {
    /// More than any secret, and a bound on the memory for a file that was named by mistake.
    const LIMIT_KIB: u64 = 64;

    let content = referenced_files::read(path, LIMIT_KIB)?;
    let exposure = content.exposure;
    Ok((secret_in(content)?, exposure))
}

/// The content of a file without one line end at its end, which editors and `echo` add.
fn secret_in(content: Content) -> Parsed<Secret> {
    let text = String::from_utf8(content.bytes).map_err(|_| "the file is not UTF-8 text".to_owned())?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    check(text).map_err(|problem| format!("the file {problem}"))
}

fn parse_secret(takes: Type, value: &Value) -> Parsed<Secret> {
    check(text(takes, value)?).map_err(|problem| format!("the text {problem}"))
}

fn check(text: &str) -> Parsed<Secret> {
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        let what = "must contain only the secret, without line breaks or other control characters";
        return Err(what.to_owned());
    }
    if let Some(found) = invisible_characters::first(text) {
        return Err(format!("must contain only the secret, without the invisible character {found}"));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_no_part_of_a_secret() {
        let read = |bytes: &[u8]| {
            secret_in(Content { bytes: bytes.to_vec(), exposure: None })
                .map(|secret| secret.expose().to_owned())
        };
        for bytes in [&b"canary"[..], b"canary\n", b"canary\r\n"] {
            assert_eq!(read(bytes), Ok("canary".to_owned()));
        }
        assert_eq!(read(b" canary "), Ok(" canary ".to_owned()));
        for bytes in [
            &b""[..],
            b"\n",
            b"\r\n",
            b" \n",
            b"canary\n\n",
            b"canary\r",
            b"can\nary",
            b"\0canary",
            b"\xffcanary",
        ] {
            assert!(!read(bytes).unwrap_err().contains("canary"), "{bytes:?}");
        }
    }
}

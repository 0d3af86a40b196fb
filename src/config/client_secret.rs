//! An application's secret: `secret_file` and `secret` of `[tenant.client]` and `[management_api]`.

use std::path::{Path, PathBuf};

use super::client_table::ClientKeys;
use super::problem::{Checked, Wrong};
use super::reader::{Reader, Setting};
use super::referenced_files::{self, Content, Exposure};
use super::schema::{Type, variable};
use super::source_values::Value;
use super::values::{Parsed, absolute_path, text};
use crate::domain::invisible_characters;
use crate::secret::Secret;

/// Both keys, as they are set.
pub(super) struct SecretKeys {
    /// The secret itself.
    pub(super) plain: Checked<Option<Setting<Secret>>>,
    /// Its file.
    pub(super) file: Checked<Option<Setting<String>>>,
}

impl SecretKeys {
    /// Parses both keys before they are compared, so that the problems of each are reported.
    pub(super) fn parse(reader: &mut Reader, paths: &ClientKeys) -> Self {
        Self {
            plain: reader.parsed(paths.secret, parse_secret),
            file: reader.owned(paths.secret_file, absolute_path),
        }
    }

    /// Reads the secret from its file, whose path is returned, or from its own key.
    pub(super) fn read(self, reader: &mut Reader, paths: &ClientKeys) -> Checked<(Secret, Option<PathBuf>)> {
        match (self.plain?, self.file?) {
            (Some(plain), None) => {
                check_inline_secret(reader, paths, &plain)?;
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
                let text = format!("{} is set too ({other}); set only one of them", paths.secret_file);
                Err(reader.refuse(&plain, text))
            }
            (None, None) => {
                let text = format!(
                    "required: the file that holds the client's secret, here or in {}",
                    variable(paths.secret_file)
                );
                Err(reader.missing(paths.secret_file, text))
            }
        }
    }
}

fn check_inline_secret(reader: &mut Reader, paths: &ClientKeys, plain: &Setting<Secret>) -> Checked<()> {
    if !reader.is_from_file(plain) {
        return Ok(());
    }
    let text = format!("the secret is in the configuration itself; prefer {}", paths.secret_file);
    reader.warn(plain, text);
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

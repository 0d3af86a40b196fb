//! `[state]`: the file with refresh tokens that rotate, and the keys that seal it.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::problem::Checked;
use super::reader::{Reader, Setting};
use super::referenced_files;
use super::reloadable::Reloadable;
use super::schema::{Type, variable};
use super::source_values::Value;
use super::values::{Parsed, absolute_path};
use crate::secret::KeyMaterial;

const PATH: &str = "state.path";
const KEY_FILE: &str = "state.key_file";

/// Enough for a key that is replaced every month, and a bound on what each record is tried with.
const MOST_KEYS: usize = 16;

/// `[state]`.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The file.
    pub path: PathBuf,
    /// The keys: the first seals, all open. Never empty.
    pub keys: Vec<KeyMaterial>,
}

impl Reloadable for Option<State> {
    fn restore_fixed(&mut self, running: &Self) {
        self.clone_from(running);
    }

    fn different_contents(&self, new: &Self) -> Vec<&'static str> {
        let keys = |state: &Self| state.as_ref().map(|state| state.keys.clone());
        if keys(self) == keys(new) { Vec::new() } else { vec![KEY_FILE] }
    }
}

/// Reads `[state]` and the file with its keys. `None` if neither key is set.
pub(super) fn read(reader: &mut Reader) -> Checked<Option<State>> {
    let path = reader.owned(PATH, file_path);
    let key_file = reader.owned(KEY_FILE, absolute_path);
    let lacks = |key: &str, what: &str| {
        format!("required with the other key of [state]: {what}, here or in {}", variable(key))
    };
    match (path?, key_file?) {
        (None, None) => Ok(None),
        (Some(path), Some(key_file)) => {
            let keys = keys_of(reader, &key_file)?;
            Ok(Some(State { path: path.value.into(), keys }))
        }
        (Some(_), None) => {
            Err(reader.missing(KEY_FILE, lacks(KEY_FILE, "the file with the keys that seal the state")))
        }
        (None, Some(_)) => Err(reader.missing(PATH, lacks(PATH, "the file with the state"))),
    }
}

/// Whether the file's directory exists and can be written to is seen at the start: `check` may run as another user,
/// and systemd creates the directory.
fn file_path(takes: Type, value: &Value) -> Parsed<&str> {
    let path = absolute_path(takes, value)?;
    match path.ends_with('/') {
        true => Err("must be the path of a file, without a slash at its end".to_owned()),
        false => Ok(path),
    }
}

fn keys_of(reader: &mut Reader, path: &Setting<String>) -> Checked<Vec<KeyMaterial>> {
    const LIMIT_KIB: u64 = 64;

    let content = referenced_files::read(Path::new(&path.value), LIMIT_KIB);
    let content = content.map_err(|error| reader.refuse(path, error))?;
    let keys = parse_keys(&content.bytes).map_err(|wrong| reader.refuse(path, wrong))?;
    reader.require_private(path, "the file", content.exposure)?;
    reader.files.push(path.value.clone().into());
    Ok(keys)
}

fn parse_keys(bytes: &[u8]) -> Parsed<Vec<KeyMaterial>> {
    let text = str::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text".to_owned())?;
    let mut keys: Vec<KeyMaterial> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), at.saturating_add(1));
        if line.is_empty() {
            continue;
        }
        let key = parse_key(line).ok_or_else(|| {
            format!(
                "line {number} of the file is no key: 32 bytes in base64 or hexadecimal; openssl rand -base64 32 \
                 creates one"
            )
        })?;
        if keys.contains(&key) {
            return Err(format!("line {number} of the file repeats an earlier one"));
        }
        keys.push(key);
    }
    match keys.len() {
        0 => Err("the file is empty; openssl rand -base64 32 creates a key".to_owned()),
        1..=MOST_KEYS => Ok(keys),
        _ => Err(format!(
            "the file has more than {MOST_KEYS} keys; remove those that no record is sealed with"
        )),
    }
}

fn parse_key(line: &str) -> Option<KeyMaterial> {
    let bytes = match line.len() {
        64 => hexadecimal(line)?,
        // Both alphabets, with or without padding.
        _ => {
            let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
            let decode = |alphabet| GeneralPurpose::new(alphabet, config).decode(line).ok();
            decode(&alphabet::STANDARD).or_else(|| decode(&alphabet::URL_SAFE))?
        }
    };
    KeyMaterial::from_bytes(&bytes)
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
    const BASE64: &str = "ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8=";

    #[test]
    fn keys_are_lines_of_base64_or_hexadecimal() {
        let key = parse_key(HEX).unwrap();
        for text in [BASE64, BASE64.trim_end_matches('='), &BASE64.replace('/', "_")] {
            assert!(parse_key(text).unwrap() == key, "{text}");
        }
        let other = "01".repeat(32);
        let keys = parse_keys(format!("{HEX}\r\n\n {other} \n").as_bytes()).unwrap();
        assert!(keys == [key, parse_key(&other).unwrap()]);
    }

    #[test]
    fn what_is_no_key_is_refused_by_its_line_and_not_repeated() {
        let refused = |text: &str| parse_keys(text.as_bytes()).unwrap_err();
        for line in ["canary", &HEX[2..], &format!("{HEX}00"), &"z".repeat(64), &BASE64[4..]] {
            let text = refused(&format!("{HEX}\n{line}\n"));
            assert!(text.starts_with("line 2 of the file is no key") && !text.contains(line), "{text}");
        }
        assert!(refused(&format!("{HEX}\n\n{BASE64}")).contains("line 3 of the file repeats"));
        assert!(refused("\n").contains("empty"));
        let many: String = (0..17).map(|at| format!("{at:064x}\n")).collect();
        assert!(refused(&many).contains("more than 16 keys"));
        assert!(parse_keys(b"\xff").is_err());
    }
}

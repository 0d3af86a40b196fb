//! `log.user_key_file`: the key of the hash by which lines name users.

use std::path::Path;

use super::problem::Checked;
use super::reader::Reader;
use super::referenced_files;
use super::values::absolute_path;
use crate::secret::TagKey;

/// The key's path.
pub(super) const KEY: &str = "log.user_key_file";

/// This many random bytes cannot be found by trying.
const SHORTEST_KEY: usize = 16;

/// Separates the key from other keys that are derived from the same file elsewhere.
const PURPOSE: &str = "cloakroom: log.user_key_file";

/// Reads `log.user_key_file`, and derives the key from its content.
pub(super) fn read(reader: &mut Reader) -> Checked<Option<TagKey>> {
    /// More than any key, and a bound on the memory for a file that was named by mistake.
    const LIMIT_KIB: u64 = 64;

    let Some(path) = reader.owned(KEY, absolute_path)? else { return Ok(None) };
    let content = match referenced_files::read(Path::new(&path.value), LIMIT_KIB) {
        Ok(content) => content,
        Err(error) => return Err(reader.refuse(&path, error)),
    };
    // Without one line end, so that it makes no difference whether an editor has added one.
    let bytes = content.bytes.strip_suffix(b"\n").unwrap_or(&content.bytes);
    if bytes.len() < SHORTEST_KEY {
        return Err(reader.refuse(
            &path,
            format!("the file has less than {SHORTEST_KEY} bytes, too few for a key; openssl rand -hex 32 creates one"),
        ));
    }
    reader.require_private(&path, "the file", content.exposure)?;
    let key = TagKey::derived(bytes, PURPOSE);
    reader.files.push(path.value.into());
    Ok(Some(key))
}

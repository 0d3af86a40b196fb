//! `log.user_key_file`: the key with which lines hash users.

use std::path::Path;

use super::files;
use super::problem::Checked;
use super::reader::Reader;
use super::values::absolute_path;
use crate::secret::TagKey;

/// So many random bytes are more than anybody can try one after the other.
const SHORTEST_KEY: usize = 16;

/// Makes the key another one than any that may be made of the same file elsewhere.
const PURPOSE: &str = "cloakroom: log.user_key_file";

/// `log.user_key_file`, as the key that its content makes.
pub(super) fn read(reader: &mut Reader) -> Checked<Option<TagKey>> {
    /// Generous for a key, and little enough to hold whatever file was named by mistake.
    const LIMIT_KIB: u64 = 64;

    let Some(path) = reader.owned("log.user_key_file", absolute_path)? else { return Ok(None) };
    let content = match files::read(Path::new(&path.value), LIMIT_KIB) {
        Ok(content) => content,
        Err(error) => return Err(reader.refuse(&path, error)),
    };
    // Less one line end, so that it makes no difference whether an editor has added one.
    let bytes = content.bytes.strip_suffix(b"\n").unwrap_or(&content.bytes);
    if bytes.len() < SHORTEST_KEY {
        return Err(reader.refuse(
            &path,
            format!("the file has less than {SHORTEST_KEY} bytes, too few for a key; openssl rand -hex 32 creates one"),
        ));
    }
    reader.require_closed(&path, "the file", content.exposure)?;
    let key = TagKey::derived(bytes, PURPOSE);
    reader.files.push(path.value.into());
    Ok(Some(key))
}

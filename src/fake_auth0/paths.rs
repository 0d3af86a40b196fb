//! Paths of the Management API.

use percent_encoding::percent_decode_str;

/// Returns the user id in a path, decoded once; `None` for other paths and for ids that are not UTF-8.
pub(super) fn user_in_path(path: &str) -> Option<String> {
    let segment = path.strip_prefix("/api/v2/users/")?.split('/').next().filter(|id| !id.is_empty())?;
    Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned())
}

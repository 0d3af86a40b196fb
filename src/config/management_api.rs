//! `[management_api]`: the application whose tokens proxied calls of the Management API carry.

use std::sync::Arc;

use super::client::{self, Client};
use super::client_table::ClientTable;
use super::problem::Checked;
use super::reader::Reader;
use super::reloadable::Reloadable;

/// Reads `[management_api]` and the files that it names; `None` without the table. `client` is `[tenant.client]`, if it
/// is valid.
pub(super) fn read(reader: &mut Reader, client: Option<&Client>) -> Checked<Option<Arc<Client>>> {
    let table = ClientTable::ManagementApi;
    if !reader.has_table(table.path()) {
        return Ok(None);
    }
    let own = client::read(reader, table)?;
    if client.is_some_and(|client| client.id == own.id) {
        return Err(reader.missing(
            table.keys().id,
            "must be another application than that of tenant.client.id: a token that may read users' tokens at identity \
             providers (read:user_idp_tokens), as that one has to, would show them to every client that may read a user \
             through /api/v2",
        ));
    }
    Ok(Some(Arc::new(own)))
}

impl Reloadable for Option<Arc<Client>> {
    fn different_contents(&self, new: &Self) -> Vec<&'static str> {
        match (self, new) {
            (Some(old), Some(new)) => old.different_contents(new),
            // The other keys of the table are added or removed as well.
            _ => Vec::new(),
        }
    }
}

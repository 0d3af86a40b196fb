//! The keys of `[management_api]`.

use super::client::client_keys;
use super::key::{DefaultValue, Key, Reload, Table, Type};

/// `[management_api]`.
pub(super) const MANAGEMENT_API: Table = Table {
    path: "management_api",
    list: None,
    doc: "The Machine to Machine application that calls of the Management API through `/api/v2` go out as. Without this \
          table there are none. It needs the permissions that the calls need, and must not have `read:user_idp_tokens`.\n\n\
          With that permission Auth0 puts the tokens of identity providers into every answer about a user, refresh tokens \
          among them, past every rule about connections and users. So this application is another one than that of \
          `tenant.client.id`, and the scopes of each of its tokens are checked: the daemon ends with exit code 78 if the \
          first token after its start has that scope, and makes no calls while a later token has it.\n\n\
          The keys are those of `[tenant.client]`. `[management]` and `[upstream]` apply to its tokens and calls as well. \
          A reload may add the table or remove it.",
    keys: client_keys!("management_api", "client_id", "your-other-client-id", "management_api"),
};

//! The keys of `[tenant.client]`.

use super::key::{DefaultValue, Key, Reload, Table, Type};

/// `[tenant.client]`.
pub(super) const CLIENT: Table = Table {
    path: "tenant.client",
    list: None,
    doc: "The Machine to Machine application that obtains Management tokens. It needs the permissions `read:users` and \
          `read:user_idp_tokens`, and no others.",
    keys: &[
        Key {
            path: "tenant.client.id",
            takes: Type::Text(r"^\S"),
            default: DefaultValue::Required("the application's client id"),
            reload: Reload::Live,
            example: Some("your-client-id"),
            doc: "The application's client id.",
        },
        Key {
            path: "tenant.client.secret_file",
            takes: Type::Path,
            default: DefaultValue::Absent("none; required unless `tenant.client.secret` is set"),
            reload: Reload::Live,
            example: Some("/etc/cloakroom/client_secret"),
            doc: "The file that holds the client's secret, and nothing else but one line end. Mode 0400 or 0440.\n\n\
                  The file holds at most 64 KiB of UTF-8. A file that every user may read, or that others than its \
                  owner may change, is refused. For a secret that Kubernetes or Compose has mounted into a container \
                  that is a warning where the mode cannot be helped.\n\n\
                  The file's directory is watched and the file is read once a minute: a secret that was replaced is \
                  used for the next grant, without a reload.",
        },
        Key {
            path: "tenant.client.secret",
            takes: Type::Secret(r"\S"),
            default: DefaultValue::Absent("none"),
            reload: Reload::Live,
            example: Some("your-client-secret"),
            doc: "The client's secret itself, instead of `tenant.client.secret_file`. Setting both is an error.\n\n\
                  In a file the secret is warned about, and the file must not be readable by every user. In the \
                  environment it stays visible to root under `/proc`. Prefer `tenant.client.secret_file`.",
        },
        Key {
            path: "tenant.client.auth",
            takes: Type::Choice(&["client_secret_post", "client_secret_basic"]),
            default: DefaultValue::Value("client_secret_post"),
            reload: Reload::Live,
            example: None,
            doc: "How the application authenticates at the token endpoint (RFC 6749, section 2.3.1): \
                  `client_secret_post` sends id and secret in the form, `client_secret_basic` in the `Authorization` \
                  header.",
        },
    ],
};

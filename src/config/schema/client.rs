//! The keys of `[tenant.client]`, which `[management_api]` has as well.

use super::key::{DefaultValue, Key, Reload, Table, Type};

/// The keys of a table that names an application: the table's path, the name of the client id's key with a sample id, and
/// how the names of sample files begin.
macro_rules! client_keys {
    ($table:literal, $id:literal, $example:literal, $file:literal) => {
        &[
            Key {
                path: concat!($table, ".", $id),
                takes: Type::Text(r"^\S"),
                default: DefaultValue::Required("the application's client id"),
                reload: Reload::Live,
                example: Some($example),
                doc: "The application's client id.",
            },
            Key {
                path: concat!($table, ".secret_file"),
                takes: Type::Path,
                default: DefaultValue::Absent(
                    concat!("none; required with a secret, unless `", $table, ".secret` is set"),
                ),
                reload: Reload::Live,
                example: Some(concat!("/etc/cloakroom/", $file, "_secret")),
                doc: "The file that holds the client's secret, and nothing else but one line end. Mode 0400 or 0440.\n\n\
                      The file holds at most 64 KiB of UTF-8. A file that every user may read, or that others than its \
                      owner may change, is refused. For a secret that Kubernetes or Compose has mounted into a container \
                      that is a warning where the mode cannot be helped.\n\n\
                      The file's directory is watched and the file is read once a minute: a secret that was replaced is \
                      used for the next grant, without a reload.",
            },
            Key {
                path: concat!($table, ".secret"),
                takes: Type::Secret(r"\S"),
                default: DefaultValue::Absent("none"),
                reload: Reload::Live,
                example: Some("your-client-secret"),
                doc: concat!("The client's secret itself, instead of `", $table, ".secret_file`. Setting both is an \
                      error.\n\n\
                      In a file the secret is warned about, and the file must not be readable by every user. In the \
                      environment it stays visible to root under `/proc`. Prefer `", $table, ".secret_file`."),
            },
            Key {
                path: concat!($table, ".auth"),
                takes: Type::Choice(&[
                    "client_secret_post",
                    "client_secret_basic",
                    "private_key_jwt",
                    "tls_client_auth",
                ]),
                default: DefaultValue::Value("client_secret_post"),
                reload: Reload::Live,
                example: None,
                doc: "How the application authenticates at the token endpoint: `client_secret_post` sends id and secret in \
                      the form, `client_secret_basic` in the `Authorization` header, `private_key_jwt` signs an assertion, \
                      `tls_client_auth` presents a certificate.\n\n\
                      It has to be the method that the application has at Auth0. \
                      [Client authentication](../guides/client-authentication.md) says how each is set up.",
            },
            Key {
                path: concat!($table, ".key_file"),
                takes: Type::Path,
                default: DefaultValue::Absent("none; required with `private_key_jwt` and `tls_client_auth`"),
                reload: Reload::Live,
                example: Some(concat!("/etc/cloakroom/", $file, "_key.pem")),
                doc: concat!("The file that holds the client's private key, as PEM (PKCS#8 or PKCS#1) without a passphrase. \
                      Mode 0400 or 0440.\n\n\
                      With `private_key_jwt` it is an RSA key of 2048 to 4096 bits, whose public key is registered with \
                      Auth0. With `tls_client_auth` it is the key of `", $table, ".certificate_file`, of any kind.\n\n\
                      The file is under the same rules as `", $table, ".secret_file`, and watched as that is."),
            },
            Key {
                path: concat!($table, ".next_key_file"),
                takes: Type::Path,
                default: DefaultValue::Absent("none"),
                reload: Reload::Live,
                example: Some(concat!("/etc/cloakroom/next_", $file, "_key.pem")),
                doc: concat!("The file that holds the key that is to replace the one in `", $table, ".key_file`. It is tried \
                      first, and the other one if Auth0 refuses it.\n\n\
                      So a key is replaced without a gap, in whichever order it is registered and configured. Only with \
                      `private_key_jwt`."),
            },
            Key {
                path: concat!($table, ".signing_alg"),
                takes: Type::Choice(&["RS256", "RS384", "PS256"]),
                default: DefaultValue::Absent("`RS256`"),
                reload: Reload::Live,
                example: Some("RS256"),
                doc: "The algorithm of the client's signatures, with which the key is registered at Auth0. Only with \
                      `private_key_jwt` and `tls_client_auth`.",
            },
            Key {
                path: concat!($table, ".certificate_file"),
                takes: Type::Path,
                default: DefaultValue::Absent("none; required with `tls_client_auth`"),
                reload: Reload::Live,
                example: Some(concat!("/etc/cloakroom/", $file, "_certificate.pem")),
                doc: "The file that holds the client's certificate, as PEM, and after it those of intermediate authorities \
                      if the server needs them. At most 64 KiB.\n\n\
                      It is presented to the token endpoint alone. The file is watched: a new certificate with its key is \
                      used for the next grant, without a reload.",
            },
            Key {
                path: concat!($table, ".token_host"),
                takes: Type::Text(r"^[^\s/?#@]+$"),
                default: DefaultValue::Absent("the one that the tenant's discovery document names"),
                reload: Reload::Live,
                example: Some("mtls.login.acme.example"),
                doc: "The token endpoint's host name, or `host:port`, with `tls_client_auth`.\n\n\
                      Without it the daemon reads `mtls_endpoint_aliases` of \
                      `https://DOMAIN/.well-known/openid-configuration`, and takes `tenant.domain` if there are none. The \
                      Management API is always asked at `tenant.domain`, without a certificate.",
            },
        ]
    };
}

pub(super) use client_keys;

/// `[tenant.client]`.
pub(super) const CLIENT: Table = Table {
    path: "tenant.client",
    list: None,
    doc: "The Machine to Machine application that obtains Management tokens. It needs the permissions `read:users` and \
          `read:user_idp_tokens`, and no others.",
    keys: client_keys!("tenant.client", "id", "your-client-id", "client"),
};

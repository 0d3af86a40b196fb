//! The keys of `[vault]`.

use super::key::{DefaultValue, Key, Reload, Table, Type};

/// `[vault]`.
pub(super) const VAULT: Table = Table {
    path: "vault",
    list: None,
    doc: "The client of Auth0's Token Vault, for connections that have `vault` in `connection.sources`. It needs \
          `private_key_jwt` or `tls_client_auth` in `tenant.client.auth`.\n\n\
          The daemon is a privileged worker of the vault: it states in a token that it signs itself which user's account \
          it asks for. Auth0 verifies the signature with a public key that is registered under `credentials` of the \
          application's `token_vault_privileged_access`.\n\n\
          Exchanges have a budget of their own with the figures of `[upstream]`, because Auth0's limits of its token \
          endpoint are apart from those of the Management API. A 429 for an exchange stops exchanges alone.",
    keys: &[
        Key {
            path: "vault.audit_context",
            takes: Type::Text(r"^\S.{0,255}$"),
            default: DefaultValue::Value("cloakroom"),
            reload: Reload::Live,
            example: None,
            doc: "What Auth0's tenant log states as the reason of each exchange, in 1 to 256 characters without control \
                  characters.\n\n\
                  Auth0 advises against personal data in it, because log streams pass it on.",
        },
        Key {
            path: "vault.key_file",
            takes: Type::Path,
            default: DefaultValue::Absent("the client's own key"),
            reload: Reload::Live,
            example: Some("/etc/cloakroom/vault_key.pem"),
            doc: "The file that holds the private key of subject tokens, as PEM (PKCS#8 or PKCS#1) without a passphrase: \
                  an RSA key of 2048 bits and more. Mode 0400 or 0440.\n\n\
                  Without it the key of `tenant.client.key_file` signs them, and that of `tenant.client.next_key_file`: \
                  one key can be registered at Auth0 for both uses. It is needed with `tls_client_auth` if the \
                  certificate's key is not an RSA key. It also separates the two uses, so that access to users' accounts \
                  is withdrawn by removing one credential.\n\n\
                  A reload reads the file again. The key before it remains in use until Auth0 accepts the new one.",
        },
        Key {
            path: "vault.signing_alg",
            takes: Type::Choice(&["RS256", "RS384", "PS256"]),
            default: DefaultValue::Absent("`RS256`"),
            reload: Reload::Live,
            example: Some("RS256"),
            doc: "The algorithm with which the key in `vault.key_file` is registered at Auth0.",
        },
    ],
};

//! The keys of `[[connection]]` and `[connection.refresh]`.

use std::time::Duration;

use super::key::{DefaultValue, Key, List, Reload, Table, Type};

/// The path of `[[connection]]`.
pub(in crate::config) const CONNECTION_PATH: &str = "connection";

const HOUR: Duration = Duration::from_secs(3600);

/// `[[connection]]`.
pub(super) const CONNECTION: Table = Table {
    path: CONNECTION_PATH,
    list: Some(List { most: 64, elements: "connections", example: "connection.0.name" }),
    doc: "The Auth0 connections whose tokens come from more than what Auth0 stores, one table each.\n\n\
          Auth0 stores the token of a user's last login and never renews it. A connection with further sources gets a \
          token from them when the stored one has expired.",
    keys: &[
        Key {
            path: "connection.name",
            takes: Type::Text(r"^\S"),
            default: DefaultValue::Required("the connection's name in Auth0"),
            reload: Reload::Live,
            example: Some("google-oauth2"),
            doc: "The connection's name in Auth0, as answers have it in `connection`.",
        },
        Key {
            path: "connection.sources",
            takes: Type::Words(&["identities", "refresh", "vault"]),
            default: DefaultValue::Value("identities"),
            reload: Reload::Live,
            example: Some("identities,refresh"),
            doc: "The sources of tokens, in the order in which they are asked: `identities`, what Auth0 stores; `refresh`, \
                  the provider, for the refresh token that Auth0 stores; `vault`, Auth0's Token Vault.\n\n\
                  A source is asked when the one before it has no token or an expired one, and not when it cannot be \
                  reached. `refresh` needs `[connection.refresh]`, `vault` needs `[vault]`. `refresh` needs a connection \
                  in whose logins the provider issues a refresh token: at Google with `access_type=offline`, at most \
                  others with the scope `offline_access`.",
        },
        Key {
            path: "connection.assumed_ttl",
            takes: Type::Duration { min: Duration::from_secs(60), max: Duration::from_secs(24 * 3600) },
            default: DefaultValue::Absent("none; such a token has no known expiry"),
            reload: Reload::Live,
            example: Some("10m"),
            doc: "For how long a token from `refresh` or `vault` counts as valid whose source states no expiry, as \
                  Salesforce does not. Longer than `cache.min_ttl`.",
        },
    ],
};

/// `[connection.refresh]`.
pub(super) const REFRESH: Table = Table {
    path: "connection.refresh",
    list: None,
    doc: "The connection's client at its identity provider, with which refresh tokens are redeemed.\n\n\
          A refresh token belongs to the client that it was issued to, so this is the client id and secret that the \
          connection has in Auth0. Auth0's developer keys cannot be used.",
    keys: &[
        Key {
            path: "connection.refresh.provider",
            takes: Type::Choice(PROVIDERS),
            default: DefaultValue::Required(
                "the identity provider, or \"oauth2\" for any that is not built in",
            ),
            reload: Reload::Live,
            example: Some("google"),
            doc: "The identity provider, which decides about the keys below that are not set, and about which answers end \
                  a refresh token. `oauth2` is for any other provider that follows RFC 6749, and assumes that a refresh \
                  token is valid once.",
        },
        Key {
            path: "connection.refresh.client_id",
            takes: Type::Text(r"^\S"),
            default: DefaultValue::Required("the client id that the connection has in Auth0"),
            reload: Reload::Live,
            example: Some("1234.apps.googleusercontent.com"),
            doc: "The client id that the connection has in Auth0.",
        },
        Key {
            path: "connection.refresh.secret_file",
            takes: Type::Path,
            default: DefaultValue::Required("the file that holds the client secret of the connection"),
            reload: Reload::Live,
            example: Some("/etc/cloakroom/google_secret"),
            doc: "The file that holds the client secret, under the rules of `tenant.client.secret_file`.\n\n\
                  The file's directory is watched and the file is read once a minute: a secret that was replaced is used \
                  for the next refresh, without a reload.",
        },
        Key {
            path: "connection.refresh.previous_secret_file",
            takes: Type::Path,
            default: DefaultValue::Absent("none"),
            reload: Reload::Live,
            example: Some("/etc/cloakroom/google_secret.previous"),
            doc: "The file that holds the client secret before this one, while a secret is being replaced. It is used if \
                  the provider refuses the client with the secret of `connection.refresh.secret_file`.",
        },
        Key {
            path: "connection.refresh.token_endpoint",
            takes: Type::Text("^https://"),
            default: DefaultValue::Absent(
                "that of the provider; required with `okta`, `microsoft` and `oauth2`",
            ),
            reload: Reload::Live,
            example: Some("https://login.microsoftonline.com/TENANT/oauth2/v2.0/token"),
            doc: "The URL of the token endpoint, https. The client secret and refresh tokens are sent to it, and no redirect \
                  is followed.\n\n\
                  Set it where the URL depends on a tenant or an installation: Entra ID \
                  (`https://login.microsoftonline.com/TENANT/oauth2/v2.0/token`), Okta \
                  (`https://TENANT.okta.com/oauth2/v1/token`, or that of a custom authorization server), GitLab that is \
                  self-managed (`https://HOST/oauth/token`), GitHub Enterprise Server \
                  (`https://HOST/login/oauth/access_token`), Salesforce with a domain of its own or a sandbox \
                  (`https://HOST/services/oauth2/token`).",
        },
        Key {
            path: "connection.refresh.client_auth",
            takes: Type::Choice(&["post", "basic"]),
            default: DefaultValue::Absent("that of the provider; `post` with `oauth2`"),
            reload: Reload::Live,
            example: Some("basic"),
            doc: "How the client authenticates: `post` sends id and secret in the form, `basic` in the `Authorization` \
                  header.",
        },
        Key {
            path: "connection.refresh.scope",
            takes: Type::Text(r"^\S"),
            default: DefaultValue::Absent("none; the token has the scope of the login"),
            reload: Reload::Live,
            example: Some("https://graph.microsoft.com/Mail.Read offline_access"),
            doc: "The scope that a refresh asks for, separated by spaces. It can only be a part of what the user has \
                  consented to. Entra ID issues a token for one resource, which this selects.",
        },
        Key {
            path: "connection.refresh.rotation",
            takes: Type::Choice(&["none", "keep_old", "single"]),
            default: DefaultValue::Absent("that of the provider; `single` with `oauth2`"),
            reload: Reload::Live,
            example: Some("none"),
            doc: "What becomes of a refresh token that is redeemed: with `none` it stays, with `keep_old` there is a new one \
                  and the old one stays valid, with `single` the old one ends.\n\n\
                  `single` needs `[state]`. A provider that rotates and is configured as one that does not makes users \
                  log in again. Set `none` only if the provider's documentation says so; Salesforce and Okta rotate if the \
                  application is set up that way.",
        },
        Key {
            path: "connection.refresh.grace",
            takes: Type::Duration { min: Duration::ZERO, max: HOUR },
            default: DefaultValue::Absent("that of the provider; `0s` with `oauth2`"),
            reload: Reload::Live,
            example: Some("30s"),
            doc: "For how long the provider redeems a refresh token once more that has been redeemed already, for a client \
                  that did not receive the answer. With rotation `single`, a refresh whose answer is lost is repeated once. Within \
                  this time that succeeds; later, it succeeds only if the provider did not process the first request.",
        },
    ],
};

/// The names of the built-in providers, as rows of `domain::provider` have them.
const PROVIDERS: &[&str] = &[
    "google",
    "microsoft",
    "github",
    "gitlab",
    "bitbucket",
    "slack",
    "salesforce",
    "linkedin",
    "dropbox",
    "box",
    "zoom",
    "spotify",
    "okta",
    "atlassian",
    "hubspot",
    "xero",
    "quickbooks",
    "oauth2",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::provider;

    #[test]
    fn the_choice_names_every_provider_of_the_table() {
        let names: Vec<_> = provider::PROVIDERS.iter().map(|provider| provider.name).collect();
        assert_eq!(names, PROVIDERS);
    }
}

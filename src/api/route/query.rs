//! The query parameters that routes take.

/// A query parameter.
#[derive(Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// The type that `openapi.json` states.
    pub kind: ParameterKind,
    /// What it does.
    pub description: &'static str,
    /// A value.
    pub example: &'static str,
}

/// The type of a query parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Any text but the empty one.
    Text,
    /// Whole seconds; a duration such as `1m30s` is accepted as well.
    Seconds,
    /// `true` or `false`.
    Flag,
}

/// The query parameters of a token lookup.
pub const TOKEN_QUERY: &[Parameter] = &[
    Parameter {
        name: "connection",
        kind: ParameterKind::Text,
        description: "Selects the identity of this connection.",
        example: "google-oauth2",
    },
    Parameter {
        name: "provider",
        kind: ParameterKind::Text,
        description: "Selects the identity at this provider. One provider may serve several connections.",
        example: "google-oauth2",
    },
    Parameter {
        name: "identity_user_id",
        kind: ParameterKind::Text,
        description: "Selects the identity with this account id at its provider, which tells several accounts of one \
                      connection apart.",
        example: "103547991597142817347",
    },
    Parameter {
        name: "min_ttl",
        kind: ParameterKind::Seconds,
        description: "For how many seconds the token has to be valid at least. A duration such as `1m30s` is accepted as \
                      well.",
        example: "60",
    },
    Parameter {
        name: "fresh",
        kind: ParameterKind::Flag,
        description: "Asks Auth0 now, whatever is cached; answered 429 `rate_limited` if the budget has no room to spare. \
                      `True`, `1`, `False` and `0` are accepted as well.",
        example: "true",
    },
    Parameter {
        name: "scope",
        kind: ParameterKind::Text,
        description: "The scopes that the token has to have, separated by spaces. Answered 409 `insufficient_scope` if the \
                      token's scopes are known and lack one; if they are not known, the token is served and `scopes` is null.",
        example: "https://www.googleapis.com/auth/calendar",
    },
];

/// The query parameters of a purge.
pub const PURGE_QUERY: &[Parameter] = &[Parameter {
    name: "credentials",
    kind: ParameterKind::Flag,
    description: "Also forgets the refresh tokens that the daemon has, in memory and in `[state]`. A refresh token that its \
                  provider has replaced is lost then: until the next login the daemon has no token for the user.",
    example: "true",
}];

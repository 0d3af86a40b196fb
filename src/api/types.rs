//! JSON bodies of the interface, as types: the daemon writes them, the client commands read them.
//!
//! `openapi.json` and the HTTP reference are made from these types and their comments. A field that is named `at`, or
//! ends in `_at`, holds a date as in RFC 3339.

use std::borrow::Cow;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::identity::Candidate;

mod status;

pub use status::{
    CacheStatus, ClientCertificateStatus, FailureStatus, ListenerStatus, LookupCounts, ManagementTokenStatus,
    SourceStatus, StateStatus, StatusAnswer, UpstreamFailure, UpstreamStatus,
};

/// The access token of one of a user's identities.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct TokenAnswer<'a> {
    /// The user's id, as asked for.
    pub user_id: Cow<'a, str>,
    /// The connection of the identity that carries the token.
    pub connection: Cow<'a, str>,
    /// The identity's provider.
    pub provider: Cow<'a, str>,
    /// The account's id at the provider; always text.
    pub identity_user_id: Cow<'a, str>,
    /// The access token that the provider issued.
    pub access_token: Cow<'a, str>,
    /// The second half of the token, if the provider speaks OAuth 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_secret: Option<Cow<'a, str>>,
    /// The scheme that the token is used with: `Bearer`, or `OAuth` if it has a second half.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["Bearer", "OAuth"])))]
    pub token_type: Cow<'a, str>,
    /// When the token expires; null if that is not known.
    pub expires_at: Option<String>,
    /// Whole seconds from this answer to the expiry, rounded down; null if that is not known.
    pub expires_in: Option<u64>,
    /// How the expiry is known. `jwt`: the token's own `exp`. `login`: the last login plus the provider's `expires_in`, or
    /// the date that the provider sent in its place. `first_seen`: the moment at which the daemon first saw the token plus
    /// `expires_in`, where Auth0 states no login. `issued`: the provider or Token Vault stated it when it issued the token.
    /// `assumed`: the connection's `assumed_ttl`, since the source stated none. `none`: not known.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["jwt", "login", "first_seen", "issued", "assumed", "none"])))]
    pub expiry_basis: Cow<'a, str>,
    /// Where the token comes from. `identities`: Auth0 stored it at the user's last login. `refresh`: the provider issued it
    /// for the refresh token that Auth0 stored. `vault`: Auth0's Token Vault issued it.
    // A daemon from before there were sources does not state it, and a newer command may ask it.
    #[serde(default = "identities")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["identities", "refresh", "vault"])))]
    pub source: Cow<'a, str>,
    /// The scopes that are known to be granted; null if they are not known.
    pub scopes: Option<Vec<Cow<'a, str>>>,
    /// When Auth0 was asked for the user.
    pub fetched_at: String,
    /// Names the token without revealing it; differs in every run of the daemon.
    pub fingerprint: String,
}

fn identities() -> Cow<'static, str> {
    "identities".into()
}

/// A token that its provider refused.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Report {
    /// As in the answer that held the token.
    pub fingerprint: String,
}

/// The outcome of a report.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct ReportAnswer<'a> {
    /// `dropped`: that token was cached, and is not served again; also the answer to a second report. `already_replaced`:
    /// another token is cached. `unknown`: no token is cached.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["dropped", "already_replaced", "unknown"])))]
    pub outcome: Cow<'a, str>,
}

/// The Management API token, which reads every user of the tenant.
// A secret: this type has no `Debug`.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct ManagementTokenAnswer<'a> {
    /// The token.
    pub access_token: Cow<'a, str>,
    /// The scheme that the token is used with: `Bearer`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["Bearer"])))]
    pub token_type: Cow<'a, str>,
    /// When the token expires; null if that is not known.
    pub expires_at: Option<String>,
    /// Whole seconds from this answer to the expiry, rounded down; null if that is not known.
    pub expires_in: Option<u64>,
    /// The scopes that Auth0 granted; null if it did not state them.
    pub scopes: Option<Vec<String>>,
}

/// A user's identities, without tokens.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct IdentitiesAnswer<'a> {
    /// The user's id, as asked for.
    pub user_id: Cow<'a, str>,
    /// Whether Auth0 has blocked the user; then no token is served.
    pub blocked: bool,
    /// When Auth0 was asked for the user.
    pub fetched_at: String,
    /// The identities that the client may see, the primary one first.
    pub identities: Vec<IdentityAnswer<'a>>,
}

/// One account at one identity provider.
#[derive(Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct IdentityAnswer<'a> {
    /// The connection's name, which selects this identity.
    pub connection: Cow<'a, str>,
    /// The provider's name.
    pub provider: Cow<'a, str>,
    /// The account's id at the provider; always text.
    pub identity_user_id: Cow<'a, str>,
    /// Whether Auth0 counts the provider as social.
    pub is_social: bool,
    /// `available`: the identity carries a token. `expired`: it carries one that has expired. `none`: it carries none.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["available", "expired", "none"])))]
    pub token: Cow<'a, str>,
    /// When the token expires or expired; null if that is not known.
    pub expires_at: Option<String>,
    /// How the expiry is known. `jwt`: the token's own `exp`. `login`: the last login plus the provider's `expires_in`, or
    /// the date that the provider sent in its place. `first_seen`: the moment at which the daemon first saw the token plus
    /// `expires_in`, where Auth0 states no login. `issued`: the provider or Token Vault stated it when it issued the token.
    /// `assumed`: the connection's `assumed_ttl`, since the source stated none. `none`: not known.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["jwt", "login", "first_seen", "issued", "assumed", "none"])))]
    pub expiry_basis: Cow<'a, str>,
}

/// An error (RFC 9457). Decide by `code`; `detail` is for people.
#[derive(Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct Problem {
    /// `urn:cloakroom:problem:` and the code.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(extend("format" = "uri")))]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    #[cfg_attr(feature = "schema", schemars(range(min = 400, max = 599)))]
    pub status: u16,
    /// What went wrong. Further codes may be added.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = super::error::names())))]
    pub code: String,
    /// The cause and the fix.
    pub detail: String,
    /// As in the `Cloakroom-Request-Id` header.
    pub request_id: String,
    /// `invalid_request`: the part of the request that is wrong: a query parameter, `user_id`, `fingerprint` or `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// `identity_not_found`, `ambiguous_identity`: the connections to choose from; of very many, some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Vec<String>>,
    /// `ambiguous_identity`: the identities that carry a token; of very many, some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identities: Option<Vec<CandidateAnswer>>,
    /// `login_required`: why a login is needed. Further reasons may be added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `insufficient_scope`: the scopes that the request names and the token lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<String>>,
    /// `insufficient_scope`: the scopes that are granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// `insufficient_scope`: the parameters for `/authorize` of a login that asks for what is granted and what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<AuthorizeRequest>,
    /// `login_required`: when the token expired, or when it will within `cache.min_ttl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_at: Option<String>,
    /// `min_ttl_unsatisfiable`: whole seconds for which the token is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    /// `management_token_unavailable`, `source_misconfigured`: whether only a change of configuration helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permanent: Option<bool>,
    /// `invalid_configuration`: everything that is wrong with the configuration, one line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<String>>,
}

/// Parameters for Auth0's `/authorize`, besides those that every login has.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct AuthorizeRequest {
    /// The connection to log in with.
    pub connection: String,
    /// The provider's scopes to ask for, separated by commas. Auth0 adds those that the connection itself asks for.
    pub connection_scope: String,
}

/// An identity, by the names that select it.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct CandidateAnswer {
    /// The connection's name.
    pub connection: String,
    /// The provider's name.
    pub provider: String,
    /// The account's id at the provider; always text.
    pub identity_user_id: String,
}

impl From<&Candidate> for CandidateAnswer {
    fn from(Candidate { connection, provider, user_id }: &Candidate) -> Self {
        let [connection, provider, identity_user_id] = [connection, provider, user_id].map(String::clone);
        Self { connection, provider, identity_user_id }
    }
}

/// A configuration that was read again and is in force.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct ReloadAnswer {
    /// Settings that have another value now.
    pub changed: Vec<ChangeAnswer>,
    /// Settings whose new value takes effect with a restart; the old value stays in force.
    pub needs_restart: Vec<ChangeAnswer>,
    /// What is valid but likely not intended, one line each.
    pub warnings: Vec<String>,
}

/// A setting that differs.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct ChangeAnswer {
    /// The key, as a dotted path.
    pub key: String,
    /// The old value; null if it is not shown.
    pub from: Option<String>,
    /// The new value; null if it is not shown.
    pub to: Option<String>,
}

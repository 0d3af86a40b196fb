//! JSON bodies of the interface, as types: the daemon writes them, the client commands read them.
//!
//! `openapi.json` and the HTTP reference are made from these types and their comments. A field that is named `at`, or
//! ends in `_at`, holds a date as in RFC 3339.

use std::borrow::Cow;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::identity::Candidate;

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
    /// `none`: not known.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["jwt", "login", "first_seen", "issued", "none"])))]
    pub expiry_basis: Cow<'a, str>,
    /// Where the token comes from. `identities`: Auth0 stored it at the user's last login. `refresh`: the provider issued it
    /// for the refresh token that Auth0 stored. `vault`: Auth0's Token Vault issued it.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["identities", "refresh", "vault"])))]
    pub source: Cow<'a, str>,
    /// The scopes that are known to be granted; null if they are not known.
    pub scopes: Option<Vec<Cow<'a, str>>>,
    /// When Auth0 was asked for the user.
    pub fetched_at: String,
    /// Names the token without revealing it; differs in every run of the daemon.
    pub fingerprint: String,
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
    /// `none`: not known.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["jwt", "login", "first_seen", "issued", "none"])))]
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

/// The daemon's state, without tokens and user ids.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct StatusAnswer {
    /// The daemon's version.
    pub version: String,
    /// When the daemon started.
    pub started_at: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Whether lookups can be answered: a Management token is held, and no shutdown has begun.
    pub ready: bool,
    /// Whether a shutdown has begun.
    pub draining: bool,
    /// `tenant.domain`.
    pub tenant: String,
    /// The Management token.
    pub management_token: ManagementTokenStatus,
    /// The certificate with which the daemon authenticates at Auth0; null if it uses a secret or a key.
    #[serde(default)]
    pub client_certificate: Option<ClientCertificateStatus>,
    /// The cache.
    pub cache: CacheStatus,
    /// Lookups since the start, by outcome.
    pub lookups: LookupCounts,
    /// Requests to Auth0 since the start.
    pub upstream: UpstreamStatus,
    /// The daemon's sockets.
    pub listeners: Vec<ListenerStatus>,
}

/// The state of the Management token, without the token.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct ManagementTokenStatus {
    /// Whether the daemon has a Management token that it may use.
    pub valid: bool,
    /// When the token expires; null if there is none.
    pub expires_at: Option<String>,
    /// When the token is renewed, or when the next attempt is made; null while one is under way.
    pub next_refresh_at: Option<String>,
    /// When a token was last obtained; null if none has been.
    pub last_success_at: Option<String>,
    /// The scopes that Auth0 granted; null if it did not state them.
    pub scopes: Option<Vec<String>>,
    /// The scopes that are needed and were not granted.
    pub missing_scopes: Vec<String>,
    /// Why Auth0 does not accept the tokens that it issues; null if it does.
    pub refusal: Option<String>,
    /// Why the last attempt failed; null if it did not.
    pub failure: Option<FailureStatus>,
}

/// A failed attempt to obtain a Management token.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct FailureStatus {
    /// The cause and the fix.
    pub detail: String,
    /// Whether only a change of configuration helps.
    pub permanent: bool,
    /// How many attempts in a row have failed.
    pub attempts: u64,
}

/// The client's certificate.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct ClientCertificateStatus {
    /// When it expires; of several in the file, the first to expire.
    pub expires_at: String,
    /// Whether it has expired.
    pub expired: bool,
}

/// The cache.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct CacheStatus {
    /// Users in the cache.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// `cache.max_bytes`.
    pub max_bytes: u64,
}

/// Lookups since the start, by outcome.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct LookupCounts {
    /// Answered from the cache.
    pub hit: u64,
    /// Answered by asking Auth0.
    pub miss: u64,
    /// Answered from the cache because Auth0 could not be asked.
    pub stale: u64,
    /// Answered with a fact: no such user, no token, a login is required, and so on.
    pub negative: u64,
    /// Not answered.
    pub error: u64,
}

/// Requests to Auth0 since the start.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(default)]
pub struct UpstreamStatus {
    /// Requests to the token endpoint.
    pub token_requests: u64,
    /// Requests for users.
    pub user_requests: u64,
    /// Requests for the key set that user tokens are verified with.
    pub key_requests: u64,
    /// Requests of all three kinds that failed.
    pub failures: u64,
    /// The latest failed request; null if none has failed.
    pub last_failure: Option<UpstreamFailure>,
    /// Lookups that joined a request under way instead of making one.
    pub flights_joined: u64,
    /// Seconds for which Auth0 is not asked, because the tenant's rate limit is reached; null if it is not.
    pub gate_closed_for: Option<u64>,
    /// Requests that wait in the budget of `[upstream]`.
    pub waiting: u64,
    /// Requests left of the tenant's rate limit, as Auth0 stated last; null until it has.
    pub ratelimit_remaining: Option<u64>,
    /// Whether refreshing ahead is suspended because few requests are left.
    pub thrifty: bool,
    /// Seconds by which Auth0's clock is ahead of this machine's; negative if it is behind.
    pub clock_skew_seconds: f64,
}

/// A failed request to Auth0.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct UpstreamFailure {
    /// When it failed.
    pub at: String,
    /// The cause and the fix.
    pub detail: String,
}

/// One listener.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct ListenerStatus {
    /// The socket's path.
    pub path: String,
    /// Open connections.
    pub connections: u64,
}

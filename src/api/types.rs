//! The JSON bodies that callers get, as types: the server writes them, the client commands read them.
//!
//! `openapi.json` describes the same shapes; `tests/tidy/docs.rs` compares the two.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::domain::identity::Candidate;

/// `GET /v1/users/{user_id}/token`: one identity provider's token.
#[derive(Deserialize, Serialize)]
pub struct TokenAnswer<'a> {
    /// The user's id, as asked for.
    pub user_id: Cow<'a, str>,
    /// The connection of the identity that carries the token.
    pub connection: Cow<'a, str>,
    /// Its provider.
    pub provider: Cow<'a, str>,
    /// The account's id at the provider; always text.
    pub identity_user_id: Cow<'a, str>,
    /// The token.
    pub access_token: Cow<'a, str>,
    /// Its second half, where the provider speaks OAuth 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_secret: Option<Cow<'a, str>>,
    /// The scheme it is used with: `Bearer`, or `OAuth` where there is a second half.
    pub token_type: Cow<'a, str>,
    /// When it expires, RFC 3339; null where nothing is known.
    pub expires_at: Option<String>,
    /// Whole seconds from this answer to then, rounded down; null where nothing is known.
    pub expires_in: Option<u64>,
    /// How that is known: `jwt`, `login`, `first_seen` or `none`.
    pub expiry_basis: Cow<'a, str>,
    /// When Auth0 was asked for it, RFC 3339.
    pub fetched_at: String,
    /// Names the token without telling it; new in every run of the daemon.
    pub fingerprint: String,
}

/// `POST /v1/users/{user_id}/report`: the provider refused this token.
#[derive(Deserialize, Serialize)]
pub struct Report {
    /// As the answer that held the token named it.
    pub fingerprint: String,
}

/// What became of a [`Report`].
#[derive(Deserialize, Serialize)]
pub struct ReportAnswer<'a> {
    /// `dropped`, `already_replaced` or `unknown`.
    pub outcome: Cow<'a, str>,
}

/// `GET /v1/management-token`: the Management API token itself. A secret, so there is no way to print it.
#[derive(Deserialize, Serialize)]
pub struct ManagementTokenAnswer<'a> {
    /// The token.
    pub access_token: Cow<'a, str>,
    /// The scheme it is used with: `Bearer`.
    pub token_type: Cow<'a, str>,
    /// When it expires, RFC 3339.
    pub expires_at: Option<String>,
    /// Whole seconds until then, rounded down.
    pub expires_in: Option<u64>,
    /// What it may do; null where Auth0 did not say.
    pub scopes: Option<Vec<String>>,
}

/// `GET /v1/users/{user_id}/identities`: what a user has, without tokens.
#[derive(Deserialize, Serialize)]
pub struct IdentitiesAnswer<'a> {
    /// The user's id, as asked for.
    pub user_id: Cow<'a, str>,
    /// Whether Auth0 has blocked the user; tokens are refused then.
    pub blocked: bool,
    /// When Auth0 was asked, RFC 3339.
    pub fetched_at: String,
    /// The primary identity first.
    pub identities: Vec<IdentityAnswer<'a>>,
}

/// One identity of an [`IdentitiesAnswer`].
#[derive(Deserialize, Serialize)]
pub struct IdentityAnswer<'a> {
    /// The connection's name, to select this identity by.
    pub connection: Cow<'a, str>,
    /// The provider's name.
    pub provider: Cow<'a, str>,
    /// The account's id at the provider; always text.
    pub identity_user_id: Cow<'a, str>,
    /// Whether Auth0 counts the provider as social.
    pub is_social: bool,
    /// `available`, `expired` (the user must log in again) or `none`.
    pub token: Cow<'a, str>,
    /// When the token expires or expired, RFC 3339; null where nothing is known.
    pub expires_at: Option<String>,
    /// How that is known: `jwt`, `login`, `first_seen` or `none`.
    pub expiry_basis: Cow<'a, str>,
}

/// An error, `application/problem+json` (RFC 9457).
#[derive(Debug, Deserialize, Serialize)]
pub struct Problem {
    /// `urn:cloakroom:problem:CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The code, to decide by.
    pub code: String,
    /// What went wrong here, and what to do.
    pub detail: String,
    /// As in the `Cloakroom-Request-Id` header.
    pub request_id: String,
    /// The query parameter or path part that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// The connections there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Vec<String>>,
    /// The identities that could be meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identities: Option<Vec<CandidateAnswer>>,
    /// When the token expired, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_at: Option<String>,
    /// Whole seconds for which the token is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    /// Whether nothing but a change of configuration helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permanent: Option<bool>,
    /// Everything that is wrong with the configuration, one line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<String>>,
}

/// An identity of a [`Problem`], by the names that select it.
#[derive(Debug, Deserialize, Serialize)]
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

/// `POST /v1/reload`: the configuration was read again and is in force.
#[derive(Debug, Deserialize, Serialize)]
pub struct ReloadAnswer {
    /// Settings that are new.
    pub changed: Vec<ChangeAnswer>,
    /// Settings that were asked for and need a restart; the old ones go on.
    pub needs_restart: Vec<ChangeAnswer>,
    /// What is likely not meant, one line each.
    pub warnings: Vec<String>,
}

/// A setting of a [`ReloadAnswer`].
#[derive(Debug, Deserialize, Serialize)]
pub struct ChangeAnswer {
    /// The key as a dotted path.
    pub key: String,
    /// What it was; null where that is not shown.
    pub from: Option<String>,
    /// What it is to be; null where that is not shown.
    pub to: Option<String>,
}

/// `GET /v1/status`: the daemon's state, without a token or a user id.
#[derive(Debug, Deserialize, Serialize)]
pub struct StatusAnswer {
    /// The daemon's version.
    pub version: String,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// Whether lookups can be answered: a Management token is held and no shutdown has begun.
    pub ready: bool,
    /// Whether a shutdown has begun.
    pub draining: bool,
    /// `tenant.domain`.
    pub tenant: String,
    /// The Management token.
    pub management_token: ManagementTokenStatus,
    /// Users' entries.
    pub cache: CacheStatus,
    /// Lookups since the start, by outcome.
    pub lookups: LookupCounts,
    /// Requests to Auth0 since the start.
    pub upstream: UpstreamStatus,
    /// Where the daemon listens.
    pub listeners: Vec<ListenerStatus>,
}

/// The Management token, without the token.
#[derive(Debug, Deserialize, Serialize)]
pub struct ManagementTokenStatus {
    /// Whether one is held that may still be used.
    pub valid: bool,
    /// When it expires, RFC 3339.
    pub expires_at: Option<String>,
    /// When it is renewed, or when the next attempt is made, RFC 3339.
    pub next_refresh_at: Option<String>,
    /// When one was last obtained, RFC 3339.
    pub last_success_at: Option<String>,
    /// Scopes that Auth0 granted; null where it did not say.
    pub scopes: Option<Vec<String>>,
    /// Scopes that are needed and were not granted.
    pub missing_scopes: Vec<String>,
    /// Why Auth0 does not accept the tokens that it issues; null where it does.
    pub refusal: Option<String>,
    /// Why the last attempt failed; null where it did not.
    pub failure: Option<FailureStatus>,
}

/// An attempt that failed.
#[derive(Debug, Deserialize, Serialize)]
pub struct FailureStatus {
    /// The cause and the mend.
    pub detail: String,
    /// Whether nothing but a change of configuration helps.
    pub permanent: bool,
    /// Attempts that failed in a row.
    pub attempts: u64,
}

/// The cache of users' entries.
#[derive(Debug, Deserialize, Serialize)]
pub struct CacheStatus {
    /// Users remembered.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// `cache.max_bytes`.
    pub max_bytes: u64,
}

/// Lookups by outcome.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct LookupCounts {
    /// Answered from the cache.
    pub hit: u64,
    /// Answered by asking Auth0.
    pub miss: u64,
    /// Answered from the cache because Auth0 could not be asked.
    pub stale: u64,
    /// Answered with a fact that is no token: no such user, no token, login required, …
    pub negative: u64,
    /// Not answered.
    pub error: u64,
}

/// Requests to Auth0.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct UpstreamStatus {
    /// To the token endpoint.
    pub token_requests: u64,
    /// To the users endpoint.
    pub user_requests: u64,
    /// For the key set that users' own tokens are verified with.
    pub key_requests: u64,
    /// Those of all three that failed.
    pub failures: u64,
    /// The latest of them; null where none did.
    pub last_failure: Option<UpstreamFailure>,
    /// Lookups that joined a request under way instead of making one.
    pub flights_joined: u64,
    /// Seconds for which nothing is asked, because the tenant said that its limit is reached; null otherwise.
    pub gate_closed_for: Option<u64>,
    /// Requests that wait for their turn within `[upstream]`.
    pub waiting: u64,
    /// What the tenant said last is left of its limit; null where it has not said.
    pub ratelimit_remaining: Option<u64>,
    /// Whether refreshing ahead is suspended because that is little.
    pub thrifty: bool,
    /// Seconds that Auth0's clock is ahead of this machine's, negative where it is behind.
    pub clock_skew_seconds: f64,
}

/// A request to Auth0 that failed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct UpstreamFailure {
    /// When, RFC 3339.
    pub at: String,
    /// The cause and the mend.
    pub detail: String,
}

/// One listener.
#[derive(Debug, Deserialize, Serialize)]
pub struct ListenerStatus {
    /// The socket's path.
    pub path: String,
    /// Open connections.
    pub connections: u64,
}

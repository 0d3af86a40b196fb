//! The JSON body of `GET /v1/status`, as types.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The token of `[management_api]`, without which calls of `/api/v2` are refused; null without that table.
    #[serde(default)]
    pub management_api: Option<ManagementTokenStatus>,
    /// The certificate with which the daemon authenticates at Auth0; null if it uses a secret or a key.
    #[serde(default)]
    pub client_certificate: Option<ClientCertificateStatus>,
    /// The cache.
    pub cache: CacheStatus,
    /// Lookups since the start, by outcome.
    pub lookups: LookupCounts,
    /// Requests to Auth0 since the start.
    pub upstream: UpstreamStatus,
    /// The sources of configured connections, besides what Auth0 stores.
    #[serde(default)]
    pub sources: Vec<SourceStatus>,
    /// The state file; null without `[state]`.
    #[serde(default)]
    pub state: Option<StateStatus>,
    /// The daemon's sockets.
    pub listeners: Vec<ListenerStatus>,
}

/// The state of a Management token, without the token.
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
    /// The scopes that lookups need and that were not granted; none for the token of `[management_api]`.
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
    /// Exchanges at Token Vault.
    pub exchange_requests: u64,
    /// Requests of all these kinds that failed.
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
    /// Calls of providers' APIs under way, whose connections are among the open ones.
    #[serde(default)]
    pub streams: u64,
}

/// A source of tokens of one connection.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct SourceStatus {
    /// The connection's name.
    pub connection: String,
    /// `refresh` or `vault`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["refresh", "vault"])))]
    pub source: String,
    /// The host that is asked.
    pub host: String,
    /// What an operator has to change; null if the source accepts the daemon, or was not asked yet.
    pub misconfigured: Option<String>,
}

/// The file with refresh tokens that rotate.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub struct StateStatus {
    /// Why it cannot be used, so that no refresh token that rotates is redeemed; null if it can.
    pub trouble: Option<String>,
    /// The identities in it.
    pub records: u64,
    /// Results of redemptions that are in memory and not in the file.
    pub unwritten: u64,
    /// For how many seconds the oldest of these has been; null if there is none.
    pub oldest_unwritten_seconds: Option<u64>,
}

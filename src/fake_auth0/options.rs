//! How a simulated tenant is set up.

use std::time::Duration;

use crate::secret::Secret;

use super::limit::RateLimit;

/// What a tenant starts with. The default is a tenant as the tutorials leave it: one application with both
/// scopes that are needed, tokens that live a day, no rate limit.
#[derive(Clone, Debug)]
pub struct TenantOptions {
    /// The canonical domain; `None` is wherever it listens. Set it to play a tenant behind a custom domain.
    pub domain: Option<String>,
    /// The application's client id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// How it is allowed to authenticate.
    pub client_auth: ClientAuth,
    /// Scopes of its client grant for the Management API.
    pub scopes: Vec<String>,
    /// Whether there is such a client grant at all.
    pub client_grant: bool,
    /// Whether the application may use the client-credentials grant.
    pub grant_type_allowed: bool,
    /// Lifetime of Management tokens.
    pub token_lifetime: Duration,
    /// The Management API's global limit, if it is to be enforced.
    pub rate_limit: Option<RateLimit>,
    /// Whether header names are written `X-Ratelimit-Limit`, as Auth0 writes them over HTTP/1.1, or in lower case.
    pub title_case_headers: bool,
    /// Whether the key set states each key's `alg`, RS256; a tenant that also signs with PS256 has to leave it out.
    pub key_set_states_alg: bool,
    /// Draws signing keys for this tenant alone. Otherwise tenants of one process share theirs, which saves each
    /// a third of a second; only a test in which one tenant distrusts another's signature can tell.
    pub own_keys: bool,
}

/// An application's `token_endpoint_auth_method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Either of the two. Auth0 accepts one; a demo need not.
    Any,
    /// `client_secret_post` alone.
    SecretPost,
    /// `client_secret_basic` alone.
    SecretBasic,
}

impl Default for TenantOptions {
    fn default() -> Self {
        Self {
            domain: None,
            client_id: "demo-client".into(),
            client_secret: Secret::new("demo-client-secret"),
            client_auth: ClientAuth::Any,
            scopes: vec!["read:users".into(), "read:user_idp_tokens".into()],
            client_grant: true,
            grant_type_allowed: true,
            token_lifetime: Duration::from_secs(86_400),
            rate_limit: None,
            title_case_headers: true,
            key_set_states_alg: true,
            own_keys: false,
        }
    }
}

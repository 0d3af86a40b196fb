//! The settings of a simulated tenant.

use std::time::Duration;

use crate::secret::Secret;

use super::limit::RateLimit;

/// The settings that a tenant starts with. The default is a tenant after Auth0's tutorials: one application with both
/// required scopes, tokens with a lifetime of a day, no rate limit.
#[derive(Clone, Debug)]
pub struct TenantOptions {
    /// The canonical domain; `None` is the listener's address. Set it for a tenant behind a custom domain.
    pub domain: Option<String>,
    /// The application's client id.
    pub client_id: String,
    /// The application's client secret.
    pub client_secret: Secret,
    /// How the application may authenticate.
    pub client_auth: ClientAuth,
    /// Scopes of the client grant for the Management API.
    pub scopes: Vec<String>,
    /// Whether the application has a client grant for the Management API.
    pub client_grant: bool,
    /// Whether the application may use the client-credentials grant.
    pub grant_type_allowed: bool,
    /// Lifetime of Management tokens.
    pub token_lifetime: Duration,
    /// The Management API's global rate limit; `None` enforces none.
    pub rate_limit: Option<RateLimit>,
    /// Whether header names are in title case, `X-Ratelimit-Limit`, as Auth0's over HTTP/1.1; else in lower case.
    pub title_case_headers: bool,
    /// Whether the key set states each key's `alg`, RS256. A tenant that also signs with PS256 cannot state it.
    pub key_set_states_alg: bool,
    /// Generates signing keys for this tenant only. Otherwise the tenants of a process share keys, which saves a third
    /// of a second each. Only a test in which one tenant must reject another's signature needs its own.
    pub own_keys: bool,
}

/// An application's `token_endpoint_auth_method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// A secret, in either place, or a certificate. Auth0 accepts one method only; the demo accepts these.
    Any,
    /// Only `client_secret_post`.
    SecretPost,
    /// Only `client_secret_basic`.
    SecretBasic,
    /// Only `private_key_jwt`, with the keys that [`register_key`](super::Tenant::register_key) registers.
    PrivateKeyJwt,
    /// Only `tls_client_auth`, with a certificate that the tenant's authority has issued to the application.
    TlsClientAuth,
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

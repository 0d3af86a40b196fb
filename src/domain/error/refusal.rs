//! Refusals by Auth0 that last until an operator changes something.

use std::sync::Arc;

/// Refusals by Auth0 that last until an operator changes something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Wrong client id, wrong secret, or the application has another authentication method.
    #[error(
        "Auth0 does not accept the client's credentials (status {status}): check tenant.client.id, that the secret is \
         the application's current one, and that tenant.client.auth is its authentication method"
    )]
    Credentials {
        /// The status code.
        status: u16,
    },
    /// The key is not registered, or the application has another authentication method.
    #[error(
        "Auth0 does not accept the client's key {kid} (status {status}): check tenant.client.id, that this key is \
         registered with the application for tenant.client.signing_alg, and that its authentication method is \
         private_key_jwt"
    )]
    Key {
        /// The status code.
        status: u16,
        /// The key's id.
        kid: Arc<str>,
    },
    /// The certificate is not registered, or the application has another authentication method.
    #[error(
        "Auth0 does not accept the client's certificate (status {status}): check tenant.client.id, that the certificate is \
         registered with the application, that its authentication method is mTLS, and that the custom domain has mTLS \
         endpoint aliases"
    )]
    Certificate {
        /// The status code.
        status: u16,
    },
    /// The tenant has no API with that audience.
    #[error(
        "Auth0 knows no API with the identifier {audience}: set tenant.audience to the Management API's identifier, \
         https://TENANT.REGION.auth0.com/api/v2/ with the slash at its end, also when tenant.domain is a custom domain"
    )]
    Audience {
        /// `tenant.audience`.
        audience: Arc<str>,
    },
    /// The application has no client grant for the Management API.
    #[error(
        "the application is not authorized for {audience}: authorize it in the Auth0 dashboard (Applications, APIs, \
         Auth0 Management API, Application Access) with the permissions read:users and read:user_idp_tokens"
    )]
    NoClientGrant {
        /// `tenant.audience`.
        audience: Arc<str>,
    },
    /// The application may not use the client-credentials grant.
    #[error(
        "the application may not use the client_credentials grant: make it a Machine to Machine application, or allow \
         that grant type in its advanced settings"
    )]
    GrantType,
    /// Some other refusal of the grant.
    #[error("Auth0 refuses to issue a Management token (status {status}): its tenant logs name the reason")]
    Grant {
        /// The status code.
        status: u16,
    },
    /// The Management token lacks the scopes for reading users.
    #[error(
        "the Management token may not read users: give the application the permissions read:users and \
         read:user_idp_tokens for the Management API"
    )]
    Scope,
    /// Auth0 refuses a new Management token.
    #[error(
        "Auth0 refuses a Management token that it has just issued (status {status}): check that tenant.domain and \
         tenant.audience belong to the same tenant"
    )]
    Bearer {
        /// The status code.
        status: u16,
    },
    /// Auth0 does not accept the credentials of `[management_api]`.
    #[error(
        "Auth0 does not accept the client of [management_api] (status {status}): check management_api.client_id, that the \
         secret is the application's current one or that the key or certificate is registered with it, and that \
         management_api.auth is its authentication method"
    )]
    ManagementApiClient {
        /// The status code.
        status: u16,
    },
    /// The application of `[management_api]` has no client grant for the Management API.
    #[error(
        "the application of [management_api] is not authorized for {audience}: authorize it in the Auth0 dashboard \
         (Applications, APIs, Auth0 Management API, Application Access) with the permissions that its calls need, and \
         without read:user_idp_tokens"
    )]
    ManagementApiGrant {
        /// `tenant.audience`.
        audience: Arc<str>,
    },
    /// A token of `[management_api]` would show users' tokens at identity providers.
    #[error(
        "the application of [management_api] has the permission read:user_idp_tokens, with which answers of the Management \
         API show users' tokens at identity providers: take it away in the Auth0 dashboard (Applications, APIs, Auth0 \
         Management API, Application Access)"
    )]
    UserTokensScope,
    /// Nothing says which scopes a token of `[management_api]` has.
    #[error(
        "neither Auth0's answer nor the token of [management_api] states a scope, so whether it has read:user_idp_tokens \
         cannot be checked: give the application the permissions that its calls need, and check that tenant.audience is \
         the Management API's identifier"
    )]
    NoScopeStated,
}

impl Refusal {
    /// Whether a token was issued that must not be used because of its scopes.
    pub fn is_of_scopes(&self) -> bool {
        matches!(self, Self::UserTokensScope | Self::NoScopeStated)
    }
}

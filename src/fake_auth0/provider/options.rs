//! The settings of a simulated provider.

use crate::fake_auth0::options::ClientAuth;
use crate::secret::Secret;

use super::dialect::Dialect;
use super::rules::TokenRules;

/// The settings that a provider starts with.
#[derive(Clone, Debug)]
pub struct ProviderOptions {
    /// The provider that is imitated.
    pub dialect: Dialect,
    /// The connection's client id.
    pub client_id: String,
    /// The client's secrets, of which each is accepted. A provider with two is in the middle of a rotation.
    pub client_secrets: Vec<Secret>,
    /// How the client may authenticate.
    pub client_auth: ClientAuth,
    /// How tokens live and rotate.
    pub rules: TokenRules,
    /// The scopes that users grant.
    pub scopes: Vec<String>,
    /// What the texts of all tokens that the provider issues end with, so that a test finds them elsewhere. Nothing
    /// unless a test says so.
    pub mark: String,
}

impl ProviderOptions {
    /// A provider of this dialect with its usual rules, and one client.
    pub fn of(dialect: Dialect) -> Self {
        Self {
            dialect,
            client_id: "demo-connection".into(),
            client_secrets: vec![Secret::new("demo-connection-secret")],
            client_auth: dialect.client_auth(),
            rules: dialect.rules(),
            scopes: dialect.scopes().iter().map(|&scope| scope.to_owned()).collect(),
            mark: String::new(),
        }
    }
}

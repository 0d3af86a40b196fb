//! What a row of the table of providers says.

use std::time::Duration;

use crate::domain::source::Rotation;

use super::sign::{Meaning, Sign};

/// A built-in provider. A connection can override everything but the name and the signs.
#[derive(Debug)]
pub struct Provider {
    /// The name in the configuration.
    pub name: &'static str,
    /// The token endpoint.
    pub token_endpoint: Endpoint,
    /// How the client authenticates.
    pub client_auth: ProviderAuth,
    /// What becomes of a refresh token that is redeemed.
    pub rotation: Rotation,
    /// For how long a redeemed refresh token can be redeemed once more, after its answer was lost.
    pub grace: Duration,
    /// How the provider says that it does not accept the refresh token.
    pub refused: &'static [Sign],
    /// Further signs of the provider. They take precedence over `refused` and over the signs that are common to all.
    pub signs: &'static [(Sign, Meaning)],
}

/// Two providers are the same if they have the same name.
impl PartialEq for Provider {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Provider {}

/// The token endpoint of a built-in provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// This URL, unless the connection has another, such as that of a self-managed installation.
    At(&'static str),
    /// The URL depends on a tenant or an installation, so that the connection has to state it. What it looks like.
    Like(&'static str),
}

/// How a connection's client authenticates at a token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderAuth {
    /// Id and secret in the form.
    Post,
    /// Id and secret in the `Authorization` header.
    Basic,
}

impl ProviderAuth {
    /// The method with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Post, Self::Basic].into_iter().find(|auth| auth.as_str() == name)
    }

    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Basic => "basic",
        }
    }
}

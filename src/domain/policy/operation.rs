//! What clients can do, by the names that rules and answers use.

/// An operation that a rule can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read an identity provider's token.
    Token,
    /// List a user's identities, without tokens.
    Identities,
    /// Either of the two, for a client that presents the user's own JWT.
    Me,
    /// Report that a provider refused a token.
    Report,
    /// Remove cached entries.
    Purge,
    /// Read the daemon's state.
    Status,
    /// Read the configuration again.
    Reload,
    /// Read the Management token itself.
    ManagementToken,
    /// Call an identity provider's API as a user.
    Proxy,
    /// Call an identity provider's API, for a client that presents the user's own JWT.
    MeProxy,
    /// Call the Management API.
    ManagementApi,
}

/// The operations of a rule that names none.
pub const DEFAULT_OPERATIONS: [Operation; 4] =
    [Operation::Token, Operation::Identities, Operation::Me, Operation::Report];

impl Operation {
    /// All operations.
    pub const ALL: [Self; 11] = [
        Self::Token,
        Self::Identities,
        Self::Me,
        Self::Report,
        Self::Purge,
        Self::Status,
        Self::Reload,
        Self::ManagementToken,
        Self::Proxy,
        Self::MeProxy,
        Self::ManagementApi,
    ];

    /// Its name in rules, answers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Identities => "identities",
            Self::Me => "me",
            Self::Report => "report",
            Self::Purge => "purge",
            Self::Status => "status",
            Self::Reload => "reload",
            Self::ManagementToken => "management_token",
            Self::Proxy => "proxy",
            Self::MeProxy => "me_proxy",
            Self::ManagementApi => "management_api",
        }
    }

    /// The operation of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }

    /// Whether root and the daemon's own uid may always use it, whatever the rules say.
    pub const fn is_administrative(self) -> bool {
        matches!(self, Self::Status | Self::Reload | Self::Purge)
    }

    /// Whether it needs a rule that names it, also for root and the daemon's own uid.
    pub const fn needs_rule(self) -> bool {
        matches!(self, Self::ManagementToken) || self.is_call()
    }

    /// Whether it calls another API, which takes a pattern in a rule's `calls`.
    pub const fn is_call(self) -> bool {
        matches!(self, Self::Proxy | Self::MeProxy | Self::ManagementApi)
    }

    /// Whether it counts towards a rule's `rate`.
    pub const fn is_lookup(self) -> bool {
        !matches!(self, Self::Purge | Self::Status | Self::Reload)
    }
}

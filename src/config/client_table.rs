//! The tables that name an application of the tenant, and the paths of their keys.

/// A table that names an application of the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTable {
    /// `[tenant.client]`: the application that reads users.
    TenantClient,
    /// `[management_api]`: the application whose tokens proxied calls of the Management API carry.
    ManagementApi,
}

/// The paths of a table's keys.
#[derive(Debug)]
pub struct ClientKeys {
    /// The client id.
    pub id: &'static str,
    /// The authentication method.
    pub auth: &'static str,
    /// The secret itself.
    pub secret: &'static str,
    /// The file with the secret.
    pub secret_file: &'static str,
    /// The file with the private key.
    pub key_file: &'static str,
    /// The file with the key that is to replace the private key.
    pub next_key_file: &'static str,
    /// The algorithm of signatures.
    pub signing_alg: &'static str,
    /// The file with the certificate.
    pub certificate_file: &'static str,
    /// The token endpoint's host.
    pub token_host: &'static str,
}

/// The paths of the keys of a table, whose client id has its own name.
macro_rules! keys {
    ($table:literal, $id:literal) => {
        &ClientKeys {
            id: concat!($table, ".", $id),
            auth: concat!($table, ".auth"),
            secret: concat!($table, ".secret"),
            secret_file: concat!($table, ".secret_file"),
            key_file: concat!($table, ".key_file"),
            next_key_file: concat!($table, ".next_key_file"),
            signing_alg: concat!($table, ".signing_alg"),
            certificate_file: concat!($table, ".certificate_file"),
            token_host: concat!($table, ".token_host"),
        }
    };
}

impl ClientTable {
    /// The dotted path.
    pub const fn path(self) -> &'static str {
        match self {
            Self::TenantClient => "tenant.client",
            Self::ManagementApi => "management_api",
        }
    }

    /// The paths of its keys.
    pub const fn keys(self) -> &'static ClientKeys {
        match self {
            Self::TenantClient => keys!("tenant.client", "id"),
            Self::ManagementApi => keys!("management_api", "client_id"),
        }
    }
}

//! Providers that listen, and the parts of a configuration that lead to them.

use std::fs;
use std::path::Path;

use cloakroom::clock::Clock;
use cloakroom::fake_auth0::provider::{FakeProvider, ProviderOptions};
use cloakroom::fake_auth0::{CertificateKind, Listening, Tenant};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::configuration::write_private;

/// Keys of `[providers]` for tests in which a provider does not answer.
pub const IMPATIENT: &str = "connect_timeout = \"500ms\"\nrequest_timeout = \"2s\"\n";

/// The providers of some connections, each with a certificate authority of its own. Dropped before their runtime.
pub struct Providers {
    connections: Vec<(&'static str, FakeProvider, Listening)>,
    _runtime: Runtime,
}

impl Providers {
    /// One provider for each connection.
    pub fn listen(connections: Vec<(&'static str, ProviderOptions)>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let guard = runtime.enter();
        let listen = |(name, options)| {
            let provider = FakeProvider::new(Clock::system(), options).unwrap();
            let listening = provider.listen(CertificateKind::Good).unwrap();
            (name, provider, listening)
        };
        let connections = connections.into_iter().map(listen).collect();
        drop(guard);
        Self { connections, _runtime: runtime }
    }

    /// The provider of a connection.
    pub fn of(&self, connection: &str) -> &FakeProvider {
        let found = self.connections.iter().find(|(name, ..)| *name == connection);
        &found.unwrap().1
    }

    /// `[providers]` with these further keys, and one `[[connection]]` each, whose files are in `{dir}`.
    pub fn tables(&self, keys: &str) -> String {
        let mut tables = format!("[providers]\nca_file = \"{{dir}}/providers.pem\"\n{keys}");
        for (name, provider, listening) in &self.connections {
            let (dialect, (client, _)) = (provider.dialect(), provider.client());
            tables += &format!(
                "[[connection]]\nname = {name:?}\nsources = [\"identities\", \"refresh\"]\n\
                 [connection.refresh]\nprovider = {:?}\nclient_id = {client:?}\n\
                 secret_file = \"{{dir}}/{name}.secret\"\ntoken_endpoint = \"https://{}{}\"\n",
                dialect.name(),
                listening.domain(),
                dialect.path(),
            );
        }
        tables
    }

    /// Writes the files that the tables name, and has each provider know what `tenant` stores.
    pub fn prepare(&self, tenant: &Tenant, directory: &Path) {
        let authorities: String =
            self.connections.iter().map(|(.., listening)| listening.ca_pem().to_owned() + "\n").collect();
        fs::write(directory.join("providers.pem"), authorities).unwrap();
        for (name, provider, _) in &self.connections {
            write_private(&directory.join(format!("{name}.secret")), provider.client().1.expose());
            provider.adopt(tenant, name);
        }
    }
}

/// An identity whose token expired long ago, beside which Auth0 stores a refresh token.
pub fn expired(connection: &str, account: &str, access_token: &str, refresh_token: &str) -> Value {
    json!({
        "provider": connection, "connection": connection, "user_id": account, "isSocial": true,
        "access_token": access_token, "expires_in": 3_600, "refresh_token": refresh_token,
    })
}

/// A user whose last login was long ago.
pub fn user(id: &str, identities: &[Value]) -> Value {
    json!({ "user_id": id, "last_login": "2026-11-22T10:00:00Z", "identities": identities })
}

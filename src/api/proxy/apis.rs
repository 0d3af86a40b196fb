//! The APIs that calls may go to, and what carries the calls there: the `[[proxy]]` tables in force.

use std::sync::Arc;

use crate::config::ProxiedApi;
use crate::transport::streaming::StreamingTransport;

/// The APIs in force. A reload replaces them as a whole; a call keeps those that it began with.
#[derive(Default)]
pub struct ProxiedApis {
    apis: Vec<Arc<ProxiedApi>>,
    transport: Option<Arc<dyn StreamingTransport>>,
}

impl ProxiedApis {
    /// `apis`, reached through `transport`. Without one, there are none.
    pub fn new(apis: &[ProxiedApi], transport: Option<Arc<dyn StreamingTransport>>) -> Self {
        Self { apis: apis.iter().cloned().map(Arc::new).collect(), transport }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.apis.is_empty()
    }

    /// The API of this name for identities of this connection, and what carries calls to it.
    pub fn find(
        &self,
        connection: &str,
        name: &str,
    ) -> Option<(Arc<ProxiedApi>, Arc<dyn StreamingTransport>)> {
        let api = self.of_connection(connection).find(|api| *api.name == *name)?;
        Some((Arc::clone(api), Arc::clone(self.transport.as_ref()?)))
    }

    /// Every API for identities of this connection.
    pub fn of_connection(&self, connection: &str) -> impl Iterator<Item = &Arc<ProxiedApi>> {
        self.apis.iter().filter(move |api| *api.connection == *connection)
    }
}

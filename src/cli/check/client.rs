//! What `check` says about the client's keys and its certificate.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::{CommandError, Exit};
use crate::config::{Client, ClientTable, Credential};
use crate::domain::freshness::Timestamp;

/// From when on the end of a certificate is warned about, as by the alert.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Prints which keys and which certificate the client has. A certificate that is not valid now is an error.
pub(super) fn print(client: &Client, now: Timestamp, out: &mut impl io::Write) -> Result<(), CommandError> {
    let whose = match client.table {
        ClientTable::TenantClient => "the client's",
        ClientTable::ManagementApi => "[management_api]'s",
    };
    for (name, credential) in [("next key", client.next.as_ref()), ("key", Some(&client.credential))] {
        match credential {
            Some(Credential::PrivateKeyJwt(key)) => {
                writeln!(out, "ok: {whose} {name} has the id {} ({})", key.kid(), key.alg().as_str())?;
            }
            Some(Credential::TlsClientAuth(certificate)) => {
                let (begins, ends) = (certificate.not_before(), certificate.not_after());
                let wrong = |what: &str, at| {
                    let file = client.table.keys().certificate_file;
                    let text = format!("{file}: the certificate {what} {at}");
                    Err(CommandError::new(Exit::Configuration, text))
                };
                match now {
                    _ if now >= ends => return wrong("expired at", ends),
                    _ if now < begins => return wrong("is not valid before", begins),
                    _ if ends.since(now) < SOON => {
                        writeln!(out, "warning: {whose} certificate expires soon, at {ends}")?;
                    }
                    _ => writeln!(out, "ok: {whose} certificate is valid until {ends}")?,
                }
            }
            Some(Credential::SecretPost(_) | Credential::SecretBasic(_)) | None => {}
        }
    }
    Ok(())
}

/// The client with its present credentials alone, and one with its next ones alone, if it has any. Each is tried by
/// itself, because the daemon falls back from one to the other.
pub(super) fn apart(client: &Client) -> (Arc<Client>, Option<Arc<Client>>) {
    let alone = |credential: &Credential| {
        Arc::new(Client { credential: credential.clone(), next: None, ..client.clone() })
    };
    (alone(&client.credential), client.next.as_ref().map(alone))
}

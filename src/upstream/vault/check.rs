//! Judges whether the application may use Token Vault, without any user's token.
//!
//! Auth0 has no call for that. An exchange for a user who does not exist is refused for the first thing that is wrong;
//! where nothing is, Auth0 answers that it has no account of that user.

use std::fmt;

use crate::cache::ForWhom;
use crate::domain::priority::{Flow, Priority};
use crate::domain::source::{SourceFailure, SourceFault};
use crate::domain::user::UserId;

use super::Vault;
use super::outcome::Exchanged;

/// The most connections that Auth0 grants a privileged worker.
pub const MOST_CONNECTIONS: usize = 5;

/// Whether exchanges of one connection are possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultAccess {
    /// Auth0 looked for an account.
    Granted,
    /// Auth0 denies this connection, and not all of them.
    NotGranted,
    /// Auth0 denies this connection and all others, of which there are some.
    NothingGranted,
    /// Auth0 calls the exchange invalid, perhaps because it knows no such user.
    Undecided,
    /// Auth0 refuses every exchange of the application, or of this connection, for this reason.
    Refused(SourceFault),
    /// Auth0 cannot be asked.
    Failed(SourceFailure),
}

impl VaultAccess {
    /// Whether an operator has to change something.
    pub fn is_wrong(&self) -> bool {
        matches!(self, Self::NotGranted | Self::NothingGranted | Self::Refused(_))
    }
}

impl fmt::Display for VaultAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted => f.write_str("the application may use Token Vault"),
            Self::NotGranted => f.write_str(
                "Auth0 denies exchanges here and allows others, so this host's address is right: name the connection among \
                 the grants of the application's privileged access, and enable it for the application",
            ),
            Self::NothingGranted => f.write_str(
                "Auth0 denies exchanges for all connections: put the address from which this host reaches Auth0 into \
                 ip_allowlist of the application's privileged access; if it is there, name the connections among the \
                 grants and enable them for the application",
            ),
            Self::Undecided => f.write_str(
                "undecided, because Auth0 calls an exchange for a user who does not exist invalid: make sure that the key \
                 is one of the credentials of the application's privileged access, and look a real user up",
            ),
            Self::Refused(fault) => fault.fmt(f),
            Self::Failed(failure) => write!(f, "Token Vault could not be checked: {failure}"),
        }
    }
}

impl Vault {
    /// Judges each of `connections` by one exchange for `unknown`, a user who does not exist.
    pub async fn check<'a>(&self, unknown: &UserId, connections: &[&'a str]) -> Vec<(&'a str, VaultAccess)> {
        let mut found = Vec::new();
        for connection in connections {
            let for_whom = ForWhom::only(Flow::Daemon);
            let exchanged = self.exchange(unknown, connection, None, Priority::Caller, for_whom).await;
            found.push((*connection, access(exchanged)));
        }
        compare(&mut found);
        found
    }
}

fn access(exchanged: Exchanged) -> VaultAccess {
    match exchanged {
        Exchanged::Issued(_) | Exchanged::NotConnected => VaultAccess::Granted,
        Exchanged::Misconfigured(SourceFault::VaultRequest) => VaultAccess::Undecided,
        Exchanged::Misconfigured(fault) => VaultAccess::Refused(fault),
        Exchanged::Failed { failure: SourceFailure::NotRefreshed, .. } => VaultAccess::Granted,
        Exchanged::Failed { failure, .. } => VaultAccess::Failed(failure),
    }
}

/// Where another connection is granted, a denial is about the connection. Where several are denied and none is granted, it
/// is more likely to be about this host.
fn compare(found: &mut [(&str, VaultAccess)]) {
    let denied = VaultAccess::Refused(SourceFault::VaultAccess);
    let is_any_granted = found.iter().any(|(_, access)| *access == VaultAccess::Granted);
    let are_all_denied = found.len() > 1 && found.iter().all(|(_, access)| *access == denied);
    let meaning = match (is_any_granted, are_all_denied) {
        (true, _) => VaultAccess::NotGranted,
        (false, true) => VaultAccess::NothingGranted,
        (false, false) => return,
    };
    for (_, access) in found.iter_mut().filter(|(_, access)| *access == denied) {
        *access = meaning.clone();
    }
}

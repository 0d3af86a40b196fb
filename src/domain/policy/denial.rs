//! Refusals by rules, with texts that name what would allow the request.

use std::fmt;

use super::caller::Caller;
use super::operation::Operation;

/// A denied request. The text names the caller, the operation, and what would allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub(super) caller: Caller,
    pub(super) operation: Operation,
    pub(super) reason: DenialReason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DenialReason {
    /// The caller's uid is [`OVERFLOW_ID`](super::OVERFLOW_ID).
    UnknownUid,
    /// The listener has no rules.
    NoRules,
    /// No rule allows the operation.
    Operation,
    /// No rule that allows the operation covers the user, or all users.
    User { is_all: bool },
    /// No such rule covers the connection.
    Connection(String),
    /// The operation is for root and the daemon's own uid only.
    NotAdministrator,
    /// No rule allows the call. One reason for all of it, so that a client cannot find out which APIs are configured.
    Call,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Caller { uid, gid } = self.caller;
        let operation = self.operation.as_str();
        write!(f, "uid {uid} (gid {gid}) may not use the operation {operation}")?;
        let rule = format!("a [[listener.allow]] with uid = {uid} and operations = [\"{operation}\"]");
        match &self.reason {
            DenialReason::UnknownUid => f.write_str(
                ": 65534 is the uid that the kernel reports for a client in another user namespace, and never allowed",
            ),
            DenialReason::NotAdministrator => {
                f.write_str(": only root and the uid that the daemon runs as may use it, whatever the rules say")
            }
            DenialReason::NoRules if self.operation == Operation::ManagementToken => {
                write!(f, ": the Management token reads every user, so this takes a rule that names it: {rule}")
            }
            DenialReason::NoRules => write!(
                f,
                ": this listener has no rules, so it answers only root and the uid that the daemon runs as; {rule} would \
                 allow it, and from then on the rules alone decide about tokens"
            ),
            DenialReason::Operation => write!(f, " on this listener; {rule} would allow it"),
            DenialReason::Call => {
                let covers = match self.operation {
                    Operation::ManagementApi => "its users, if set, cover the path",
                    _ => "its connections and users, if set, cover the request",
                };
                write!(
                    f,
                    " for this call; {rule} would allow it, also to root, if one of its calls matches the method and the \
                     path, and {covers}"
                )
            }
            DenialReason::User { is_all: false } => {
                write!(f, " for this user; {rule} and a pattern in users that matches the id would allow it")
            }
            DenialReason::User { is_all: true } => {
                write!(f, " for all users; {rule} and without users would allow it")
            }
            DenialReason::Connection(connection) => write!(
                f,
                " through the connection {connection:?}; {rule} and this connection among its connections would allow it"
            ),
        }
    }
}

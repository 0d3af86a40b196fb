//! May this peer do this? Decided before anything is looked up, from what the kernel says of the peer.

use std::fmt;

/// Whom the kernel names when a peer's uid cannot be expressed here. It matches no rule, not even "own uid".
const OVERFLOW_UID: u32 = 65_534;

/// The other end of a connection, by the kernel's word (`SO_PEERCRED`). The pid is left out on purpose: across
/// pid namespaces it is 0, and it may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Effective user id when it connected.
    pub uid: u32,
    /// Effective group id when it connected.
    pub gid: u32,
}

/// What a caller may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read an identity provider's token.
    Token,
    /// List a user's identities, without tokens.
    Identities,
    /// Tell that a provider refused a token.
    Report,
    /// Forget cached entries.
    Purge,
    /// Read the daemon's state.
    Status,
}

impl Operation {
    /// As it is written in answers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Identities => "identities",
            Self::Report => "report",
            Self::Purge => "purge",
            Self::Status => "status",
        }
    }
}

/// Who may do what on a listener. There are no rules yet, so: root and the daemon's own uid, everything.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    own_uid: u32,
}

/// A refusal; its text says who was refused what, and what would allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    caller: Caller,
    operation: Operation,
}

impl Policy {
    /// The policy of a daemon that runs as `own_uid`.
    pub const fn new(own_uid: u32) -> Self {
        Self { own_uid }
    }

    /// Whether `caller` may do `operation`.
    pub fn check(&self, caller: Caller, operation: Operation) -> Result<(), Denied> {
        if self.is_own(caller) { Ok(()) } else { Err(Denied { caller, operation }) }
    }

    /// Whether `caller` is root or the daemon's own uid, and nobody whom the kernel cannot name.
    pub fn is_own(&self, caller: Caller) -> bool {
        (caller.uid == 0 || caller.uid == self.own_uid) && caller.uid != OVERFLOW_UID
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Caller { uid, gid } = self.caller;
        let operation = self.operation.as_str();
        write!(f, "uid {uid} (gid {gid}) may not use the operation {operation}: ")?;
        if uid == OVERFLOW_UID {
            f.write_str(
                "65534 is what the kernel says of a caller in another user namespace, and never allowed",
            )
        } else {
            f.write_str("this listener answers root and the uid that the daemon runs as; call as one of them")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_own_uid_are_allowed_and_nobody_else() {
        let policy = Policy::new(998);
        let may = |uid| policy.check(Caller { uid, gid: 0 }, Operation::Token).is_ok();
        assert_eq!([0, 998, 997, 1000, OVERFLOW_UID].map(may), [true, true, false, false, false]);
        let nobody = Policy::new(OVERFLOW_UID);
        assert!(nobody.check(Caller { uid: OVERFLOW_UID, gid: 0 }, Operation::Status).is_err());
    }
}

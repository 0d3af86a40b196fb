//! The client of a connection, as the kernel names it.

/// The uid or gid that the kernel reports for a peer whose own has no mapping here. It matches no rule, and not the
/// daemon's own uid either.
pub const OVERFLOW_ID: u32 = 65_534;

/// The client of a connection, by its kernel credentials (`SO_PEERCRED`). The pid is left out on purpose: it is 0
/// across pid namespaces, and it may be reused. Supplementary groups are left out because the kernel does not report
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Effective user id when it connected.
    pub uid: u32,
    /// Effective group id when it connected.
    pub gid: u32,
}

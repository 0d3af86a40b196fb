//! Who goes first when not everybody can be asked for.

use super::policy::Caller;

/// What a request to Auth0 is for, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// The Management token, without which nothing else can be asked.
    Management,
    /// Somebody waits for it, and has nothing in hand.
    Caller,
    /// Somebody holds a token that is too old to be served unasked, and is served it if nobody can be asked.
    Stale,
    /// Somebody wishes for a fresh answer although one is held, or has reported the one held.
    Fresh,
    /// An entry in use is refreshed before it is due.
    Ahead,
}

/// Whose turn it is among those who are equally urgent; the word is that of fair queuing. All that one uid asks for is
/// one flow, through however many connections and about however many users, and flows take turns: so a caller that asks
/// for much waits for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// What the daemon needs for itself.
    Daemon,
    /// What is asked for by callers of this uid.
    Uid(u32),
}

impl From<Caller> for Flow {
    fn from(caller: Caller) -> Self {
        Self::Uid(caller.uid)
    }
}

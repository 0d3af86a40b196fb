//! Who goes first when not everybody can be asked for.

/// What a request to Auth0 is for, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
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

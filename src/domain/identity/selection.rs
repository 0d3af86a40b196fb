//! Which identity of a profile a selector means.

use crate::domain::user::Selector;

use super::{Candidate, Identity, IdpToken, NoSelection, Profile, TokenPlace};

/// The most identities or connections that are listed where none is selected, and the most bytes that the list takes.
/// Both are far beyond what users have. They bound the list, which is built for each answer.
const MOST_LISTED: (usize, usize) = (32, 16 << 10);

impl Profile {
    /// The identity that `selector` means, and its token; see [`Profile::find`].
    pub fn select(&self, selector: &Selector) -> Result<(&Identity, IdpToken<'_>), NoSelection> {
        self.find(selector).map(|place| place.of(&self.identities))
    }

    /// The place of the identity that `selector` means.
    ///
    /// Position never decides. Only one match may have a token, whether that is valid, expired or unreadable, so that
    /// the selected identity does not change when a token expires, or when Auth0 sends it in a form that cannot be
    /// read.
    pub fn find(&self, selector: &Selector) -> Result<TokenPlace, NoSelection> {
        // The common case: most users have one identity, and most clients select none.
        if let [only] = self.identities.as_slice()
            && *selector == Selector::default()
        {
            return only.place(0);
        }
        self.find_identity(selector).and_then(|(index, identity)| identity.place(index))
    }

    /// The identity that `selector` means and its index, whether or not it has a token now.
    pub fn find_identity(&self, selector: &Selector) -> Result<(usize, &Identity), NoSelection> {
        let shown = || {
            self.identities.iter().enumerate().filter(|(_, identity)| selector.shows(identity.connection()))
        };
        let matching = || shown().filter(|(_, identity)| identity.matches(selector));
        let carrying = || matching().filter(|(_, identity)| identity.carries_a_token());
        let mut found = carrying();
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => Err(NoSelection::Ambiguous(candidates(
                carrying().map(|(_, identity)| identity).filter(|identity| identity.has_a_readable_one()),
            ))),
            (None, _) if matching().next().is_none() && *selector != Selector::default() => {
                let listed = shown().map(|(_, identity)| identity).filter(|identity| !identity.is_unlisted());
                Err(NoSelection::IdentityNotFound(connections(listed)))
            }
            (None, _) => Err(NoSelection::NoToken),
        }
    }
}

/// The connections in the order of the identities, each once.
fn connections<'a>(identities: impl Iterator<Item = &'a Identity>) -> Vec<String> {
    let (mut names, (most, mut room)) = (Vec::<String>::new(), MOST_LISTED);
    for name in identities.map(Identity::connection) {
        if names.len() < most && name.len() <= room && !names.iter().any(|known| known == name) {
            room = room.saturating_sub(name.len());
            names.push(name.to_owned());
        }
    }
    names
}

/// The names of each identity.
fn candidates<'a>(identities: impl Iterator<Item = &'a Identity>) -> Vec<Candidate> {
    let (most, mut room) = MOST_LISTED;
    let fitting = identities.filter(|identity| {
        let left = room.checked_sub(identity.text(0, identity.ends[2]).len());
        room = left.unwrap_or(room);
        left.is_some()
    });
    let named = fitting.take(most).map(|identity| Candidate {
        connection: identity.connection().to_owned(),
        provider: identity.provider().to_owned(),
        user_id: identity.user_id().to_owned(),
    });
    named.collect()
}

//! The end of a flight: its result is stored, whether or not a lookup waits for it.

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::error::Unavailable;
use crate::domain::user::UserId;
use crate::flight::Obsolete;
use crate::telemetry::UserNames;

use super::backoff::UserBackoff;
use super::entry::Entry;
use super::refused_tokens::Refusals;
use super::slot::Slot;
use super::source::Fetched;
use super::store::Store;

/// What a flight needs to store its result. Owned, since a flight outlives the lookup that started it.
pub(super) struct Landing {
    pub user: UserId,
    pub obsolete: Obsolete,
    pub store: Store,
    pub backoff: UserBackoff,
    pub refusals: Refusals,
    pub clock: Clock,
    pub names: UserNames,
}

impl Landing {
    /// Stores the result, unless the flight began before a purge. A result from before a report is stored: the refused
    /// token stays refused, and lookups after the report do not join this flight.
    pub fn land(self, outcome: Result<Fetched, Unavailable>) -> Result<Arc<Entry>, Unavailable> {
        let user = &self.user;
        match outcome {
            Ok(fetched) => {
                self.backoff.worked(user);
                let lost = self.clock.lost();
                let logged_in = fetched.logged_in.map(|at| at.saturating_sub(lost));
                let mut entry = Arc::new(Entry::new(fetched));
                if self.obsolete.is_void() {
                    // The flight began before a purge, which also removed what was known of tokens.
                    return Ok(entry);
                }
                let store = self.store.now();
                store.entries.entry_by_ref(user).and_upsert_with(|before| {
                    let before = before.and_then(|before| before.value().entry());
                    let reported = self.refusals.of(user, &entry, logged_in);
                    // A report outdates the flight first, and marks the entry in a step like this one.
                    let is_asked = !self.obsolete.get();
                    // The entry is not shared yet, so this does not copy it.
                    let landed = Arc::make_mut(&mut entry);
                    let at = (&store.rules, self.clock.now());
                    landed.inherit(before.as_deref(), &reported, logged_in, is_asked, at);
                    Slot::of(Arc::clone(&entry))
                });
                if self.obsolete.is_void() {
                    // A purge came in between. A report in between would have marked the stored entry.
                    store.entries.invalidate(user);
                }
                Ok(entry)
            }
            Err(unavailable) => {
                self.backoff.note(user, &unavailable, self.clock.now());
                let why = &unavailable.failure;
                tracing::debug!(user = self.names.name(user), %why, "User not read");
                Err(unavailable)
            }
        }
    }
}

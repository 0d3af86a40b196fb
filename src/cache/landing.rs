//! The end of a flight: what it brought is remembered, whether or not anybody waits for it.

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::error::Unavailable;
use crate::domain::user::UserId;
use crate::flight::Obsolete;
use crate::telemetry::UserNames;

use super::backoff::UserBackoff;
use super::entry::Entry;
use super::refusals::Refusals;
use super::slot::Slot;
use super::source::Fetched;
use super::store::Store;

/// What a flight needs to store its result, since it outlives whoever started it.
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
    /// Stores what came, unless it was asked for before a purge. A report that it does not know of is no reason: what was
    /// refused stays so, and a lookup after the report does not join this flight.
    pub fn land(self, outcome: Result<Fetched, Unavailable>) -> Result<Arc<Entry>, Unavailable> {
        let user = &self.user;
        match outcome {
            Ok(fetched) => {
                self.backoff.worked(user);
                let lost = self.clock.lost();
                let logged_in = fetched.logged_in.map(|at| at.saturating_sub(lost));
                let mut entry = Arc::new(Entry::new(fetched));
                if self.obsolete.is_void() {
                    // Asked for before a purge, which forgets what was known of tokens as well.
                    return Ok(entry);
                }
                let store = self.store.now();
                store.entries.entry_by_ref(user).and_upsert_with(|held| {
                    // Nobody else has it yet.
                    if let Some(heir) = Arc::get_mut(&mut entry) {
                        let held = held.and_then(|held| held.value().entry());
                        let reported = self.refusals.of(user, heir, logged_in);
                        // A report outdates first and marks then, in a step like this one.
                        let is_asked = !self.obsolete.get();
                        heir.inherit(held.as_deref(), &reported, logged_in, is_asked);
                    }
                    Slot::of(Arc::clone(&entry))
                });
                if self.obsolete.is_void() {
                    // Purged in between. A report in between has left its mark on what was stored.
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

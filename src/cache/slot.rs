//! A user's place in the cache, which is empty from the moment at which its entry is given up.
//!
//! moka does not free at once what it removes: readers without locks may still look at it, and its bookkeeping is done
//! every now and then. It would be an entry, with tokens, that nobody can find and nobody has forgotten. So moka is
//! given places, and told to call when it gives one up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::notification::RemovalCause;

use crate::config;
use crate::domain::user::UserId;
use crate::telemetry::Counters;

use super::entry::Entry;

/// Users' places.
pub(super) type Slots = moka::sync::Cache<UserId, Arc<Slot>>;

/// One user's place.
#[derive(Debug)]
pub(super) struct Slot {
    entry: Mutex<Option<Arc<Entry>>>,
}

impl Slot {
    /// A place for `entry`.
    pub(super) fn of(entry: Arc<Entry>) -> Arc<Self> {
        Arc::new(Self { entry: Mutex::new(Some(entry)) })
    }

    /// The entry, unless it has been given up.
    pub(super) fn entry(&self) -> Option<Arc<Entry>> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives the entry up. Whoever is answered with it at this moment still holds it, and is the last.
    pub(super) fn clear(&self) {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// How long an entry takes memory at most. Only to give that back: by then it cannot be served, by our own clock.
pub(super) fn kept_for(settings: &config::Cache) -> Duration {
    settings.max_ttl.saturating_add(settings.max_stale).saturating_add(Duration::from_secs(60))
}

/// Every place of `slots` in new ones, which there are as many of as weigh what `settings` allows.
pub(super) fn moved(slots: &Slots, settings: &config::Cache, counters: Arc<Counters>) -> Slots {
    let moved = self::slots(settings, counters);
    for (user, slot) in slots {
        moved.insert((*user).clone(), slot);
    }
    moved
}

/// No places yet; as many as weigh what `settings` allows.
pub(super) fn slots(settings: &config::Cache, counters: Arc<Counters>) -> Slots {
    moka::sync::Cache::builder()
        .max_capacity(settings.max_bytes)
        // Asked when an entry is put in. One that is given up at that very moment goes with its place.
        .weigher(|user, slot: &Arc<Slot>| slot.entry().map_or(0, |entry| entry.weight(user)))
        .time_to_live(kept_for(settings))
        // Called before whoever removes or replaces an entry goes on.
        .eviction_listener(move |_, slot: Arc<Slot>, cause| {
            slot.clear();
            match cause {
                RemovalCause::Size => counters.evictions.size.add(),
                RemovalCause::Expired => counters.evictions.expired.add(),
                RemovalCause::Explicit => counters.evictions.purged.add(),
                RemovalCause::Replaced => {}
            }
        })
        .build()
}

/// Gives every entry up.
pub(super) fn clear_all(slots: &Slots) {
    // moka only notes that whatever is older than now does not count, and removes it later.
    for (_, slot) in slots {
        slot.clear();
    }
    slots.invalidate_all();
    slots.run_pending_tasks();
}

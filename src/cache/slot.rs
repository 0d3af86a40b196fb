//! A cache slot that is cleared at eviction time, before moka frees it.
//!
//! moka frees what it removes later: lock-free readers may still use it, and housekeeping runs only occasionally. Until
//! then an entry would stay in memory with its tokens, although no lookup can find it. So moka stores slots, and its
//! eviction listener clears them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::notification::RemovalCause;

use crate::config;
use crate::domain::user::UserId;
use crate::telemetry::Counters;

use super::entry::Entry;

/// The slots by user.
pub(super) type Slots = moka::sync::Cache<UserId, Arc<Slot>>;

/// One user's slot.
#[derive(Debug)]
pub(super) struct Slot {
    entry: Mutex<Option<Arc<Entry>>>,
}

impl Slot {
    /// A slot with `entry`.
    pub(super) fn of(entry: Arc<Entry>) -> Arc<Self> {
        Arc::new(Self { entry: Mutex::new(Some(entry)) })
    }

    /// The entry, unless the slot has been cleared.
    pub(super) fn entry(&self) -> Option<Arc<Entry>> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Clears the slot. An answer that is being made of the entry at this moment is the last one to use it.
    pub(super) fn clear(&self) {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The longest time that an entry stays in memory. By then the freshness rules forbid serving it.
pub(super) fn kept_for(settings: &config::Cache) -> Duration {
    settings.max_ttl.saturating_add(settings.max_stale).saturating_add(Duration::from_secs(60))
}

/// A copy of `slots` with the bounds of `settings`.
pub(super) fn moved(slots: &Slots, settings: &config::Cache, counters: Arc<Counters>) -> Slots {
    let moved = self::slots(settings, counters);
    for (user, slot) in slots {
        moved.insert((*user).clone(), slot);
    }
    moved
}

/// Empty slots with the bounds of `settings`.
pub(super) fn slots(settings: &config::Cache, counters: Arc<Counters>) -> Slots {
    moka::sync::Cache::builder()
        .max_capacity(settings.max_bytes)
        // Called when a slot is inserted. A slot that was cleared in the meantime is being removed.
        .weigher(|user, slot: &Arc<Slot>| slot.entry().map_or(0, |entry| entry.weight(user)))
        .time_to_live(kept_for(settings))
        // Called before the removal or replacement of a slot returns.
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

/// Removes every entry.
pub(super) fn clear_all(slots: &Slots) {
    // moka marks everything older than now as invalid, and removes it later.
    for (_, slot) in slots {
        slot.clear();
    }
    slots.invalidate_all();
    slots.run_pending_tasks();
}

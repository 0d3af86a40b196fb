//! The store of the entries, and the settings by which they are kept and judged. A reload can replace both.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::config;
use crate::domain::freshness::Terms;
use crate::domain::user::UserId;
use crate::telemetry::Counters;

use super::entry::{Entry, Rules};
use super::slot::{self, Slots};

/// The entries and their settings. Cheap to clone; clones share both. A reader locks briefly, and never twice at a
/// time.
#[derive(Clone)]
pub(super) struct Store {
    now: Arc<RwLock<StoreState>>,
    counters: Arc<Counters>,
}

/// What is in the store, and its settings.
pub(super) struct StoreState {
    pub entries: Slots,
    pub rules: Rules,
    pub settings: config::Cache,
}

impl StoreState {
    /// The entry of `user`.
    pub fn cached(&self, user: &UserId) -> Option<Arc<Entry>> {
        let look = || self.entries.get(user)?.entry();
        // A slot may be cleared just as it is found, because another one has replaced it: then that one is read.
        look().or_else(look)
    }
}

impl Store {
    /// An empty store.
    pub fn new(settings: &config::Cache, counters: Arc<Counters>) -> Self {
        let entries = slot::slots(settings, Arc::clone(&counters));
        let now = StoreState { entries, rules: rules(settings), settings: *settings };
        Self { now: Arc::new(RwLock::new(now)), counters }
    }

    /// The store as it is now.
    pub fn now(&self) -> RwLockReadGuard<'_, StoreState> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies these settings from now on. Entries stay, unless `max_bytes` has become less.
    pub fn reconfigure(&self, settings: &config::Cache) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let before = now.settings;
        // moka's own bounds are fixed, so the entries move. Lookups wait meanwhile.
        if before.max_bytes != settings.max_bytes || slot::kept_for(&before) != slot::kept_for(settings) {
            now.entries = slot::moved(&now.entries, settings, Arc::clone(&self.counters));
        }
        (now.rules, now.settings) = (rules(settings), *settings);
    }
}

fn rules(settings: &config::Cache) -> Rules {
    let refresh_after =
        (settings.refresh_ahead > 0.0).then(|| settings.max_ttl.mul_f64(settings.refresh_ahead));
    let servable_for = settings.max_ttl.saturating_add(settings.max_stale);
    let terms = Terms { refresh_after, fresh_for: settings.max_ttl, servable_for, min_ttl: settings.min_ttl };
    Rules { terms, negative: settings.negative }
}

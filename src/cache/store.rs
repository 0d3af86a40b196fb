//! The entries, and the settings that they are kept and judged by: what changes when the configuration does.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::config;
use crate::domain::freshness::Terms;
use crate::domain::user::UserId;
use crate::telemetry::Counters;

use super::entry::{Entry, Rules};
use super::slot::{self, Slots};

/// A store that several hold. Whoever looks at it does so briefly, and never twice at once.
#[derive(Clone)]
pub(super) struct Store {
    now: Arc<RwLock<StoreState>>,
    counters: Arc<Counters>,
}

/// What is on it, and by which settings.
pub(super) struct StoreState {
    pub entries: Slots,
    pub rules: Rules,
    pub settings: config::Cache,
}

impl StoreState {
    /// What is remembered of `user`.
    pub fn held(&self, user: &UserId) -> Option<Arc<Entry>> {
        let look = || self.entries.get(user)?.entry();
        // A place may be emptied just as it is found, because another has taken it: then that one is looked at.
        look().or_else(look)
    }
}

impl Store {
    /// An empty one.
    pub fn new(settings: &config::Cache, counters: Arc<Counters>) -> Self {
        let entries = slot::slots(settings, Arc::clone(&counters));
        let now = StoreState { entries, rules: rules(settings), settings: *settings };
        Self { now: Arc::new(RwLock::new(now)), counters }
    }

    /// As it is now.
    pub fn now(&self) -> RwLockReadGuard<'_, StoreState> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by these settings from now on. Nothing is forgotten for it, unless there is less room.
    pub fn reconfigure(&self, settings: &config::Cache) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let before = now.settings;
        // moka's own bounds are fixed. While entries move, lookups wait.
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

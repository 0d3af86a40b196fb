//! Chains in memory, for daemons without `[state]`.
//!
//! Chains are dropped in the order in which they were last used, half of them at a time. What is lost with one is the
//! newest refresh token of a provider that accepts the older ones as well, or the knowledge that one is refused.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::slot::{Slot, UserPrefix};
use crate::domain::redemption::Chain;

/// The most bytes of chains in memory, about: some 40,000 chains with tokens of 200 bytes.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The size of a chain without its texts, and of its place in the map.
const OVERHEAD: usize = 200;

/// Chains by their slots.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Generations>);

/// Chains that were used lately, and those that were used before. The older ones are dropped as a whole.
#[derive(Debug, Default)]
struct Generations {
    young: BTreeMap<Slot, Chain>,
    young_bytes: usize,
    old: BTreeMap<Slot, Chain>,
}

impl Memory {
    /// The chain under `slot`.
    pub fn get(&self, slot: &Slot) -> Option<Chain> {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(chain) = now.old.remove(slot) else { return now.young.get(slot).cloned() };
        now.put(*slot, chain.clone());
        Some(chain)
    }

    /// Stores `chain` under `slot`, if `is_wanted` still says so.
    pub fn put(&self, slot: Slot, chain: Chain, is_wanted: impl FnOnce() -> bool) -> bool {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = is_wanted();
        if is_wanted {
            now.old.remove(&slot);
            now.put(slot, chain);
        }
        is_wanted
    }

    /// Drops all chains of a user. `before` is called while no chain can be read.
    pub fn forget(&self, user: UserPrefix, before: impl FnOnce()) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        before();
        now.young.retain(|slot, _| slot.user() != user);
        now.old.retain(|slot, _| slot.user() != user);
    }

    /// Drops all chains. `before` is called while no chain can be read.
    pub fn forget_all(&self, before: impl FnOnce()) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        before();
        *now = Generations::default();
    }
}

impl Generations {
    fn put(&mut self, slot: Slot, chain: Chain) {
        // Replaced chains are counted again, which makes a generation end a little early.
        self.young_bytes = self.young_bytes.saturating_add(bytes(&chain));
        self.young.insert(slot, chain);
        if self.young_bytes > MOST_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

fn bytes(chain: &Chain) -> usize {
    let client = chain.refusal.as_ref().map_or(0, |refusal| refusal.client.len());
    OVERHEAD.saturating_add(chain.token.len()).saturating_add(client)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::state::slot::SLOT_LENGTH;
    use std::time::Duration;

    fn len(memory: &Memory) -> usize {
        let now = memory.0.lock().unwrap();
        now.young.len() + now.old.len()
    }

    fn slot(number: usize) -> Slot {
        let mut bytes = [0; SLOT_LENGTH];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Slot::from_bytes(&bytes).unwrap()
    }

    fn chain(length: usize) -> Chain {
        let token = Secret::new("x".repeat(length));
        Chain {
            origin: token.hash(),
            since: Duration::ZERO,
            token,
            generation: 0,
            attempts: 0,
            sent: Duration::ZERO,
            refusal: None,
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let memory = Memory::default();
        let length = 1000 - OVERHEAD;
        for number in 0..100_000 {
            assert!(memory.put(slot(number), chain(length), || true));
            assert!(memory.get(&slot(0)).is_some(), "{number}: in use");
            assert!(len(&memory) * 1000 <= MOST_BYTES + 1000, "{number}: {}", len(&memory));
        }
        assert!(len(&memory) * 1000 > MOST_BYTES / 4, "{}", len(&memory));
        assert!(memory.get(&slot(1)).is_none() && memory.get(&slot(99_999)).is_some());
    }

    #[test]
    fn a_user_is_forgotten_wherever_the_chains_are() {
        let memory = Memory::default();
        memory.put(slot(1), chain(1), || true);
        memory.put(slot(2), chain(MOST_BYTES / 2), || true);
        memory.put(slot(3), chain(1), || true);
        for number in [1, 3] {
            memory.forget(slot(number).user(), || ());
            assert!(memory.get(&slot(number)).is_none());
        }
        assert!(memory.get(&slot(2)).is_some());
        assert!(!memory.put(slot(1), chain(1), || false) && memory.get(&slot(1)).is_none());
        memory.forget_all(|| ());
        assert_eq!(len(&memory), 0);
    }
}

//! Tests of the order in which requests to the state file are served.

use std::thread;

use super::*;
use crate::domain::freshness::Timestamp;
use crate::state::slot::SLOT_LENGTH;

/// Records, and how many changes were made.
type Kept = (BTreeMap<Slot, Vec<u8>>, usize);

/// Records in memory.
#[derive(Clone, Debug, Default)]
struct InMemory(Arc<Mutex<Kept>>);

impl Records for InMemory {
    fn get(&mut self, slot: &Slot) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(self.0.lock().unwrap().0.get(slot).cloned())
    }

    fn has(&mut self, user: UserPrefix) -> Result<bool, Trouble> {
        Ok(self.0.lock().unwrap().0.keys().any(|slot| slot.user() == user))
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), Trouble> {
        let (records, count) = &mut *self.0.lock().unwrap();
        *count += changes.len();
        for change in changes {
            match change {
                Change::Put(slot, sealed) => drop(records.insert(*slot, sealed.clone())),
                Change::Remove(slot) => drop(records.remove(slot)),
                Change::Forget(user) => records.retain(|slot, _| slot.user() != *user),
                Change::ForgetAll => records.clear(),
            }
        }
        Ok(())
    }

    fn each(&mut self, see: &mut dyn FnMut(Slot, &[u8])) -> Result<(), Trouble> {
        self.0.lock().unwrap().0.iter().for_each(|(slot, sealed)| see(*slot, sealed));
        Ok(())
    }

    fn len(&self) -> u64 {
        self.0.lock().unwrap().0.len() as u64
    }
}

fn store(records: &InMemory) -> Store {
    let clock = Clock::simulated(Timestamp::from_secs(1_800_000_000));
    Store::new(Box::new(records.clone()), clock, Arc::default(), 1)
}

fn slot() -> Slot {
    Slot::from_bytes(&[1; SLOT_LENGTH]).unwrap()
}

/// Otherwise a redemption could read a record after redemptions were made void and before the record is removed, and
/// write it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_record_is_read_between_the_call_and_its_removal() {
    let store = store(&InMemory::default());
    store.put(slot(), vec![7], false, Obsolete::default()).await;
    let (reading, runtime) = (store.clone(), tokio::runtime::Handle::current());
    let mut reads = None;
    let outcome = store
        .forget(slot().user(), || {
            let (called, calls) = std::sync::mpsc::channel();
            reads = Some(thread::spawn(move || {
                called.send(()).unwrap();
                runtime.block_on(reading.get(slot()))
            }));
            calls.recv().unwrap();
            // Long enough for the other thread to be served, if it can be.
            thread::sleep(Duration::from_millis(200));
        })
        .await;
    assert_eq!(outcome, Outcome::Durable);
    let found = tokio::task::spawn_blocking(move || reads.unwrap().join().unwrap()).await.unwrap();
    assert_eq!(found, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_user_without_records_is_forgotten_without_a_write() {
    let records = InMemory::default();
    let store = store(&records);
    let changes = || records.0.lock().unwrap().1;
    assert_eq!(store.forget(slot().user(), || ()).await, Outcome::Durable);
    assert_eq!(changes(), 0);
    // In one batch with the record.
    let put = store.put(slot(), vec![7], false, Obsolete::default());
    let (put, forgotten) = tokio::join!(put, store.forget(slot().user(), || ()));
    assert_eq!((put, forgotten, changes()), (Outcome::Durable, Outcome::Durable, 2));
    assert_eq!(store.get(slot()).await, Ok(None));
    store.put(slot(), vec![7], false, Obsolete::default()).await;
    store.forget(slot().user(), || ()).await;
    assert_eq!((changes(), store.get(slot()).await), (4, Ok(None)));
}

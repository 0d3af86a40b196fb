//! Single flight: however many callers want the same thing, it is fetched once at a time.
//!
//! The fetch runs in a task of its own. Callers only wait for its result, so one that goes away aborts nothing,
//! and a fetch that panics leaves no key behind that nobody could ever fetch again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::task;

/// The flights under way, by key.
#[derive(Debug)]
pub struct Flights<K, V> {
    under_way: Arc<UnderWay<K, V>>,
    limit: usize,
}

/// A std mutex, since nothing is awaited while it is held.
type UnderWay<K, V> = Mutex<HashMap<K, Aloft<V>>>;

/// A flight, as the map knows it.
#[derive(Debug)]
struct Aloft<V> {
    result: watch::Receiver<Option<V>>,
    obsolete: Obsolete,
}

/// Whether something has happened since the flight began that its result does not know of.
#[derive(Clone, Debug, Default)]
pub struct Obsolete(Arc<AtomicBool>);

impl Obsolete {
    /// Whether that is so.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// One flight, as seen by one caller.
#[derive(Debug)]
pub struct Flight<V> {
    result: watch::Receiver<Option<V>>,
    joined: bool,
    too_old: bool,
}

/// Why there is no flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFlight<E> {
    /// As many as may be are under way.
    Full,
    /// It was not to be started.
    Refused(E),
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// At most `limit` flights at a time: a bound on memory, whatever callers ask for and however soon they leave.
    pub fn new(limit: usize) -> Self {
        Self { under_way: Arc::default(), limit }
    }

    /// Joins the flight for `key`, or starts one with what `fetch` returns, if it does. The fetch is told whether it
    /// has become obsolete.
    ///
    /// # Panics
    /// Outside a tokio runtime, when a flight has to be started.
    pub fn join<F, E>(
        &self,
        key: K,
        fetch: impl FnOnce(Obsolete) -> Result<F, E>,
    ) -> Result<Flight<V>, NoFlight<E>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let flights = under_way.len();
        let vacant = match under_way.entry(key.clone()) {
            Entry::Occupied(flight) => {
                let aloft = flight.get();
                return Ok(Flight {
                    result: aloft.result.clone(),
                    joined: true,
                    too_old: aloft.obsolete.get(),
                });
            }
            Entry::Vacant(_) if flights >= self.limit => return Err(NoFlight::Full),
            Entry::Vacant(vacant) => vacant,
        };
        let obsolete = Obsolete::default();
        let fetch = fetch(obsolete.clone()).map_err(NoFlight::Refused)?;
        let (land, result) = watch::channel(None);
        vacant.insert(Aloft { result: result.clone(), obsolete });
        drop(under_way);

        let end = End { under_way: Arc::clone(&self.under_way), key };
        task::spawn("flight", async move {
            let value = fetch.await;
            // First forgotten, then announced: whoever asks from now on finds what the fetch has stored, or
            // starts anew, but never joins a flight that has landed.
            drop(end);
            land.send_replace(Some(value));
        });
        Ok(Flight { result, joined: false, too_old: false })
    }

    /// Something has happened to `key` that a flight under way does not know of.
    pub fn outdate(&self, key: &K) {
        if let Some(aloft) = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            aloft.obsolete.0.store(true, Ordering::SeqCst);
        }
    }

    /// The same for every flight under way.
    pub fn outdate_all(&self) {
        for aloft in self.under_way.lock().unwrap_or_else(PoisonError::into_inner).values() {
            aloft.obsolete.0.store(true, Ordering::SeqCst);
        }
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<V: Clone> Flight<V> {
    /// Whether the flight was under way already.
    pub fn joined(&self) -> bool {
        self.joined
    }

    /// Whether it was obsolete already when it was joined: then its result is no answer to whoever joined.
    pub fn is_too_old(&self) -> bool {
        self.too_old
    }

    /// Waits for the result; `None` if the fetch panicked.
    pub async fn landed(mut self) -> Option<V> {
        match self.result.wait_for(Option::is_some).await {
            Ok(value) => value.clone(),
            Err(_) => None,
        }
    }
}

/// Forgets the flight when it ends, however it ends.
struct End<K: Eq + Hash, V> {
    under_way: Arc<UnderWay<K, V>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for End<K, V> {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    fn flights() -> Flights<&'static str, usize> {
        Flights::new(2)
    }

    #[tokio::test(start_paused = true)]
    async fn callers_share_one_fetch_and_a_later_one_fetches_anew() {
        let (flights, fetches) = (flights(), Arc::new(AtomicUsize::new(0)));
        let fetch = |_| {
            let fetches = Arc::clone(&fetches);
            Ok::<_, ()>(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                fetches.fetch_add(1, Ordering::SeqCst)
            })
        };
        let first = flights.join("a", fetch).unwrap();
        let second = flights.join("a", fetch).unwrap();
        assert_eq!((first.joined(), second.joined()), (false, true));
        assert_eq!((first.landed().await, second.landed().await), (Some(0), Some(0)));
        assert_eq!(flights.len(), 0);
        assert_eq!(flights.join("a", fetch).unwrap().landed().await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_aborts_nothing() {
        let flights = flights();
        let fetch = |_| {
            Ok::<_, ()>(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                7
            })
        };
        drop(flights.join("a", fetch).unwrap());
        let second = flights.join("a", |_| Ok::<_, ()>(async { 8 })).unwrap();
        assert_eq!(second.landed().await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_joins_an_obsolete_flight_is_told_and_those_before_are_not() {
        let flights = flights();
        let told = |obsolete: Obsolete| {
            Ok::<_, ()>(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                usize::from(obsolete.get())
            })
        };
        let before = flights.join("a", told).unwrap();
        flights.outdate(&"b");
        flights.outdate(&"a");
        let after = flights.join("a", told).unwrap();
        assert_eq!((before.is_too_old(), after.is_too_old()), (false, true));
        assert_eq!(after.landed().await, Some(1), "the fetch itself knows, too");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_panics_leaves_no_key_stuck() {
        let flights = flights();
        let broken = flights.join("a", |_| Ok::<_, ()>(async { panic!("as a test") })).unwrap();
        assert_eq!(broken.landed().await, None);
        assert_eq!(flights.join("a", |_| Ok::<_, ()>(async { 1 })).unwrap().landed().await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_limit_on_flights_and_none_on_callers() {
        let flights = flights();
        let hold = |_| Ok::<_, ()>(std::future::pending::<usize>());
        let _held = [flights.join("a", hold).unwrap(), flights.join("b", hold).unwrap()];
        assert_eq!(flights.join("c", hold).unwrap_err(), NoFlight::Full);
        assert!(flights.join("a", hold).unwrap().joined());
    }
}

//! Single flight: concurrent callers that want one value share one fetch.
//!
//! The fetch runs in a task of its own. Callers only wait for its result, so a caller that leaves aborts nothing, and
//! the key of a fetch that panics can be fetched again.
//!
//! A flight counts for the owner that began it. Each owner may have as many flights as it leaves to others, so none can
//! take them all. Callers that join become owners as well, and are not counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::task;

/// The flights under way, by key.
#[derive(Debug)]
pub struct Flights<K, O, V> {
    /// A std mutex, since no await happens while it is locked.
    under_way: Arc<Mutex<UnderWay<K, O, V>>>,
    limit: usize,
}

#[derive(Debug)]
struct UnderWay<K, O, V> {
    flights: HashMap<K, FlightState<O, V>>,
    /// How many flights each owner has begun. Owners without any have no entry.
    begun: HashMap<O, usize>,
}

/// A flight as the map stores it.
#[derive(Debug)]
struct FlightState<O, V> {
    result: watch::Receiver<Option<V>>,
    owners: watch::Sender<Vec<O>>,
    obsolete: Obsolete,
}

/// The owners of a flight, in the order in which they joined. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Owners<O>(watch::Receiver<Vec<O>>);

impl<O: Clone> Owners<O> {
    /// A single owner, which no other can join.
    pub fn only(owner: O) -> Self {
        Self(watch::channel(vec![owner]).1)
    }

    /// The owners by now.
    pub fn so_far(&mut self) -> Vec<O> {
        self.0.borrow_and_update().clone()
    }

    /// Waits until a caller has joined since [`Owners::so_far`]; for ever, if none can join any more.
    pub async fn joined(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether a flight's result is obsolete, because something has happened since the flight began. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Obsolete(Arc<ObsoleteFlags>);

#[derive(Debug, Default)]
struct ObsoleteFlags {
    anything: AtomicBool,
    void: AtomicBool,
}

impl Obsolete {
    /// Whether the result lacks something that has happened.
    pub fn get(&self) -> bool {
        self.0.anything.load(Ordering::SeqCst)
    }

    /// Whether nothing of the result may be kept, even if it has been stored already.
    pub fn is_void(&self) -> bool {
        self.0.void.load(Ordering::SeqCst)
    }

    fn set(&self, void: bool) {
        self.0.void.fetch_or(void, Ordering::SeqCst);
        self.0.anything.store(true, Ordering::SeqCst);
    }
}

/// One flight as one caller sees it.
#[derive(Debug)]
pub struct Flight<V> {
    result: watch::Receiver<Option<V>>,
    joined: bool,
    too_old: bool,
}

/// Why there is no flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFlight<E> {
    /// The limit of all flights, or that of the owner, is reached.
    Full,
    /// The caller's own function did not start one.
    Refused(E),
}

impl<K, O, V> Flights<K, O, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    O: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// No flights yet, and at most `limit` at a time, which bounds memory whatever callers ask for and however soon
    /// they leave. One owner has at most half of them, the second then at most half of the rest, and so on.
    pub fn new(limit: usize) -> Self {
        let nothing = UnderWay { flights: HashMap::new(), begun: HashMap::new() };
        Self { under_way: Arc::new(Mutex::new(nothing)), limit }
    }

    /// Joins the flight for `key`, or starts one with the future that `fetch` returns. The fetch can follow its owners,
    /// and whether it has become obsolete.
    ///
    /// # Panics
    /// Outside a tokio runtime, when a flight has to be started.
    pub fn join<F, E>(
        &self,
        key: K,
        owner: O,
        fetch: impl FnOnce(Obsolete, Owners<O>) -> Result<F, E>,
    ) -> Result<Flight<V>, NoFlight<E>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut under_way = self.under_way();
        let UnderWay { flights, begun } = &mut *under_way;
        let free = self.limit.saturating_sub(flights.len());
        let vacant = match flights.entry(key.clone()) {
            Entry::Occupied(flight) => {
                let flight = flight.get();
                flight.owners.send_if_modified(|owners| {
                    let is_new = !owners.contains(&owner);
                    if is_new {
                        owners.push(owner);
                    }
                    is_new
                });
                return Ok(Flight {
                    result: flight.result.clone(),
                    joined: true,
                    too_old: flight.obsolete.get(),
                });
            }
            Entry::Vacant(_) if free <= begun.get(&owner).copied().unwrap_or(0) => {
                return Err(NoFlight::Full);
            }
            Entry::Vacant(vacant) => vacant,
        };
        let obsolete = Obsolete::default();
        let (owners, for_whom) = watch::channel(vec![owner.clone()]);
        let fetch = fetch(obsolete.clone(), Owners(for_whom)).map_err(NoFlight::Refused)?;
        let (land, result) = watch::channel(None);
        vacant.insert(FlightState { result: result.clone(), owners, obsolete });
        *begun.entry(owner.clone()).or_default() += 1;
        drop(under_way);

        let guard = LandingGuard { under_way: Arc::clone(&self.under_way), key, owner };
        task::spawn("flight", async move {
            let value = fetch.await;
            // Remove the flight first and announce it second: a later caller finds what the fetch has stored, or starts
            // a new flight, but never joins one that has landed.
            drop(guard);
            land.send_replace(Some(value));
        });
        Ok(Flight { result, joined: false, too_old: false })
    }

    /// Makes a flight for `key` obsolete: something has happened since it began.
    pub fn outdate(&self, key: &K) {
        if let Some(flight) = self.under_way().flights.get(key) {
            flight.obsolete.set(false);
        }
    }

    /// Makes a flight for `key` obsolete, and forbids to keep its result.
    pub fn void(&self, key: &K) {
        if let Some(flight) = self.under_way().flights.get(key) {
            flight.obsolete.set(true);
        }
    }

    /// Makes each flight obsolete whose key `is_meant` names, and forbids to keep its result.
    pub fn void_where(&self, is_meant: impl Fn(&K) -> bool) {
        let under_way = self.under_way();
        let meant = under_way.flights.iter().filter(|(key, _)| is_meant(key));
        meant.for_each(|(_, flight)| flight.obsolete.set(true));
    }

    /// Makes every flight under way obsolete, and forbids to keep their results.
    pub fn void_all(&self) {
        self.under_way().flights.values().for_each(|flight| flight.obsolete.set(true));
    }

    /// The number of flights under way.
    pub fn len(&self) -> usize {
        self.under_way().flights.len()
    }

    /// Whether no flight is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay<K, O, V>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Clone> Flight<V> {
    /// Whether the flight was under way before this caller came.
    pub fn joined(&self) -> bool {
        self.joined
    }

    /// Whether the flight was obsolete when this caller joined, so that its result does not answer this caller.
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

/// Removes the flight when its task ends, also by a panic.
struct LandingGuard<K: Eq + Hash, O: Eq + Hash, V> {
    under_way: Arc<Mutex<UnderWay<K, O, V>>>,
    key: K,
    owner: O,
}

impl<K: Eq + Hash, O: Eq + Hash, V> Drop for LandingGuard<K, O, V> {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.flights.remove(&self.key);
        if let Some(begun) = under_way.begun.get_mut(&self.owner) {
            *begun = begun.saturating_sub(1);
            if *begun == 0 {
                under_way.begun.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    fn flights() -> Flights<&'static str, char, usize> {
        Flights::new(4)
    }

    #[tokio::test(start_paused = true)]
    async fn callers_share_one_fetch_and_a_later_one_fetches_anew() {
        let (flights, fetches) = (flights(), Arc::new(AtomicUsize::new(0)));
        let fetch = |_, _| {
            let fetches = Arc::clone(&fetches);
            Ok::<_, ()>(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                fetches.fetch_add(1, Ordering::SeqCst)
            })
        };
        let first = flights.join("a", 'x', fetch).unwrap();
        let second = flights.join("a", 'x', fetch).unwrap();
        assert_eq!((first.joined(), second.joined()), (false, true));
        assert_eq!((first.landed().await, second.landed().await), (Some(0), Some(0)));
        assert_eq!(flights.len(), 0);
        assert_eq!(flights.join("a", 'x', fetch).unwrap().landed().await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_aborts_nothing() {
        let flights = flights();
        let fetch = |_, _| {
            Ok::<_, ()>(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                7
            })
        };
        drop(flights.join("a", 'x', fetch).unwrap());
        let second = flights.join("a", 'x', |_, _| Ok::<_, ()>(async { 8 })).unwrap();
        assert_eq!(second.landed().await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_joins_an_obsolete_flight_knows_and_earlier_ones_do_not() {
        let flights = flights();
        let told = |obsolete: Obsolete, _| {
            Ok::<_, ()>(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                usize::from(obsolete.get())
            })
        };
        let before = flights.join("a", 'x', told).unwrap();
        flights.outdate(&"b");
        flights.outdate(&"a");
        let after = flights.join("a", 'x', told).unwrap();
        assert_eq!((before.is_too_old(), after.is_too_old()), (false, true));
        assert_eq!(after.landed().await, Some(1), "the fetch itself knows, too");
    }

    #[tokio::test(start_paused = true)]
    async fn flights_are_made_void_by_their_keys() {
        let flights = flights();
        let told = |obsolete: Obsolete, _| {
            Ok::<_, ()>(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                usize::from(obsolete.is_void())
            })
        };
        let [a, b] = ["a", "b"].map(|key| flights.join(key, 'x', told).unwrap());
        flights.void_where(|key| *key == "a");
        assert_eq!((a.landed().await, b.landed().await), (Some(1), Some(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_panics_leaves_no_key_stuck() {
        let flights = flights();
        let broken = flights.join("a", 'x', |_, _| Ok::<_, ()>(async { panic!("as a test") })).unwrap();
        assert_eq!(broken.landed().await, None);
        assert_eq!(flights.join("a", 'x', |_, _| Ok::<_, ()>(async { 1 })).unwrap().landed().await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_limit_on_flights_and_none_on_callers() {
        let flights = flights();
        let hold = |_, _| Ok::<_, ()>(std::future::pending::<usize>());
        let begin = |key, owner| flights.join(key, owner, hold).map(|flight| flight.joined());
        assert_eq!([begin("a", 'x'), begin("b", 'x')], [Ok(false), Ok(false)]);
        assert_eq!(begin("c", 'x'), Err(NoFlight::Full), "half is for others");
        assert_eq!([begin("c", 'y'), begin("d", 'y')], [Ok(false), Err(NoFlight::Full)]);
        assert_eq!([begin("d", 'z'), begin("e", 'w')], [Ok(false), Err(NoFlight::Full)]);
        assert!(['x', 'y', 'z', 'w'].iter().all(|owner| begin("a", *owner) == Ok(true)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_owner_leaves_as_many_as_it_has_and_has_them_back_when_they_land() {
        let flights = Flights::<usize, usize, ()>::new(1024);
        let mut key = 0;
        let mut begun = |owner| {
            let span = Duration::from_secs(1);
            let begin = |_| {
                key += 1;
                flights.join(key, owner, |_, _| Ok::<_, ()>(tokio::time::sleep(span))).is_ok()
            };
            (0..2000).map(begin).take_while(|begun| *begun).count()
        };
        assert_eq!([1, 2, 3, 4].map(&mut begun), [512, 256, 128, 64]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!((flights.len(), flights.under_way().begun.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_learns_who_joins_it() {
        let flights = flights();
        let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let fetch = |_, mut owners: Owners<char>| {
            Ok::<_, ()>(async move {
                loop {
                    told.send(owners.so_far()).unwrap();
                    owners.joined().await;
                }
            })
        };
        let _first = flights.join("a", 'x', fetch).unwrap();
        assert_eq!(seen.recv().await, Some(vec!['x']));
        for owner in ['x', 'y', 'y'] {
            flights.join("a", owner, |_, _| Ok::<_, ()>(std::future::pending())).unwrap();
        }
        assert_eq!(seen.recv().await, Some(vec!['x', 'y']));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(seen.try_recv().is_err());
    }
}

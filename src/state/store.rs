//! The state file as the daemon uses it: one batch of reads and changes at a time, and results that wait for the disk.
//!
//! Requests that arrive while a batch is under way make up the next one, so that many redemptions share one sync. A batch
//! runs on a blocking thread. A result that cannot be written is kept in memory and tried again. Until then no intent is
//! stored, so no refresh token that rotates is redeemed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::database::{Change, Records};
use super::slot::{Slot, UserPrefix};
use super::trouble::Trouble;
use crate::clock::Clock;
use crate::domain::freshness::Moment;
use crate::domain::retry::Backoff;
use crate::flight::Obsolete;
use crate::task;
use crate::telemetry::{Counters, StateStanding};

/// Waits between attempts to write what could not be written.
const REWRITE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));

/// How long a redemption waits for the disk at each step. A file on a device that hangs is answered by none.
const MOST_WAIT: Duration = Duration::from_secs(5);

/// The file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// The outcome of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write is durable.
    Durable,
    /// The write was dropped, because the user was forgotten since the redemption began.
    Obsolete,
    /// The write is not durable. A result is kept in memory.
    Failed,
    /// The disk did not answer in time. The write may become durable later; a result is kept until it is.
    Unknown,
}

/// A request to the store.
#[derive(Debug)]
enum Request {
    Get(Slot),
    Put {
        slot: Slot,
        sealed: Vec<u8>,
        is_intent: bool,
        obsolete: Obsolete,
    },
    Forget(UserPrefix),
    ForgetAll,
    /// Writes what could not be written before.
    Rewrite,
    Close,
}

#[derive(Debug)]
enum Reply {
    Found(Result<Option<Vec<u8>>, Unreadable>),
    Changed(Outcome),
}

/// The state file. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    worker: Arc<Mutex<Worker>>,
    clock: Clock,
    counters: Arc<Counters>,
    seed: u64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(Request, oneshot::Sender<Reply>)>,
    /// Whether a task takes requests out of the queue.
    is_served: bool,
    /// Whether the disk did not answer a request of the batch under way in time.
    is_hanging: bool,
    /// Whether a task tries again to write what could not be written.
    is_rewriting: bool,
}

impl Store {
    /// A store of `records`. `seed` determines the jitter of retries.
    pub fn new(records: Box<dyn Records>, clock: Clock, counters: Arc<Counters>, seed: u64) -> Self {
        let worker =
            Worker { records: Some(records), unwritten: BTreeMap::new(), trouble: None, is_readable: true };
        counters.state.set(Some(worker.standing()));
        let worker = Arc::new(Mutex::new(worker));
        Self(Arc::new(Shared { queue: Mutex::default(), worker, clock, counters, seed }))
    }

    /// The sealed record under `slot`, also if it is in memory alone.
    pub async fn get(&self, slot: Slot) -> Result<Option<Vec<u8>>, Unreadable> {
        match self.ask(|| (), Request::Get(slot)).await {
            Ok(Reply::Found(found)) => found,
            _ => Err(Unreadable),
        }
    }

    /// Stores a sealed record, unless it is `obsolete` by then. A result that cannot be stored now is stored later; an
    /// intent is not.
    pub async fn put(&self, slot: Slot, sealed: Vec<u8>, is_intent: bool, obsolete: Obsolete) -> Outcome {
        self.change(Request::Put { slot, sealed, is_intent, obsolete }).await
    }

    /// Stores a sealed record as [`Store::put`] does, and does not wait for it.
    pub fn put_later(&self, slot: Slot, sealed: Vec<u8>, obsolete: Obsolete) {
        drop(self.enqueue_after(|| (), Request::Put { slot, sealed, is_intent: false, obsolete }));
    }

    /// Removes all records of a user. `before` is called at a moment before which a record may have been read, and after
    /// which none of this user is read.
    pub async fn forget(&self, user: UserPrefix, before: impl FnOnce()) -> Outcome {
        self.change_after(before, Request::Forget(user)).await
    }

    /// Removes all records. `before` is called as by [`Store::forget`].
    pub async fn forget_all(&self, before: impl FnOnce()) -> Outcome {
        self.change_after(before, Request::ForgetAll).await
    }

    /// Writes what was not written, and closes the file. Waits as long as that takes.
    pub async fn close(&self) {
        self.enqueue_after(|| (), Request::Close).await.ok();
    }

    async fn change(&self, request: Request) -> Outcome {
        self.change_after(|| (), request).await
    }

    async fn change_after(&self, before: impl FnOnce(), request: Request) -> Outcome {
        match self.ask(before, request).await {
            Ok(Reply::Changed(outcome)) => outcome,
            Ok(Reply::Found(_)) => Outcome::Failed,
            Err(outcome) => outcome,
        }
    }

    /// Puts a request into the queue and waits for the reply, for [`MOST_WAIT`] at most.
    async fn ask(&self, before: impl FnOnce(), request: Request) -> Result<Reply, Outcome> {
        let is_result = matches!(request, Request::Put { is_intent: false, .. });
        // A queue behind a disk that hangs is bounded: it takes the results of redemptions under way, and no more.
        if self.0.queue().is_hanging && !is_result {
            return Err(Outcome::Failed);
        }
        match timeout(MOST_WAIT, self.enqueue_after(before, request)).await {
            Ok(Ok(reply)) => Ok(reply),
            // The work on it has panicked.
            Ok(Err(_)) => Err(Outcome::Unknown),
            Err(_) => {
                self.0.hangs();
                Err(Outcome::Unknown)
            }
        }
    }

    /// Puts a request into the queue. `before` is called while no other request can be put there.
    fn enqueue_after(&self, before: impl FnOnce(), request: Request) -> oneshot::Receiver<Reply> {
        let (reply, replied) = oneshot::channel();
        let mut queue = self.0.queue();
        before();
        queue.waiting.push((request, reply));
        if !std::mem::replace(&mut queue.is_served, true) {
            task::spawn("state", Arc::clone(&self.0).serve());
        }
        replied
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the disk does not answer, until the batch under way is done.
    fn hangs(&self) {
        let mut queue = self.queue();
        if !queue.is_served || std::mem::replace(&mut queue.is_hanging, true) {
            return;
        }
        let cause = Trouble::Hanging;
        tracing::error!(%cause, "The state file cannot be used: no refresh token that rotates is redeemed");
        if let Some(standing) = self.counters.state.standing() {
            let trouble = Some(cause.to_string());
            self.counters.state.set(Some(StateStanding { trouble, ..standing }));
        }
    }

    /// Serves the queue until it is empty.
    fn serve(self: Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // Boxed, because this starts the task that tries again, which starts this one.
        Box::pin(async move { self.serve_batches().await })
    }

    async fn serve_batches(self: Arc<Self>) {
        loop {
            let batch = {
                let mut queue = self.queue();
                if std::mem::take(&mut queue.is_hanging) {
                    tracing::info!("The disk of the state file answers again");
                }
                queue.is_served = !queue.waiting.is_empty();
                std::mem::take(&mut queue.waiting)
            };
            if batch.is_empty() {
                return;
            }
            let (requests, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let (worker, now) = (Arc::clone(&self.worker), self.clock.now());
            let work = move || worker.lock().unwrap_or_else(PoisonError::into_inner).run(requests, now);
            // A panic leaves the requests without a reply, which counts as a failure of each.
            let Ok(done) = tokio::task::spawn_blocking(work).await else { continue };
            if done.has_written {
                self.counters.state.writes.observe(self.clock.since(now));
            }
            let is_in_trouble = done.standing.trouble.is_some();
            self.counters.state.set(Some(done.standing));
            for (reply, to) in done.replies.into_iter().zip(replies) {
                // A caller that is gone needs no reply.
                to.send(reply).ok();
            }
            let was_rewriting = std::mem::replace(&mut self.queue().is_rewriting, is_in_trouble);
            if is_in_trouble && !was_rewriting {
                let store = Store(Arc::clone(&self));
                task::spawn("state retry", async move { store.rewrite().await });
            }
        }
    }
}

impl Store {
    /// Tries again, until the file can be written or is closed.
    async fn rewrite(self) {
        for wait in REWRITE.waits(self.0.seed) {
            tokio::time::sleep(wait).await;
            if let Outcome::Durable | Outcome::Obsolete = self.change(Request::Rewrite).await {
                return;
            }
        }
    }
}

/// What runs on the blocking thread: the records, and the results that are not written yet.
#[derive(Debug)]
struct Worker {
    /// `None` once the file is closed.
    records: Option<Box<dyn Records>>,
    unwritten: BTreeMap<Slot, (Vec<u8>, Moment)>,
    trouble: Option<Trouble>,
    /// Whether the file may be readable although it is in trouble. Found out once for each attempt to write, because a
    /// database that is opened again is read as a whole.
    is_readable: bool,
}

/// What came of a batch.
struct Done {
    replies: Vec<Reply>,
    has_written: bool,
    standing: StateStanding,
}

impl Worker {
    fn run(&mut self, requests: Vec<Request>, now: Moment) -> Done {
        let has_to_rewrite =
            requests.iter().any(|request| matches!(request, Request::Rewrite | Request::Close));
        let (changes, is_in_time): (Vec<_>, Vec<_>) = requests.iter().map(Request::change).unzip();
        let changes = self.needed(changes.into_iter().flatten().collect());
        // While the file cannot be used, only the task that tries again asks for it.
        let written = match self.trouble {
            Some(trouble) if !has_to_rewrite => Err(trouble),
            _ if changes.is_empty() && self.trouble.is_none() => Ok(()),
            _ => self.write(&changes),
        };
        let has_written = !changes.is_empty() || has_to_rewrite;
        if self.trouble.is_none() || has_to_rewrite {
            self.is_readable = written.err().is_none_or(Trouble::is_about_writing);
        }
        self.note(written.err());
        let replies = requests.into_iter().zip(is_in_time);
        let replies =
            replies.map(|(request, is_in_time)| self.reply(request, is_in_time, written.is_ok(), now));
        let replies = replies.collect();
        Done { replies, has_written, standing: self.standing() }
    }

    /// `changes` without those that would only sync the file, because a user that is forgotten has no record.
    fn needed(&mut self, changes: Vec<Change>) -> Vec<Change> {
        let mut needed = Vec::with_capacity(changes.len());
        for change in changes {
            let is_needed = match change {
                Change::Forget(user) => self.has_record_of(user, &needed),
                Change::Put(..) | Change::Remove(_) | Change::ForgetAll => true,
            };
            needed.extend(Some(change).filter(|_| is_needed));
        }
        needed
    }

    /// Whether a record of `user` is stored, waits to be stored, or is in `changes`. `true` if that is not known.
    fn has_record_of(&mut self, user: UserPrefix, changes: &[Change]) -> bool {
        let (first, last) = Slot::all_of(user);
        let is_put = |change: &Change| matches!(change, Change::Put(slot, _) if slot.user() == user);
        self.unwritten.range(first..=last).next().is_some()
            || changes.iter().any(is_put)
            || !self.is_readable
            || self.records.as_mut().is_none_or(|records| records.has(user).unwrap_or(true))
    }

    /// Writes `changes`, after what was not written before.
    fn write(&mut self, changes: &[Change]) -> Result<(), Trouble> {
        let before = self.unwritten.iter().map(|(slot, (sealed, _))| Change::Put(*slot, sealed.clone()));
        let all: Vec<_> = before.chain(changes.iter().cloned()).collect();
        self.records.as_mut().ok_or(Trouble::Closed)?.apply(&all)?;
        self.unwritten.clear();
        Ok(())
    }

    fn reply(&mut self, request: Request, is_in_time: bool, is_written: bool, now: Moment) -> Reply {
        let outcome = match (is_in_time, is_written) {
            (false, _) => Outcome::Obsolete,
            (true, true) => Outcome::Durable,
            (true, false) => Outcome::Failed,
        };
        match request {
            Request::Get(slot) => return Reply::Found(self.find(&slot)),
            Request::Put { slot, sealed, is_intent: false, .. } if outcome == Outcome::Failed => {
                self.unwritten.insert(slot, (sealed, now));
            }
            Request::Close => self.records = None,
            Request::Rewrite if self.records.is_none() => return Reply::Changed(Outcome::Obsolete),
            Request::Put { .. } | Request::Forget(_) | Request::ForgetAll | Request::Rewrite => {}
        }
        Reply::Changed(outcome)
    }

    fn find(&mut self, slot: &Slot) -> Result<Option<Vec<u8>>, Unreadable> {
        if let Some((sealed, _)) = self.unwritten.get(slot) {
            return Ok(Some(sealed.clone()));
        }
        if !self.is_readable {
            return Err(Unreadable);
        }
        let found = self.records.as_mut().ok_or(Trouble::Closed).and_then(|records| records.get(slot));
        if let Err(trouble) = &found {
            self.is_readable = false;
            // What prevents a write is more than a read can tell.
            self.note(Some(self.trouble.unwrap_or(*trouble)));
        }
        found.map_err(|_| Unreadable)
    }

    /// Notes whether the file can be used, and logs when that changes.
    fn note(&mut self, trouble: Option<Trouble>) {
        if self.trouble == trouble || trouble == Some(Trouble::Closed) {
            return;
        }
        self.trouble = trouble;
        match trouble {
            Some(cause) => {
                tracing::error!(%cause, "The state file cannot be used: no refresh token that rotates is redeemed");
            }
            None => tracing::info!("The state file can be used again, and everything is written"),
        }
    }

    fn standing(&self) -> StateStanding {
        StateStanding {
            trouble: self.trouble.map(|trouble| trouble.to_string()),
            records: self.records.as_ref().map_or(0, |records| records.len()),
            unwritten: self.unwritten.len(),
            oldest_unwritten: self
                .unwritten
                .values()
                .map(|(_, since)| *since)
                .min_by_key(|since| since.elapsed),
        }
    }
}

impl Request {
    /// The change of the file, if it is one, and whether it is still wanted.
    fn change(&self) -> (Option<Change>, bool) {
        match self {
            Self::Put { obsolete, .. } if obsolete.is_void() => (None, false),
            Self::Put { slot, sealed, .. } => (Some(Change::Put(*slot, sealed.clone())), true),
            Self::Forget(user) => (Some(Change::Forget(*user)), true),
            Self::ForgetAll => (Some(Change::ForgetAll), true),
            Self::Get(_) | Self::Rewrite | Self::Close => (None, true),
        }
    }
}

#[cfg(test)]
mod tests;

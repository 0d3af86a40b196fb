//! Sealed records in a redb database: reads, and changes that are durable together when they return.
//!
//! Nothing here waits for anything but the disk. After an error the database is opened again, because redb demands that,
//! and the changes are tried once more. What is in the file is then compared with what this process wrote last, so that
//! an older copy that was put in its place is noticed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, io};

use redb::{
    Builder, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend, TableDefinition,
};

use super::place::{Look, Place};
use super::slot::{Slot, UserPrefix};
use super::trouble::Trouble;

/// The pages that redb caches. A record is read once for each redemption, so there is little to gain.
const CACHE_BYTES: usize = 1024 * 1024;

/// Sealed records by the bytes of their slots.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// What is known of the file as a whole.
const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");

/// The key in [`ABOUT`] of the stamp, which differs after every change.
const STAMP: &str = "stamp";

/// A change of the records.
#[derive(Clone, Debug)]
pub enum Change {
    /// Stores a sealed record.
    Put(Slot, Vec<u8>),
    /// Removes a record.
    Remove(Slot),
    /// Removes all records of a user.
    Forget(UserPrefix),
    /// Removes all records.
    ForgetAll,
}

/// A database of records.
pub trait Records: fmt::Debug + Send {
    /// The sealed record under `slot`.
    fn get(&mut self, slot: &Slot) -> Result<Option<Vec<u8>>, Trouble>;

    /// Whether there is a record of this user.
    fn has(&mut self, user: UserPrefix) -> Result<bool, Trouble>;

    /// Makes all of `changes`, in their order. They are durable when this returns `Ok`, and may be when it does not.
    fn apply(&mut self, changes: &[Change]) -> Result<(), Trouble>;

    /// Shows each record to `see`.
    fn each(&mut self, see: &mut dyn FnMut(Slot, &[u8])) -> Result<(), Trouble>;

    /// The number of records.
    fn len(&self) -> u64;
}

/// A database at a place.
#[derive(Debug)]
pub struct Database<P: Place> {
    place: P,
    open: Option<Open>,
    /// The number of this process's latest change, with which stamps are made.
    changes: u64,
    /// A number of this process, which makes its stamps differ from those of others.
    run: u64,
    /// The stamp that is in the file. After a change that failed, the file has this one or that of the change.
    stamp: Option<Vec<u8>>,
    tried: Option<Vec<u8>>,
    /// Whether the file was found to have another content. It is left alone then, until the daemon is restarted.
    is_foreign: bool,
    records: u64,
}

struct Open {
    database: redb::Database,
    fence: Fence,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("open")
    }
}

/// Keeps a database that is given up from writing to its storage, which may belong to another by now.
#[derive(Clone, Debug, Default)]
struct Fence(Arc<AtomicBool>);

/// A storage behind a fence.
#[derive(Debug)]
struct Fenced<B> {
    storage: B,
    fence: Fence,
}

impl<B> Fenced<B> {
    fn open(&self) -> io::Result<&B> {
        match self.fence.0.load(Ordering::SeqCst) {
            true => Err(io::Error::other("given up")),
            false => Ok(&self.storage),
        }
    }
}

impl<B: StorageBackend> StorageBackend for Fenced<B> {
    fn len(&self) -> io::Result<u64> {
        self.open()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.open()?.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.open()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.open()?.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.open()?.write(offset, data)
    }
}

/// Writes an empty database to `storage`, which is empty.
pub fn create(storage: impl StorageBackend) -> Result<(), Trouble> {
    let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(storage)?;
    let writing = database.begin_write()?;
    writing.open_table(RECORDS)?;
    writing.open_table(ABOUT)?;
    writing.commit()?;
    Ok(database.close()?)
}

impl<P: Place> Database<P> {
    /// Opens the database at `place`. `run` is a number that no earlier process has used.
    pub fn open(place: P, run: u64) -> Result<Self, Trouble> {
        let mut database = Self {
            place,
            open: None,
            changes: 0,
            run,
            stamp: None,
            tried: None,
            is_foreign: false,
            records: 0,
        };
        guarded(|| database.reopen())?;
        Ok(database)
    }

    /// Reads the whole file and checks every page, which also repairs what a crash has left behind.
    fn reopen(&mut self) -> Result<(), Trouble> {
        self.give_up();
        let storage = self.place.open()?;
        if storage.len()? == 0 {
            return Err(Trouble::Damaged);
        }
        let fence = Fence::default();
        let storage = Fenced { storage, fence: fence.clone() };
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        let open = Open { database: builder.create_with_backend(storage)?, fence };
        let reading = open.database.begin_read()?;
        let stamp = reading.open_table(ABOUT)?.get(STAMP)?.map(|stamp| stamp.value().to_vec());
        self.records = reading.open_table(RECORDS)?.len()?;
        drop(reading);
        let is_ours = self.stamp.is_none() || stamp == self.stamp || stamp == self.tried;
        self.open = Some(open);
        if !is_ours {
            self.give_up();
            self.is_foreign = true;
            return Err(Trouble::Changed);
        }
        self.stamp = stamp.or(self.stamp.take());
        self.place.leave();
        Ok(())
    }

    /// Drops the database without another write.
    fn give_up(&mut self) {
        if let Some(open) = self.open.take() {
            open.fence.0.store(true, Ordering::SeqCst);
        }
    }

    /// The database, opened again if that is necessary.
    fn ready(&mut self) -> Result<&Open, Trouble> {
        if self.is_foreign {
            return Err(Trouble::Changed);
        }
        let look = self.place.look();
        if look != Ok(Look::Untouched) {
            self.give_up();
        }
        look?;
        if self.open.is_none() {
            self.reopen()?;
        }
        self.open.as_ref().ok_or(Trouble::Fault)
    }

    /// Tries `what`, and once more after an error that may be over with a database that is opened again.
    fn twice<T>(&mut self, mut what: impl FnMut(&mut Self) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut attempt = |database: &mut Self| {
            let outcome = guarded(|| what(database));
            if outcome.is_err() {
                database.give_up();
            }
            outcome
        };
        match attempt(self) {
            Err(Trouble::Io(_) | Trouble::Fault) => attempt(self),
            outcome => outcome,
        }
    }

    fn try_apply(&mut self, changes: &[Change]) -> Result<(), Trouble> {
        self.ready()?;
        self.changes = self.changes.saturating_add(1);
        let stamp = [self.run.to_be_bytes(), self.changes.to_be_bytes()].concat();
        self.tried = Some(stamp.clone());
        // By default a commit returns when it is durable.
        let writing = self.ready()?.database.begin_write()?;
        let mut records = writing.open_table(RECORDS)?;
        for change in changes {
            match change {
                Change::Put(slot, sealed) => {
                    records.insert(slot.bytes().as_slice(), sealed.as_slice())?;
                }
                Change::Remove(slot) => {
                    records.remove(slot.bytes().as_slice())?;
                }
                Change::Forget(user) => {
                    let (first, last) = Slot::all_of(*user);
                    records.retain_in(first.bytes().as_slice()..=last.bytes().as_slice(), |_, _| false)?;
                }
                Change::ForgetAll => records.retain(|_, _| false)?,
            }
        }
        let count = records.len()?;
        drop(records);
        writing.open_table(ABOUT)?.insert(STAMP, stamp.as_slice())?;
        writing.commit()?;
        (self.stamp, self.tried, self.records) = (Some(stamp), None, count);
        self.place.leave();
        Ok(())
    }
}

impl<P: Place> Records for Database<P> {
    fn get(&mut self, slot: &Slot) -> Result<Option<Vec<u8>>, Trouble> {
        self.twice(|database| {
            let records = database.ready()?.database.begin_read()?.open_table(RECORDS)?;
            Ok(records.get(slot.bytes().as_slice())?.map(|sealed| sealed.value().to_vec()))
        })
    }

    fn has(&mut self, user: UserPrefix) -> Result<bool, Trouble> {
        let (first, last) = Slot::all_of(user);
        let (first, last) = (first.bytes(), last.bytes());
        self.twice(|database| {
            let records = database.ready()?.database.begin_read()?.open_table(RECORDS)?;
            let mut found = records.range(first.as_slice()..=last.as_slice())?;
            Ok(found.next().transpose()?.is_some())
        })
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), Trouble> {
        self.twice(|database| database.try_apply(changes))
    }

    fn each(&mut self, see: &mut dyn FnMut(Slot, &[u8])) -> Result<(), Trouble> {
        let records = self.ready()?.database.begin_read()?.open_table(RECORDS)?;
        for record in records.iter()? {
            let (slot, sealed) = record?;
            see(Slot::from_bytes(slot.value()).ok_or(Trouble::Damaged)?, sealed.value());
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.records
    }
}

/// At the end the database is closed, which spares the next start a repair; but not if the file has another owner.
impl<P: Place> Drop for Database<P> {
    fn drop(&mut self) {
        if self.place.look() != Ok(Look::Untouched) {
            self.give_up();
        }
    }
}

/// Runs `what`. redb may panic where a file was changed by another program, and that must not end more than this.
fn guarded<T>(what: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(what)).unwrap_or(Err(Trouble::Damaged))
}

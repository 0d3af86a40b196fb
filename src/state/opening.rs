//! Opens a state file at the start: judges every record, and seals anew what an older key has sealed.

use std::path::Path;

use super::database::{self, Change, Database, Records};
use super::place::{Place, StateFile};
use super::sealing::{CannotOpen, Keyring};
use super::slot::Slot;
use super::trouble::{StateError, Trouble};

/// How many records are sealed anew in one transaction, which bounds the memory for them to some 2 MB.
const AT_ONCE: usize = 1000;

/// Opens the file at `path`, or creates it.
pub fn open_file(path: &Path, keyring: &Keyring, run: u64) -> Result<Database<StateFile>, StateError> {
    let (file, is_new) = StateFile::open(path, database::create)?;
    if is_new {
        tracing::warn!(
            path = %path.display(),
            "A new state file was created; if there was one before, users whose refresh tokens rotate may have to log in \
             again"
        );
    }
    open_at(file, path, keyring, run)
}

/// Opens the database at `place`. `path` is what errors name.
pub fn open_at<P: Place>(
    place: P,
    path: &Path,
    keyring: &Keyring,
    run: u64,
) -> Result<Database<P>, StateError> {
    let failed = |trouble: Trouble| match trouble {
        Trouble::Damaged => StateError::Unusable { path: path.to_owned(), what: "damaged" },
        trouble => StateError::Trouble { path: path.to_owned(), trouble },
    };
    let mut records = Database::open(place, run).map_err(failed)?;
    let seen = Seen::of(&mut records, keyring).map_err(failed)?;
    if seen.newer > 0 {
        return Err(StateError::Newer(path.to_owned()));
    }
    if seen.lacking > 0 {
        return Err(StateError::KeyMissing {
            path: path.to_owned(),
            lacking: seen.lacking,
            all: records.len(),
        });
    }
    if seen.damaged > 0 {
        tracing::error!(
            records = seen.damaged,
            "Records of the state file are damaged; their refresh tokens are not redeemed until their users are purged \
             with credentials=true"
        );
    }
    seal_anew(&mut records, &seen.older, keyring).map_err(failed)?;
    if !seen.older.is_empty() {
        tracing::info!(
            records = seen.older.len(),
            "Records of the state file were sealed with the first key"
        );
    }
    Ok(records)
}

/// What a look at each record has shown.
#[derive(Default)]
struct Seen {
    lacking: u64,
    newer: u64,
    damaged: u64,
    /// Those that another key than the first has sealed.
    older: Vec<Slot>,
}

impl Seen {
    fn of(records: &mut dyn Records, keyring: &Keyring) -> Result<Self, Trouble> {
        let mut seen = Self::default();
        records.each(&mut |slot, sealed| match keyring.open(&slot, sealed) {
            Ok(_) if keyring.is_current(sealed) => {}
            Ok(_) => seen.older.push(slot),
            Err(CannotOpen::UnknownKey) => seen.lacking = seen.lacking.saturating_add(1),
            Err(CannotOpen::Newer) => seen.newer = seen.newer.saturating_add(1),
            Err(CannotOpen::Damaged) => seen.damaged = seen.damaged.saturating_add(1),
        })?;
        Ok(seen)
    }
}

/// Seals the records under these names with the first key, which also gives each another name.
fn seal_anew(records: &mut dyn Records, older: &[Slot], keyring: &Keyring) -> Result<(), Trouble> {
    for slots in older.chunks(AT_ONCE) {
        let mut changes = Vec::new();
        for slot in slots {
            let Some(sealed) = records.get(slot)? else { continue };
            let record = keyring.open(slot, &sealed).map_err(|_| Trouble::Damaged)?;
            let (name, sealed) = keyring.seal(&record.holder(), &record.chain)?;
            // A record of that name is newer: it was made with the first key.
            if records.get(&name)?.is_none() {
                changes.push(Change::Put(name, sealed));
            }
            changes.push(Change::Remove(*slot));
        }
        records.apply(&changes)?;
    }
    Ok(())
}

//! A disk in memory that fails, or loses power, at a given call.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use cloakroom::state::{Look, Place, Trouble, create};
use redb::StorageBackend;

/// Longer than a test takes.
const MOST_HANGING_MILLISECONDS: u32 = 30_000;

/// A disk. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What survives a loss of power.
    durable: Vec<u8>,
    /// What was written since the last sync.
    unsynced: Vec<Write>,
    /// What is read.
    content: Vec<u8>,
    calls: usize,
    failure: Option<(usize, Failure)>,
    is_off: bool,
    is_hanging: bool,
}

#[derive(Clone, Debug)]
enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The call fails once, with EIO.
    Once,
    /// Every call that writes fails from then on, with ENOSPC, until [`Disk::heal`].
    Full,
    /// The first call from then on that writes fails, with ENOSPC.
    FullOnce,
    /// Every call fails from then on, with EIO, until [`Disk::heal`].
    Broken,
    /// Every call that writes waits from then on, until [`Disk::heal`].
    Hanging,
    /// The power is lost before the call is made, and every later call fails.
    PowerLoss,
}

/// Which of the writes that were not synced are on the disk after a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    None,
    All,
    /// Every second one, beginning with the first.
    Even,
    /// Every second one, beginning with the second.
    Odd,
    /// All, but only half of the last one: a page that is torn.
    Torn,
}

impl Disk {
    /// A disk with an empty database.
    pub fn formatted() -> Self {
        let disk = Self::default();
        create(disk.clone()).unwrap();
        disk.state().calls = 0;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Fails at the call with this number, counted from now on and from 1.
    pub fn fail_at(&self, call: usize, failure: Failure) {
        let mut state = self.state();
        state.calls = 0;
        state.failure = Some((call, failure));
    }

    /// Whether the failure has happened.
    pub fn has_failed(&self) -> bool {
        let state = self.state();
        state.failure.is_some_and(|(call, _)| state.calls >= call)
    }

    /// Works from now on.
    pub fn heal(&self) {
        self.state().failure = None;
    }

    /// Turns the power on again.
    pub fn power_on(&self, survivors: Survivors) {
        let mut state = self.state();
        let unsynced = std::mem::take(&mut state.unsynced);
        let (count, mut content) = (unsynced.len(), state.durable.clone());
        for (at, write) in unsynced.into_iter().enumerate() {
            let is_last = at + 1 == count;
            let write = match (survivors, write) {
                (Survivors::None, _) => continue,
                (Survivors::Even, _) if at % 2 == 1 => continue,
                (Survivors::Odd, _) if at % 2 == 0 => continue,
                (Survivors::Torn, Write::Bytes(offset, mut bytes)) if is_last => {
                    bytes.truncate(bytes.len() / 2);
                    Write::Bytes(offset, bytes)
                }
                (_, write) => write,
            };
            write.apply(&mut content);
        }
        state.durable = content.clone();
        state.content = content;
        state.is_off = false;
        state.failure = None;
    }

    /// Whether a call waits.
    pub fn is_hanging(&self) -> bool {
        self.state().is_hanging
    }

    fn call(&self, writes: bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls += 1;
        // Not for ever, because the end of a test that fails waits for this thread.
        for _ in 0..MOST_HANGING_MILLISECONDS {
            if !writes || !state.hangs() {
                break;
            }
            state.is_hanging = true;
            drop(state);
            thread::sleep(Duration::from_millis(1));
            state = self.state();
        }
        state.is_hanging = false;
        let calls = state.calls;
        let failed = |errno: i32| Err(io::Error::from_raw_os_error(errno));
        match state.failure {
            _ if state.is_off => failed(5),
            Some((at, Failure::Once)) if calls == at => failed(5),
            Some((at, Failure::Full)) if calls >= at && writes => failed(28),
            Some((at, Failure::FullOnce)) if calls >= at && writes => {
                state.failure = None;
                failed(28)
            }
            Some((at, Failure::Broken)) if calls >= at => failed(5),
            Some((at, Failure::PowerLoss)) if calls >= at => {
                state.is_off = true;
                failed(5)
            }
            _ => Ok(state),
        }
    }
}

impl Write {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Bytes(offset, bytes) => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => content.resize(*length, 0),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.call(false)?.content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.call(false)?;
        let bytes = state.content.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(true)?.write(Write::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.call(true)?;
        state.durable = state.content.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.call(true)?.write(Write::Bytes(offset as usize, data.to_vec()));
        Ok(())
    }
}

impl State {
    fn hangs(&self) -> bool {
        self.failure.is_some_and(|(at, failure)| failure == Failure::Hanging && self.calls >= at)
    }

    fn write(&mut self, write: Write) {
        write.apply(&mut self.content);
        self.unsynced.push(write);
    }
}

impl Place for Disk {
    type Backend = Self;

    fn open(&mut self) -> Result<Self, Trouble> {
        Ok(self.clone())
    }

    fn look(&self) -> Result<Look, Trouble> {
        Ok(Look::Untouched)
    }

    fn leave(&mut self) {}
}

//! Output by a dedicated thread: a bounded queue in front of it, and a timeout at its end.
//!
//! A write blocks until the reader of a pipe, a terminal or a disk takes the bytes. Request handlers therefore never
//! write: they put items into the queue, which accepts or rejects an item at once.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

/// Maximum number of items in one write.
const BATCH: usize = 64;

/// Delay after the first item, in which further items are gathered. A thread that waits at the queue must be woken for
/// each item, which costs the sender more than everything else; a sleeping thread need not be.
const GATHER: Duration = Duration::from_millis(2);

/// Delay before a full pipe is tried again, if its reader has set it to non-blocking.
const WHILE_FULL: Duration = Duration::from_millis(10);

/// Handles the items on the queue's thread.
pub trait Work<T>: Send + 'static {
    /// Writes `batch`. It is empty if no item came within [`Work::pause`], and once at the end.
    fn write(&mut self, batch: &[T]);

    /// Called when the queue is empty.
    fn emptied(&mut self) {}

    /// Timeout for the next item; `None` waits without one.
    fn pause(&self) -> Option<Duration> {
        None
    }
}

/// The sending end of the queue.
pub struct Queue<T> {
    /// `None` once the queue is closed.
    sender: RwLock<Option<SyncSender<T>>>,
    /// Disconnected when the thread has ended.
    thread: Mutex<Receiver<()>>,
}

/// Why an item was not accepted, with the item.
#[derive(Debug)]
pub enum NotTaken<T> {
    /// The queue is full.
    Full(T),
    /// The queue is closed, or its thread has ended.
    Closed(T),
}

/// The receiving end of the queue, before its thread is started.
pub struct Receiving<T> {
    items: Receiver<T>,
    alive: SyncSender<()>,
}

/// Makes a queue for `length` items, which stay there until [`Receiving::start`].
pub fn queue<T: Send + 'static>(length: usize) -> (Queue<T>, Receiving<T>) {
    let (sender, items) = mpsc::sync_channel(length);
    let (alive, thread) = mpsc::sync_channel(0);
    let queue = Queue { sender: RwLock::new(Some(sender)), thread: Mutex::new(thread) };
    (queue, Receiving { items, alive })
}

impl<T> Queue<T> {
    /// Puts an item into the queue. Does not block.
    pub fn put(&self, item: T) -> Result<(), NotTaken<T>> {
        let sender = self.sender.read().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else { return Err(NotTaken::Closed(item)) };
        sender.try_send(item).map_err(|why| match why {
            TrySendError::Full(item) => NotTaken::Full(item),
            TrySendError::Disconnected(item) => NotTaken::Closed(item),
        })
    }

    /// Closes the queue, and waits for its items to be written, for at most `timeout`. Blocks. Returns whether the
    /// thread has ended.
    pub fn close(&self, timeout: Duration) -> bool {
        drop(self.sender.write().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.recv_timeout(timeout) != Err(RecvTimeoutError::Timeout)
    }
}

impl<T: Send + 'static> Receiving<T> {
    /// Starts the thread, which ends when the queue is closed and empty.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(self, name: &str, mut work: impl Work<T>) -> io::Result<()> {
        let Self { items, alive } = self;
        let run = move || {
            let mut batch = Vec::with_capacity(BATCH);
            loop {
                let first = match work.pause() {
                    Some(pause) => items.recv_timeout(pause),
                    None => items.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                match first {
                    Ok(first) => batch.push(first),
                    Err(RecvTimeoutError::Timeout) => {
                        work.write(&[]);
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                thread::sleep(GATHER);
                while !batch.is_empty() {
                    batch.extend(items.try_iter().take(BATCH.saturating_sub(batch.len())));
                    work.write(&batch);
                    batch.clear();
                    batch.extend(items.try_recv());
                }
                work.emptied();
            }
            work.write(&[]);
            drop(alive);
        };
        thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
    }
}

/// Writes lines to a file, a pipe or a terminal. A line that was cut short is ended before the next one begins.
pub struct LineWriter {
    pub(super) file: File,
    pub(super) is_midway: bool,
    buffer: Vec<u8>,
}

impl LineWriter {
    /// Writes to `file`, which is at the beginning of a line.
    pub fn new(file: File) -> Self {
        Self { file, is_midway: false, buffer: Vec::new() }
    }

    /// Writes lines in order, each of which appends itself to the buffer, and stops at the first that cannot be
    /// written. Returns how many were written.
    pub fn write<L>(&mut self, lines: impl Iterator<Item = L>) -> (usize, io::Result<()>)
    where
        L: FnOnce(&mut Vec<u8>),
    {
        self.buffer.clear();
        if self.is_midway {
            self.buffer.push(b'\n');
        }
        let mut ends = Vec::new();
        for line in lines {
            line(&mut self.buffer);
            ends.push(self.buffer.len());
        }
        let (sent, outcome) = write(&self.file, &self.buffer);
        if sent > 0 {
            self.is_midway = self.buffer.get(sent.saturating_sub(1)) != Some(&b'\n');
        }
        (ends.iter().filter(|end| **end <= sent).count(), outcome)
    }
}

/// Writes `bytes`; returns how many were written, and the error that stopped it.
fn write(mut file: &File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (sent, Err(ErrorKind::WriteZero.into())),
            Ok(more) => sent = sent.saturating_add(more),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(WHILE_FULL),
            Err(error) => return (sent, Err(error)),
        }
    }
    (sent, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gathering(mpsc::Sender<Vec<u32>>);

    impl Work<u32> for Gathering {
        fn write(&mut self, batch: &[u32]) {
            self.0.send(batch.to_vec()).unwrap();
        }
    }

    #[test]
    fn items_queued_before_the_thread_started_are_written_in_order_by_the_end() {
        let (queue, receiving) = queue(3);
        assert!((0..3).all(|item| queue.put(item).is_ok()));
        assert!(matches!(queue.put(3), Err(NotTaken::Full(3))));
        let (sender, written) = mpsc::channel();
        receiving.start("test", Gathering(sender)).unwrap();
        assert!(queue.close(Duration::from_secs(10)));
        assert_eq!(written.iter().flatten().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(matches!(queue.put(4), Err(NotTaken::Closed(4))));
    }
}

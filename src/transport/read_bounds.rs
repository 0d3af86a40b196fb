//! Counts the bytes that are read from one connection, and limits them for each response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::time::Instant;

/// How much hyper reads at a time, and the limit of a response's head in bytes. The heads of Auth0 and its edge have
/// about 3 KiB.
pub const READ_BUFFER: usize = 16 * 1024;

/// The limit of what is read before the head is complete, interim responses included.
const MOST_HEAD: usize = 2 * READ_BUFFER;

/// The limit of one response in bytes, framing included: a chunk's size may be written in any number of digits.
const MOST: usize = 4 * 1024 * 1024;

/// A peer sent more than the limit of a response.
#[derive(Debug, thiserror::Error)]
#[error("response beyond the limit")]
pub struct TooMuch;

/// Counts what is read from one connection, and bounds it. Shared by the connection's stream and by the code that reads
/// responses from it; clones are of the same connection.
#[derive(Clone, Debug)]
pub struct ReadBounds(Arc<ReadState>);

#[derive(Debug)]
struct ReadState {
    made: Instant,
    /// Whether only heads are bounded.
    is_streaming: bool,
    /// Bytes read since the last request was sent.
    read: AtomicUsize,
    head_is_read: AtomicBool,
    has_grown: AtomicBool,
}

impl ReadBounds {
    /// Bounds for a connection that has just been made.
    pub fn new() -> Self {
        Self::of(false)
    }

    /// Bounds for a connection whose responses are handed on, whatever their size. They end with the head of the first:
    /// a request's body may still be sent while its response is read, so that what is sent tells nothing. Each head is
    /// bounded by hyper as well, to [`READ_BUFFER`], and interim responses are counted.
    pub fn of_streams() -> Self {
        Self::of(true)
    }

    fn of(is_streaming: bool) -> Self {
        Self(Arc::new(ReadState {
            made: Instant::now(),
            is_streaming,
            read: AtomicUsize::new(0),
            head_is_read: AtomicBool::new(false),
            has_grown: AtomicBool::new(false),
        }))
    }

    /// Begins a new response: something was sent, and requests are all that is sent.
    pub(super) fn sends(&self) {
        if self.0.is_streaming {
            return;
        }
        self.0.read.store(0, Ordering::Relaxed);
        self.0.head_is_read.store(false, Ordering::Relaxed);
    }

    /// Fails if the limit is reached. Notes whether hyper's buffer has grown: `room` is how much it is about to read.
    pub(super) fn is_to_read(&self, room: usize) -> Result<(), TooMuch> {
        if room > READ_BUFFER {
            self.0.has_grown.store(true, Ordering::Relaxed);
        }
        let most = match self.0.head_is_read.load(Ordering::Relaxed) {
            true if self.0.is_streaming => return Ok(()),
            true => MOST,
            false => MOST_HEAD,
        };
        if self.0.read.load(Ordering::Relaxed) < most { Ok(()) } else { Err(TooMuch) }
    }

    /// Counts bytes that were read.
    pub(super) fn has_read(&self, bytes: usize) {
        self.0.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Raises the limit to that of a whole response: the head is complete, and the body may follow.
    pub fn head_is_read(&self) {
        self.0.head_is_read.store(true, Ordering::Relaxed);
    }

    /// Whether hyper's buffer is larger than [`READ_BUFFER`], so that processed bytes may remain in it.
    pub fn has_grown(&self) -> bool {
        self.0.has_grown.load(Ordering::Relaxed)
    }

    /// Whether the connection existed at `begun` and nothing was read since the last request was sent.
    pub fn is_silent_since(&self, begun: Instant) -> bool {
        self.0.made < begun && self.0.read.load(Ordering::Relaxed) == 0
    }
}

impl Default for ReadBounds {
    fn default() -> Self {
        Self::new()
    }
}

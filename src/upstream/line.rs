//! What is known of one connection to Auth0, and how much one answer may take of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::time::Instant;

/// What hyper reads at a time, and the most that a head may have: Auth0's, with those of its edge, are some 3 KiB.
pub const READ_BUFFER: usize = 16 * 1024;

/// The most that may come before the head is complete, interim answers included.
const MOST_HEAD: usize = 2 * READ_BUFFER;

/// The most bytes of an answer, with all that frames it: chunks' sizes may be written in any number of digits.
const MOST: usize = 4 * 1024 * 1024;

/// A peer sent more than any answer has.
#[derive(Debug, thiserror::Error)]
#[error("more than an answer has")]
pub struct TooMuch;

/// A connection, as its stream and those who read answers from it know it. Clones are of the same.
#[derive(Clone, Debug)]
pub struct Line(Arc<Known>);

#[derive(Debug)]
struct Known {
    made: Instant,
    /// How much was read since something was last sent.
    read: AtomicUsize,
    head_is_read: AtomicBool,
    has_grown: AtomicBool,
}

impl Line {
    /// Of a connection that has just been made.
    pub fn new() -> Self {
        Self(Arc::new(Known {
            made: Instant::now(),
            read: AtomicUsize::new(0),
            head_is_read: AtomicBool::new(false),
            has_grown: AtomicBool::new(false),
        }))
    }

    /// Something was sent: a request, as nothing else is.
    pub(super) fn sends(&self) {
        self.0.read.store(0, Ordering::Relaxed);
        self.0.head_is_read.store(false, Ordering::Relaxed);
    }

    /// As much is about to be read at once as there is `room`.
    pub(super) fn is_to_read(&self, room: usize) -> Result<(), TooMuch> {
        if room > READ_BUFFER {
            self.0.has_grown.store(true, Ordering::Relaxed);
        }
        let most = if self.0.head_is_read.load(Ordering::Relaxed) { MOST } else { MOST_HEAD };
        if self.0.read.load(Ordering::Relaxed) < most { Ok(()) } else { Err(TooMuch) }
    }

    /// So much was read.
    pub(super) fn has_read(&self, bytes: usize) {
        self.0.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The head is complete, and the body may follow.
    pub fn head_is_read(&self) {
        self.0.head_is_read.store(true, Ordering::Relaxed);
    }

    /// Whether hyper's buffer is larger than what it reads at a time, so that what it has dealt with may stay in it.
    pub fn has_grown(&self) -> bool {
        self.0.has_grown.load(Ordering::Relaxed)
    }

    /// Whether it was there at `begun`, and nothing came since a request was sent.
    pub fn is_silent_since(&self, begun: Instant) -> bool {
        self.0.made < begun && self.0.read.load(Ordering::Relaxed) == 0
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

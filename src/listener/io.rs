//! What a caller's bytes, and its silence, show of what it is doing.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::sleep;

/// How often it is looked whether whoever waits for an answer is still there. What it asked for goes on without it; only
/// the connection is given back.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// What the other side is doing, as far as its bytes show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionPhase {
    /// It has been told everything, and has not begun to ask for more.
    Idle = 0,
    /// It has begun a request.
    Reading = 1,
    /// It waits for an answer.
    Answering = 2,
    /// It has not read all of its answer.
    Writing = 3,
}

/// Shared by the stream, which sees bytes, the service, which sees requests, and the timers. All three run on one
/// task, so that neither the ordering matters nor that a number grows in one step.
#[derive(Default)]
pub struct ConnectionState {
    phase: AtomicU8,
    /// Requests so far.
    requests: AtomicU64,
    /// Grows with every request, and with all that is read of the answers.
    progress: AtomicU64,
    /// Grows with that, and with all that is sent to us.
    work: AtomicU64,
    /// Requests that had begun when the step under way began.
    before: AtomicU64,
    /// Nothing that has not begun by now is waited for.
    over: AtomicBool,
}

impl ConnectionState {
    /// The connection is about to do what there is to do.
    pub fn begin_step(&self) {
        self.before.store(self.requests(), Ordering::Relaxed);
    }

    /// Whether the request that has just begun is not the first of its step.
    pub fn is_another_of_this_step(&self) -> bool {
        self.requests() > self.before.load(Ordering::Relaxed).saturating_add(1)
    }

    pub fn set_phase(&self, phase: ConnectionPhase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub fn phase(&self) -> ConnectionPhase {
        match self.phase.load(Ordering::Relaxed) {
            0 => ConnectionPhase::Idle,
            1 => ConnectionPhase::Reading,
            2 => ConnectionPhase::Answering,
            _ => ConnectionPhase::Writing,
        }
    }

    pub fn begin_request(&self) {
        grow(&self.requests);
        self.note_progress();
        self.set_phase(ConnectionPhase::Answering);
    }

    fn note_progress(&self) {
        grow(&self.progress);
        self.note_work();
    }

    pub fn note_work(&self) {
        grow(&self.work);
    }

    pub fn work(&self) -> u64 {
        self.work.load(Ordering::Relaxed)
    }

    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn say_that_it_is_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Without the bus lock that `fetch_add` takes, which is most of what a request would cost here.
fn grow(number: &AtomicU64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// A stream that notices the first byte after a pause, and whether answers are read.
///
/// What hyper writes although no request has come of what was read is its own answer to a head that it does not
/// understand: a bare status. That is kept from the caller, and so is the end of the connection, until the connection has said
/// the same as everything else is said.
pub struct ConnectionIo {
    reading: OwnedReadHalf,
    stream: Arc<OwnedWriteHalf>,
    state: Arc<ConnectionState>,
    /// Nothing more can be sent to us.
    deaf: bool,
    /// hyper has given up, and was not let speak.
    hushed: bool,
}

impl ConnectionIo {
    pub fn new(reading: OwnedReadHalf, stream: &Arc<OwnedWriteHalf>, state: &Arc<ConnectionState>) -> Self {
        Self { reading, stream: Arc::clone(stream), state: Arc::clone(state), deaf: false, hushed: false }
    }

    /// Whether what hyper wants to write is no answer of ours. It reads no further request before the answer to the one
    /// before has been written as a whole, so the two are never mixed.
    fn hushes(&mut self) -> bool {
        self.hushed |= matches!(self.state.phase(), ConnectionPhase::Idle | ConnectionPhase::Reading);
        self.hushed
    }

    /// Draws the line between what was sent in time and what was not, on an idle connection: the kernel hands out what
    /// it has, then the end, and refuses whatever the other side would write from now on. To close the connection
    /// instead would lose a request that is in the kernel's hands but not in ours.
    fn stop_listening(&mut self) {
        self.deaf = true;
        if shut(self.reading.as_ref(), Shutdown::Read).is_err() {
            tracing::trace!("An idle caller was gone already");
        }
    }
}

impl AsyncRead for ConnectionIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.state.is_over() && self.state.phase() == ConnectionPhase::Idle && !self.deaf {
            self.stop_listening();
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.reading).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.state.note_work();
            if self.state.phase() == ConnectionPhase::Idle {
                self.state.set_phase(ConnectionPhase::Reading);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What is copied to be written in one piece. Less than a connection may make us hold anyway.
const ONE_PIECE: usize = 16 * 1024;

impl ConnectionIo {
    /// Writes as `write` does, if it is for the caller; `all` is how much that would be.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        all: usize,
        mut write: impl FnMut(&UnixStream) -> std::io::Result<usize>,
    ) -> Poll<std::io::Result<usize>> {
        if self.hushes() {
            return Poll::Ready(Ok(all));
        }
        loop {
            ready!((*self.stream).as_ref().poll_write_ready(cx))?;
            match write((*self.stream).as_ref()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => {
                    self.state.note_progress();
                    return Poll::Ready(written);
                }
            }
        }
    }
}

impl AsyncWrite for ConnectionIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.write(cx, buf.len(), |stream| stream.try_write(buf))
    }

    /// Only called when everything has been written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.state.phase() == ConnectionPhase::Writing {
            self.state.set_phase(ConnectionPhase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(if self.hushed { Ok(()) } else { shut((*self.stream).as_ref(), Shutdown::Write) })
    }

    /// Head and body, as a rule. To copy some hundred bytes costs less than to have the kernel look at two pieces. hyper
    /// would copy them, too, but into memory that it keeps: a token would be there until the connection ends. This is
    /// given back, and overwritten, at once.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if all > ONE_PIECE {
            return self.write(cx, all, |stream| stream.try_write_vectored(bufs));
        }
        let mut whole = Vec::with_capacity(all);
        bufs.iter().for_each(|buf| whole.extend_from_slice(buf));
        self.write(cx, all, |stream| stream.try_write(&whole))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// Returns when the other side is there no more, neither to say anything nor to be told.
pub async fn hung_up(stream: &UnixStream) -> std::io::Error {
    loop {
        sleep(BETWEEN_LOOKS).await;
        // Nothing is written by this, and even that is refused when nobody can read it.
        match stream.try_write(&[]) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return error,
            _ => {}
        }
    }
}

/// Closes one half of it.
pub fn shut(stream: &UnixStream, half: Shutdown) -> std::io::Result<()> {
    shutdown(stream.as_raw_fd(), half).map_err(Into::into)
}
